"""The blocks in which the labels differ from the segmentation, packed in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from particleseg_app.review.block_codec import (
    BLOCK_EDGE,
    BlockIndex,
    block_box,
    blocks_of,
    decode_block,
    grid_shape,
)
from particleseg_app.units import Box, Shape

# As much as holds one layer of blocks across the volume, within these bounds.
_LEAST_UNPACKED_BYTES = 64 * 2**20
_MOST_UNPACKED_BYTES = 512 * 2**20


class BlockOverlay:
    """Packed blocks by index; a few of them also unpacked. May be used from several threads."""

    def __init__(self, shape: Shape, packed: Mapping[BlockIndex, bytes] | None = None) -> None:
        self._shape = shape
        self._lock = threading.Lock()
        self._packed: dict[BlockIndex, bytes] = dict(packed or {})
        self._unpacked: OrderedDict[BlockIndex, tuple[bytes, np.ndarray]] = OrderedDict()
        self._unpacked_bytes = 0
        grid = sorted(grid_shape(shape))
        layer = grid[1] * grid[2] * BLOCK_EDGE**3 * 4
        self._room = min(_MOST_UNPACKED_BYTES, max(_LEAST_UNPACKED_BYTES, layer))

    def __len__(self) -> int:
        return len(self._packed)

    def replace_all(self, packed: Mapping[BlockIndex, bytes]) -> None:
        with self._lock:
            self._packed = dict(packed)
            self._unpacked.clear()
            self._unpacked_bytes = 0

    def update(self, packed: Mapping[BlockIndex, bytes | None]) -> None:
        """Put blocks in the place of others, all at once; None: as the segmentation has it."""
        with self._lock:
            for index, content in packed.items():
                self._forget(index)
                if content:
                    self._packed[index] = content
                else:
                    self._packed.pop(index, None)

    def block(self, index: BlockIndex) -> np.ndarray | None:
        """The labels of a block (not to be changed), or None when it is as the segmentation has it.

        Raises `DamagedBlobError`.
        """
        with self._lock:
            content = self._packed.get(index)
        return None if content is None else self._unpack(index, content)

    def paste(self, box: Box, labels: np.ndarray) -> None:
        """Lay the blocks that `box` touches over `labels`, the base's labels of that box.

        All of them are of one moment, so that no mend is seen half.
        """
        with self._lock:
            if not self._packed:
                return
            touched = [(i, self._packed[i]) for i in blocks_of(box) if i in self._packed]
        for index, content in touched:
            whole = block_box(index, self._shape)
            part = whole.intersection(box)
            labels[part.within(box)] = self._unpack(index, content)[part.within(whole)]

    def _unpack(self, index: BlockIndex, content: bytes) -> np.ndarray:
        with self._lock:
            found = self._unpacked.get(index)
            if found is not None and found[0] is content:
                self._unpacked.move_to_end(index)
                return found[1]
        labels = decode_block(content, block_box(index, self._shape).shape)
        labels.setflags(write=False)
        with self._lock:
            # Another thread may have put a newer block here while this one was unpacked.
            if self._packed.get(index) is content:
                self._forget(index)
                self._unpacked[index] = content, labels
                self._unpacked_bytes += labels.nbytes
                while self._unpacked_bytes > self._room:
                    self._forget(next(iter(self._unpacked)))
        return labels

    def _forget(self, index: BlockIndex) -> None:
        old = self._unpacked.pop(index, None)
        if old is not None:
            self._unpacked_bytes -= old[1].nbytes
