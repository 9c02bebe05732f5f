"""A volume cut into blocks, and the voxel layers in which neighbouring blocks meet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from particleseg_app.units import Box, Shape

OFFSETS_26: tuple[Shape, ...] = tuple(
    (z, y, x) for z, y, x in itertools.product((-1, 0, 1), repeat=3) if (z, y, x) != (0, 0, 0)
)
# Of each pair of opposite offsets the one that points to the later block in raster order.
LATER_26 = tuple(offset for offset in OFFSETS_26 if offset > (0, 0, 0))
OFFSETS_6 = tuple(offset for offset in OFFSETS_26 if sum(map(abs, offset)) == 1)
LATER_6 = tuple(offset for offset in LATER_26 if sum(map(abs, offset)) == 1)


@dataclass(frozen=True)
class BlockGrid:
    """Blocks of `block_shape` (smaller at the far sides) over `shape`, numbered in raster order."""

    shape: Shape
    block_shape: Shape

    @property
    def counts(self) -> Shape:
        z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block_shape, strict=True))
        return z, y, x

    def __len__(self) -> int:
        z, y, x = self.counts
        return z * y * x

    def _position(self, number: int) -> Shape:
        _, ny, nx = self.counts
        return number // (ny * nx), number // nx % ny, number % nx

    def box(self, number: int) -> Box:
        start = tuple(p * b for p, b in zip(self._position(number), self.block_shape, strict=True))
        stop = tuple(
            min(a + b, n) for a, b, n in zip(start, self.block_shape, self.shape, strict=True)
        )
        return Box(start, stop)  # type: ignore[arg-type]

    def raster_index(self, inside: np.ndarray, box: Box) -> np.ndarray:
        """Raster indices in the volume (int64) of voxels given by those inside `box`."""
        z, y, x = np.unravel_index(inside, box.shape)
        place = (z + box.start[0], y + box.start[1], x + box.start[2])
        return np.ravel_multi_index(place, self.shape)

    def neighbours(
        self, number: int, offsets: tuple[Shape, ...] = OFFSETS_26
    ) -> Iterator[tuple[Shape, int]]:
        """(offset, number) of the blocks that exist at `offsets` from block `number`."""
        z, y, x = self._position(number)
        nz, ny, nx = self.counts
        for dz, dy, dx in offsets:
            if 0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx:
                yield (dz, dy, dx), ((z + dz) * ny + y + dy) * nx + x + dx


def face_name(axis: int, side: int) -> str:
    """Name of the outermost layer of a block at the low (-1) or high (1) side of an axis."""
    return f"face_{'zyx'[axis]}_{'low' if side < 0 else 'high'}"


def face_names(sides: tuple[int, ...] = (-1, 1)) -> tuple[str, ...]:
    return tuple(face_name(axis, side) for axis in range(3) for side in sides)


def faces_of(block: np.ndarray) -> dict[str, np.ndarray]:
    """Copies of the six outermost layers of a block (2-D, remaining axes in order)."""
    return {
        face_name(axis, side): block[(slice(None),) * axis + (0 if side < 0 else -1,)].copy()
        for axis in range(3)
        for side in (-1, 1)
    }


def facing_name(offset: Shape) -> str:
    """The one face that holds everything a block has next to its neighbour at `offset`."""
    axis = next(axis for axis in range(3) if offset[axis])
    return face_name(axis, offset[axis])


def facing(faces: Mapping[str, np.ndarray], offset: Shape) -> np.ndarray:
    """What a block has next to its neighbour at `offset`: a face, an edge or a corner.

    3-D, with one voxel along the axes where `offset` is not 0.
    """
    axis = next(axis for axis in range(3) if offset[axis])
    region = np.expand_dims(faces[face_name(axis, offset[axis])], axis)
    for other in range(axis + 1, 3):
        if offset[other]:
            end = slice(0, 1) if offset[other] < 0 else slice(-1, None)
            region = region[(slice(None),) * other + (end,)]
    return region


def opposite(offset: Shape) -> Shape:
    z, y, x = offset
    return -z, -y, -x


def touching_pairs(low: np.ndarray, high: np.ndarray, connectivity: int) -> np.ndarray:
    """Distinct pairs of labels (n, 2) that touch across two facing regions of `facing`.

    With connectivity 6 a voxel touches the one right opposite, with 26 also those beside it.
    """
    steps: list[tuple[int, ...]] = [(0,)] * 3
    if connectivity == 26:
        steps = [(-1, 0, 1) if size > 1 else (0,) for size in low.shape]
    pairs = []
    for shift in itertools.product(*steps):
        here = tuple(
            slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, low.shape, strict=True)
        )
        there = tuple(
            slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, low.shape, strict=True)
        )
        a, b = low[here].ravel(), high[there].ravel()
        both = (a > 0) & (b > 0)
        # One number a pair; most are that of the voxel before, and are not sorted.
        pair = a[both].astype(np.int64) << 32 | b[both].astype(np.int64)
        pairs.append(pair[np.diff(pair, prepend=-1) != 0])
    distinct = np.unique(np.concatenate(pairs))
    return np.stack([distinct >> 32, distinct & 0xFFFFFFFF], axis=1)
