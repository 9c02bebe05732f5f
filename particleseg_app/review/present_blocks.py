"""The labels as they are now, block by block: where mends touched them, and what lies there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from particleseg_app.review.block_codec import (
    BlockIndex,
    DamagedBlobError,
    apply_difference,
    block_box,
    encode_block,
)
from particleseg_app.review.block_overlay import BlockOverlay
from particleseg_app.review.entries import BaseLabels
from particleseg_app.review.gesture import AS_SEGMENTED, MadeGesture


@dataclass
class Step:
    """New contents of blocks, packed, and by how many applied mends each is touched then.

    None in `blocks`: by none, so it is not kept any more.
    """

    blocks: dict[BlockIndex, bytes | None] = field(default_factory=dict)
    touched: dict[BlockIndex, int] = field(default_factory=dict)


class PresentBlocks:
    """Works out what a mend, undo or redo makes of the blocks; a step counts once it is made.

    `overlay` may be read from several threads; the rest is guarded by the journal.
    """

    def __init__(self, base: BaseLabels) -> None:
        self._base = base
        self._touched: dict[BlockIndex, int] = {}
        self.overlay = BlockOverlay(base.shape)

    @property
    def differ(self) -> bool:
        """Whether any block may differ from the segmentation."""
        return len(self.overlay) > 0

    @property
    def touched(self) -> list[BlockIndex]:
        """The blocks that applied mends touched, in raster order."""
        return sorted(self._touched)

    def block(self, index: BlockIndex) -> np.ndarray:
        """The labels of a block as they are now; not to be changed."""
        found = self.overlay.block(index)
        return self.segmented(index) if found is None else found

    def segmented(self, index: BlockIndex) -> np.ndarray:
        """The labels of a block as the segmentation has them."""
        return self._base.read(block_box(index, self._base.shape))

    def replace_all(
        self, blocks: Mapping[BlockIndex, bytes], touched: Mapping[BlockIndex, int]
    ) -> None:
        self._touched = dict(touched)
        self.overlay.replace_all({i: content for i, content in blocks.items() if content})

    def step_of(self, made: MadeGesture) -> Step:
        """What a new gesture makes of the blocks."""
        return Step(
            dict(made.blocks), {index: self._touched.get(index, 0) + 1 for index in made.blocks}
        )

    def step_along(
        self,
        differences: Iterable[tuple[BlockIndex, bytes]],
        *,
        reverting: bool,
        backwards: bool,
    ) -> Step:
        """What undoing (`backwards`) or redoing a mend makes of the blocks.

        `reverting`: the mend is a return to the segmentation. Raises `DamagedBlobError`.
        """
        step = Step()
        for index, difference in differences:
            times = self._touched.get(index, 0) + (-1 if backwards else 1)
            if times < 0:
                raise DamagedBlobError("a change has no block")
            step.touched[index] = times
            if times == 0:
                step.blocks[index] = None
            elif reverting and not backwards:
                step.blocks[index] = AS_SEGMENTED
            else:
                labels = apply_difference(difference, self.block(index), backwards=backwards)
                step.blocks[index] = encode_block(labels)
        return step

    def make(self, step: Step) -> None:
        """Take over a step that is on the disk."""
        for index, times in step.touched.items():
            if times:
                self._touched[index] = times
            else:
                self._touched.pop(index, None)
        self.overlay.update(step.blocks)
