"""Growth of the cores of one block, compiled.

Importing this file imports numba. The first call on a computer compiles each loop (seconds); the
machine code is kept beside the file or in the user's cache folder.

Layer by layer: which voxels a layer reaches is found on rows of bits, 64 voxels at a time; each of
them then takes the smallest label beside it. The first layers, which nearly all voxels belong to,
are done by sweeps over the whole block (`near_layers`), the others row by row (`far_layers`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.segmentation.far_layers import far_layers
from particleseg_app.segmentation.near_layers import near_layers, padded
from particleseg_app.units import Shape

# State of a voxel, one uint64, as blocks tell it each other: 0 background; layers · 2³² + label
# once a core has reached it (a core's own voxels have 0 layers); UNREACHED before. The smaller one
# is the better one: fewer layers first, then the smaller label.
LAYER = np.uint64(1 << 32)
UNREACHED = np.uint64(1 << 63)

# What a voxel holds instead of a label; every label is smaller, so that the smallest beside a voxel
# is one. NO_LABEL: foreground that no core has reached.
NO_LABEL = np.uint32(0xFFFFFFFF)
BACKGROUND = np.uint32(0xFFFFFFFE)

_ONE = np.uint64(1)
# So many layers at least are done by sweeps.
_NEAR_LAYERS = 6


class BlockGrowth:
    """The labels of one block and of a margin around it while they grow.

    Within `margin` layers (at most 255) growth sees all that can reach the block. So a voxel of the
    block that a core reached in at most `margin` layers has its state in the whole volume, and so
    has every voxel of a block on whose faces to other blocks there are no others
    (docs/border_core.md).
    """

    def __init__(self, shape: Shape, margin: int) -> None:
        self.shape, self.margin = shape, margin
        # One voxel more of background, so that every voxel has 26 neighbours, and what a row of
        # bits may have more than the last row of voxels.
        z, y, x = padded(shape, margin)
        self._flat = np.full(z * y * x + 64, BACKGROUND)
        self._labels = self._flat[: z * y * x].reshape(z, y, x)

    def put(self, cores: np.ndarray, ranks: np.ndarray, start: Shape) -> None:
        """Fill in a part at `start`, counted from the block's first voxel (down to -margin).

        `cores` (z, y, x) holds local core numbers, 0 background; `ranks[number]` is the core's
        label in the whole volume, or 0 for what is border.
        """
        z, y, x = (n + self.margin + 1 for n in start)
        named = np.where(ranks > 0, ranks, NO_LABEL)
        named[0] = BACKGROUND
        _put(cores, named, self._labels[z:, y:, x:])

    def grow(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and layers (z, y, x) of the block.

        Labels are uint32, NO_LABEL where no core reached the foreground, or BACKGROUND; both of
        them have 0 layers. Layers are uint8 or, where there are more, uint32.
        """
        words = -(-self._labels.shape[2] // 64)
        reached = np.zeros((*self._labels.shape[:2], words), np.uint64)
        unreached = np.zeros_like(reached)
        _find_bits(self._flat, self._labels.shape[2], reached, unreached)
        near = max(self.margin, _NEAR_LAYERS)
        layers, front = near_layers(self._flat, reached, unreached, self.shape, self.margin, near)
        if front is not None:
            layers = far_layers(self._labels, front, unreached, layers, self.margin, near + 1)
        inner = tuple(slice(self.margin + 1, self.margin + 1 + n) for n in self.shape)
        return self._labels[inner], layers


@njit(cache=True, nogil=True)
def _put(cores: np.ndarray, named: np.ndarray, labels: np.ndarray) -> None:
    nz, ny, nx = cores.shape
    for z in range(nz):
        for y in range(ny):
            row, core_row = labels[z, y], cores[z, y]
            for x in range(nx):
                row[x] = named[core_row[x]]


@njit(cache=True, nogil=True)
def _find_bits(flat: np.ndarray, nx: int, reached: np.ndarray, unreached: np.ndarray) -> None:
    """The bits of the voxels with a label and of those without; rows have `nx` voxels each."""
    nz, ny, words = reached.shape
    # A word is always 64 voxels of `flat`, in the last one of a row some are of the next row.
    in_row = np.zeros(words, np.uint64)
    for x in range(nx):
        in_row[x >> 6] |= _ONE << np.uint64(x & 63)
    for z in range(nz):
        for y in range(ny):
            for w in range(words):
                start = (z * ny + y) * nx + 64 * w
                row = flat[start : start + 64]
                with_label, without = np.uint64(0), np.uint64(0)
                for j in range(64):
                    with_label |= np.uint64(row[j] < BACKGROUND) << np.uint64(j)
                    without |= np.uint64(row[j] == NO_LABEL) << np.uint64(j)
                reached[z, y, w] = with_label & in_row[w]
                unreached[z, y, w] = without & in_row[w]


def states(labels: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """States (uint64) of voxels by their labels in the whole volume and their layers.

    Labels are as `block_counts.settled` names them: 0 in the background.
    """
    found = layers * LAYER + labels
    found[labels == NO_LABEL] = UNREACHED
    return found
