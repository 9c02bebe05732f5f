"""Gathers what one gesture changes, block by block, ready to be stored."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.block_codec import (
    BlockIndex,
    LabelTrace,
    block_box,
    blocks_of,
    box_of_runs,
    decode_block,
    difference_runs,
    encode_block,
    encode_difference,
)
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.slabs import in_threads
from particleseg_app.units import Box, Shape, bounding_box

AS_SEGMENTED = b""  # in the place of a packed block: as the segmentation has it
_UNPACKED_BLOCKS = 128


@dataclass
class MadeGesture:
    """What is stored of a gesture: packed differences and packed new blocks by block."""

    differences: dict[BlockIndex, bytes] = field(default_factory=dict)
    blocks: dict[BlockIndex, bytes] = field(default_factory=dict)
    traces: list[LabelTrace] = field(default_factory=list)
    voxels: int = 0
    box: Box | None = None


class Gesture:
    """Takes the changes of one gesture. `present` gives a block's labels before the gesture."""

    def __init__(
        self, shape: Shape, next_label: int, present: Callable[[BlockIndex], np.ndarray]
    ) -> None:
        self._shape = shape
        self._next_label = next_label
        self._read = present
        self._before: OrderedDict[BlockIndex, np.ndarray] = OrderedDict()
        # The new labels; only some unpacked, because a gesture may reach through the volume.
        self._unpacked: OrderedDict[BlockIndex, np.ndarray] = OrderedDict()
        self._packed: dict[BlockIndex, bytes] = {}
        self._as_segmented: set[BlockIndex] = set()
        self._lock = threading.Lock()

    def add(self, change: LabelChange) -> None:
        """Take the voxels that differ; raise `InvalidValueError` for a preview out of date."""
        from particleseg_app.review.run_kernels import differ, take_changes

        if any(b > n for b, n in zip(change.box.stop, self._shape, strict=True)):
            raise ValueError(f"{change.box} is not inside a volume of {self._shape}")
        if change.brings_new_labels and change.next_label != self._next_label:
            raise _out_of_date()  # another mend took these numbers meanwhile
        before, after = (np.ascontiguousarray(v) for v in (change.before, change.after))
        for index in blocks_of(change.box):
            whole = block_box(index, self._shape)
            part = whole.intersection(change.box)
            in_change = _offset(part, change.box)
            if not differ(before, after, in_change, part.shape):
                continue
            present = np.ascontiguousarray(self._present(index))
            new, in_block = self._new_labels(index), _offset(part, whole)
            if not take_changes(present, before, after, new, in_block, in_change, part.shape):
                raise _out_of_date()

    def put_as_segmented(self, index: BlockIndex, labels: np.ndarray) -> None:
        """Give a whole block the labels of the segmentation."""
        self._keep(index, labels)
        self._as_segmented.add(index)

    def finish(self) -> MadeGesture:
        """Compare the new blocks with the present ones and pack what differs."""
        made = MadeGesture()
        traces: dict[int, LabelTrace] = {}
        for changed in in_threads(self._pack, sorted({*self._packed, *self._unpacked})):
            if changed is None:
                continue
            index, runs, difference, block = changed
            made.differences[index] = difference
            made.blocks[index] = block
            made.voxels += int(runs[1].sum())
            box = box_of_runs(runs, block_box(index, self._shape))
            made.box = box if made.box is None else bounding_box(made.box, box)
            _trace(traces, runs[2], box, before=True)
            _trace(traces, runs[3], box, before=False)
        made.traces = [traces[label] for label in sorted(traces)]
        return made

    def _pack(self, index: BlockIndex) -> tuple[BlockIndex, np.ndarray, bytes, bytes] | None:
        """A block's runs that differ, packed, and its new labels, packed; None if none do."""
        with self._lock:
            before, after = self._present(index), self._new_labels(index)
        runs = difference_runs(before, after)
        if not runs.size:
            return None
        block = AS_SEGMENTED if index in self._as_segmented else encode_block(after)
        return index, runs, encode_difference(runs), block

    def _present(self, index: BlockIndex) -> np.ndarray:
        """A block before the gesture; the last ones are kept, since each is asked for thrice."""
        labels = self._before.get(index)
        if labels is None:
            labels = self._before[index] = self._read(index)
            if len(self._before) > _UNPACKED_BLOCKS:
                self._before.popitem(last=False)
        return labels

    def _new_labels(self, index: BlockIndex) -> np.ndarray:
        labels = self._unpacked.get(index)
        if labels is not None:
            self._unpacked.move_to_end(index)
            return labels
        packed = self._packed.pop(index, None)
        if packed is None:
            labels = self._present(index).copy(order="C")
        else:
            labels = decode_block(packed, block_box(index, self._shape).shape)
        self._keep(index, labels)
        return labels

    def _keep(self, index: BlockIndex, labels: np.ndarray) -> None:
        self._unpacked[index] = labels
        while len(self._unpacked) > _UNPACKED_BLOCKS:
            oldest, content = self._unpacked.popitem(last=False)
            self._packed[oldest] = encode_block(content)


def _offset(part: Box, whole: Box) -> Shape:
    """Where `part` begins in `whole`."""
    z, y, x = (a - b for a, b in zip(part.start, whole.start, strict=True))
    return z, y, x


def _out_of_date() -> InvalidValueError:
    return InvalidValueError(
        "The labels have changed since this preview was made.", "Preview it again."
    )


def _trace(traces: dict[int, LabelTrace], labels: np.ndarray, box: Box, *, before: bool) -> None:
    for value in np.unique(labels).tolist():
        if value == 0:
            continue
        known = traces.get(value)
        if known is None:
            traces[value] = LabelTrace(value, before, not before, box)
        else:
            traces[value] = LabelTrace(
                value,
                known.before or before,
                known.after or not before,
                bounding_box(known.box, box),
            )
