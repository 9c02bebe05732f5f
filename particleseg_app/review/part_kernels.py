"""Compiled loops over the parts of a particle that is split. Importing this loads numba.

Masks and parts, (z, y, x), have a margin of one voxel on every side that is never part of the
particle, so that no neighbour has to be checked for being inside; labels and grey values have none.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def particle_mask(labels: np.ndarray, label: int) -> tuple[np.ndarray, int]:
    """The voxels of a particle as uint8 with a margin, and how many there are."""
    depth, height, width = labels.shape
    inside = np.zeros((depth + 2, height + 2, width + 2), np.uint8)
    count = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if labels[z, y, x] == label:
                    inside[z + 1, y + 1, x + 1] = 1
                    count += 1
    return inside, count


@njit(cache=True, nogil=True)
def parts_with_margin(parts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`parts` (no margin) as int32 with the margin of `inside`; -1 outside the particle."""
    placed = np.full(inside.shape, -1, np.int32)
    depth, height, width = parts.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if inside[z + 1, y + 1, x + 1]:
                    placed[z + 1, y + 1, x + 1] = max(0, parts[z, y, x])
    return placed


@njit(cache=True, nogil=True)
def part_sizes(parts: np.ndarray, count: int) -> np.ndarray:
    """Voxels of the parts 1…`count`, from index 0 on."""
    sizes = np.zeros(count, np.int64)
    flat = parts.reshape(-1)
    for at in range(flat.size):
        if flat[at] > 0:
            sizes[flat[at] - 1] += 1
    return sizes


@njit(cache=True, nogil=True)
def write_parts(labels: np.ndarray, parts: np.ndarray, numbers: np.ndarray) -> None:
    """Give the voxels of part n the number `numbers[n - 1]`; `parts` has a margin."""
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                part = parts[z + 1, y + 1, x + 1]
                if part > 0:
                    labels[z, y, x] = numbers[part - 1]


@njit(cache=True, nogil=True)
def grey_landscape(
    grey: np.ndarray,
    inside: np.ndarray,
    cells: np.ndarray,
    factor: int,
    around: float,
    highest: float,
) -> tuple[np.ndarray, np.ndarray]:
    """How near the grey values are to `around`: 0 (at least `highest` away) to 255, with a margin.

    `inside` has a margin, `grey` has none; 255 outside the particle. Also the means over the
    particle's voxels of each cell of `factor`³, float32 of the shape of `cells`.
    """
    landscape = np.full(inside.shape, 255, np.uint8)
    sums = np.zeros(cells.shape, np.float32)
    counts = np.zeros(cells.shape, np.int32)
    scale = 255.0 / highest
    depth, height, width = grey.shape
    for z in range(depth):
        i = z // factor + 1
        for y in range(height):
            j = y // factor + 1
            # Cell by cell along the row, without a division for each voxel.
            for k in range(1, cells.shape[2] - 1):
                total = np.float32(0)
                count = 0
                first = (k - 1) * factor
                for x in range(first, min(first + factor, width)):
                    if inside[z + 1, y + 1, x + 1]:
                        away = abs(grey[z, y, x] - around) * scale
                        near = np.uint8(max(0.0, 255.0 - away))
                        landscape[z + 1, y + 1, x + 1] = near
                        total += near
                        count += 1
                sums[i, j, k] += total
                counts[i, j, k] += count
    flat, number = sums.reshape(-1), counts.reshape(-1)
    for at in range(flat.size):
        if number[at]:
            flat[at] /= number[at]
    return landscape, sums


@njit(cache=True, nogil=True)
def thinned(inside: np.ndarray, factor: int) -> np.ndarray:
    """Cells of `factor`³ voxels, with a margin: uint8, 1 where any voxel of the cell is inside.

    Voxel (1, 1, 1) is the first of cell (1, 1, 1): the margins of both fit.
    """
    depth, height, width = inside.shape
    cells = np.zeros(
        (
            (depth - 2 + factor - 1) // factor + 2,
            (height - 2 + factor - 1) // factor + 2,
            (width - 2 + factor - 1) // factor + 2,
        ),
        np.uint8,
    )
    for z in range(1, depth - 1):
        i = (z - 1) // factor + 1
        for y in range(1, height - 1):
            j = (y - 1) // factor + 1
            for k in range(1, cells.shape[2] - 1):
                first = (k - 1) * factor + 1
                for x in range(first, min(first + factor, width - 1)):
                    cells[i, j, k] |= inside[z, y, x]
    return cells


@njit(cache=True, nogil=True)
def spread_parts(cells: np.ndarray, inside: np.ndarray, factor: int) -> np.ndarray:
    """Parts of cells brought back to voxels; 0 near where parts meet, -1 outside the particle."""
    sure = cells.copy()
    for z in range(1, cells.shape[0] - 1):
        for y in range(1, cells.shape[1] - 1):
            for x in range(1, cells.shape[2] - 1):
                part = cells[z, y, x]
                if part <= 0:
                    sure[z, y, x] = 0
                    continue
                for i in range(-1, 2):
                    for j in range(-1, 2):
                        for k in range(-1, 2):
                            other = cells[z + i, y + j, x + k]
                            if other > 0 and other != part:
                                sure[z, y, x] = 0
    depth, height, width = inside.shape
    parts = np.full(inside.shape, -1, np.int32)
    for z in range(1, depth - 1):
        i = (z - 1) // factor + 1
        for y in range(1, height - 1):
            j = (y - 1) // factor + 1
            for k in range(1, cells.shape[2] - 1):
                if cells[i, j, k] < 0:
                    continue  # no voxel of the cell is the particle's
                part = sure[i, j, k]
                first = (k - 1) * factor + 1
                for x in range(first, min(first + factor, width - 1)):
                    if inside[z, y, x]:
                        parts[z, y, x] = part
    return parts
