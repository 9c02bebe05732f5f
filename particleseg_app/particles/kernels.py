"""Compiled loops over label volumes. Importing this module loads numba: import it where it is used.

All volumes have axes (z, y, x). Particle `n` has row `n` of every accumulator; row 0 stays empty.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def accumulate_voxels(
    labels: np.ndarray,
    grey: np.ndarray,
    z_start: int,
    y_start: int,
    voxels: np.ndarray,
    coordinate_sums: np.ndarray,
    boxes: np.ndarray,
    grey_sums: np.ndarray,
) -> None:
    """Add every voxel of a block that reaches over all of x to the sums of its particle.

    `labels` uint32 (z, y, x); `grey` float64 of the same shape, or of shape (0, 0, 0) without a
    scan; `z_start`, `y_start` place the block in the volume. `voxels` int64 (n,);
    `coordinate_sums` float64 (n, 3); `boxes` int64 (n, 6): minimum z, y, x, then maximum z, y, x
    (exclusive); `grey_sums` float64 (n, 2): sum, sum of squares.
    """
    has_grey = grey.size > 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            row = labels[z, y]
            width = row.shape[0]
            x = 0
            while x < width:
                label = row[x]
                if label == 0:
                    x += 1
                    continue
                start = x
                while x < width and row[x] == label:
                    x += 1
                length = x - start
                voxels[label] += length
                coordinate_sums[label, 0] += length * (z_start + z)
                coordinate_sums[label, 1] += length * (y_start + y)
                coordinate_sums[label, 2] += 0.5 * length * (start + x - 1)
                boxes[label, 0] = min(boxes[label, 0], z_start + z)
                boxes[label, 1] = min(boxes[label, 1], y_start + y)
                boxes[label, 2] = min(boxes[label, 2], start)
                boxes[label, 3] = max(boxes[label, 3], z_start + z + 1)
                boxes[label, 4] = max(boxes[label, 4], y_start + y + 1)
                boxes[label, 5] = max(boxes[label, 5], x)
                if has_grey:
                    total = 0.0
                    squares = 0.0
                    for i in range(start, x):
                        value = grey[z, y, i]
                        total += value
                        squares += value * value
                    grey_sums[label, 0] += total
                    grey_sums[label, 1] += squares


@njit(cache=True, nogil=True)
def count_exits(padded: np.ndarray, exits: np.ndarray) -> None:
    """Count where each particle ends along the 13 directions between neighbouring voxels.

    `padded` uint32 (z, y, x). Counted from are the voxels with a slice behind them in z and a
    voxel on both sides of them in y and x; the others are only looked at. `exits` int64 (n, 3)
    receives the sums over the 3 axes, the 6 face diagonals and the 4 body diagonals.
    """
    width = padded.shape[2] - 2
    codes = np.empty(width, dtype=np.uint8)
    for z in range(padded.shape[0] - 1):
        for y in range(1, padded.shape[1] - 1):
            here = padded[z, y, 1 : width + 1]
            right = padded[z, y, 2 : width + 2]
            front_left = padded[z, y + 1, 0:width]
            front = padded[z, y + 1, 1 : width + 1]
            front_right = padded[z, y + 1, 2 : width + 2]
            above_left = padded[z + 1, y - 1, 0:width]
            above = padded[z + 1, y - 1, 1 : width + 1]
            above_right = padded[z + 1, y - 1, 2 : width + 2]
            next_left = padded[z + 1, y, 0:width]
            next_ = padded[z + 1, y, 1 : width + 1]
            next_right = padded[z + 1, y, 2 : width + 2]
            below_left = padded[z + 1, y + 1, 0:width]
            below = padded[z + 1, y + 1, 1 : width + 1]
            below_right = padded[z + 1, y + 1, 2 : width + 2]
            # The three counts of a voxel (at most 3, 6 and 4) share a byte: 2 + 3 + 3 bits. This
            # loop has no branch, so that it runs on many voxels at once.
            for x in range(width):
                label = here[x]
                axes = (
                    np.uint8(label != right[x])
                    + np.uint8(label != front[x])
                    + np.uint8(label != next_[x])
                )
                faces = (
                    np.uint8(label != front_left[x])
                    + np.uint8(label != front_right[x])
                    + np.uint8(label != above[x])
                    + np.uint8(label != next_left[x])
                    + np.uint8(label != next_right[x])
                    + np.uint8(label != below[x])
                )
                bodies = (
                    np.uint8(label != above_left[x])
                    + np.uint8(label != above_right[x])
                    + np.uint8(label != below_left[x])
                    + np.uint8(label != below_right[x])
                )
                codes[x] = np.uint8(axes | (faces << 2) | (bodies << 5))
            for x in range(width):
                code = codes[x]
                if code != 0:
                    label = here[x]
                    if label != 0:
                        exits[label, 0] += code & 3
                        exits[label, 1] += (code >> 2) & 7
                        exits[label, 2] += code >> 5
