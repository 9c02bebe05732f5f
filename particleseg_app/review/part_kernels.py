"""Compiled loops over the parts of a particle that is split. Importing this loads numba.

Masks and parts, (z, y, x), have a margin of one voxel on every side that is never part of the
particle, so that no neighbour has to be checked for being inside; labels and grey values have none.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.review.slabs import in_slabs


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
def parts_with_margin(parts: np.ndarray, inside: np.ndarray, placed: np.ndarray) -> None:
    """Write `parts` (no margin) into `placed`, which has the margin of `inside`, in the particle;
    `placed` keeps what it has outside."""
    depth, height, width = parts.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if inside[z + 1, y + 1, x + 1]:
                    placed[z + 1, y + 1, x + 1] = max(0, parts[z, y, x])


@njit(cache=True, nogil=True)
def part_sizes(parts: np.ndarray, count: int) -> np.ndarray:
    """Voxels of the parts 1…`count`, from index 0 on."""
    sizes = np.zeros(count, np.int64)
    flat = parts.reshape(-1)
    if count <= 4:  # passes without branches, which do many voxels at once
        for part in range(count):
            voxels = 0
            for at in range(flat.size):
                voxels += flat[at] == part + 1
            sizes[part] = voxels
        return sizes
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


def grey_landscape(
    grey: np.ndarray,
    inside: np.ndarray,
    cells: np.ndarray,
    factor: int,
    around: float,
    highest: float,
    nearness: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """How near the grey values are to `around`: 0 (at least `highest` away) to 255, with a margin.

    `inside` has a margin, `grey` has none; 255 outside the particle. Also the means over the
    particle's voxels of each cell of `factor`³, float32 of the shape of `cells`. `nearness`
    (uint8) gives it for each grey value that there can be; empty: it is computed.
    """
    landscape = np.full(inside.shape, 255, np.uint8)
    means = np.zeros(cells.shape, np.float32)

    def fill(start: int, stop: int) -> None:
        _fill_landscape(
            grey, inside, factor, around, highest, nearness, landscape, means, start, stop
        )

    in_slabs(fill, grey.shape[0], grey.size, factor)
    return landscape, means


@njit(cache=True, nogil=True)
def _fill_landscape(
    grey: np.ndarray,
    inside: np.ndarray,
    factor: int,
    around: float,
    highest: float,
    nearness: np.ndarray,
    landscape: np.ndarray,
    means: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """The layers from `start` (the first of its cells) to `stop` of `grey_landscape`."""
    known = nearness.size > 0
    scale = 255.0 / highest
    _, height, width = grey.shape
    first_cell, last_cell = start // factor + 1, (stop - 1) // factor + 1
    counts = np.zeros((last_cell - first_cell + 1, *means.shape[1:]), np.int32)
    for z in range(start, stop):
        i = z // factor + 1
        for y in range(height):
            j = y // factor + 1
            # Cell by cell along the row, without a division for each voxel.
            for k in range(1, means.shape[2] - 1):
                total = np.float32(0)
                count = 0
                first = (k - 1) * factor
                for x in range(first, min(first + factor, width)):
                    if inside[z + 1, y + 1, x + 1]:
                        if known:
                            near = nearness[np.intp(grey[z, y, x])]
                        else:
                            away = abs(grey[z, y, x] - around) * scale
                            near = np.uint8(max(0.0, 255.0 - away))
                        landscape[z + 1, y + 1, x + 1] = near
                        total += near
                        count += 1
                means[i, j, k] += total
                counts[i - first_cell, j, k] += count
    for i in range(first_cell, last_cell + 1):
        for j in range(means.shape[1]):
            for k in range(means.shape[2]):
                if counts[i - first_cell, j, k]:
                    means[i, j, k] /= counts[i - first_cell, j, k]


def thinned(inside: np.ndarray, factor: int) -> np.ndarray:
    """Cells of `factor`³ voxels, with a margin: uint8, 1 where any voxel of the cell is inside.

    Voxel (1, 1, 1) is the first of cell (1, 1, 1): the margins of both fit.
    """
    depth, height, width = (-(-(n - 2) // factor) + 2 for n in inside.shape)
    cells = np.zeros((depth, height, width), np.uint8)

    def thin(start: int, stop: int) -> None:
        _thin(inside, factor, cells, start, stop)

    in_slabs(thin, inside.shape[0] - 2, inside.size, factor)
    return cells


@njit(cache=True, nogil=True)
def _thin(inside: np.ndarray, factor: int, cells: np.ndarray, start: int, stop: int) -> None:
    """The layers from `start` (the first of its cells) to `stop`, without the margin."""
    _, height, width = inside.shape
    for z in range(start + 1, stop + 1):
        i = (z - 1) // factor + 1
        for y in range(1, height - 1):
            j = (y - 1) // factor + 1
            for k in range(1, cells.shape[2] - 1):
                first = (k - 1) * factor + 1
                for x in range(first, min(first + factor, width - 1)):
                    cells[i, j, k] |= inside[z, y, x]


def spread_parts(cells: np.ndarray, inside: np.ndarray, factor: int) -> np.ndarray:
    """Parts of cells brought back to voxels; 0 near where parts meet, -1 outside the particle."""
    parts = np.full(inside.shape, -1, cells.dtype)

    def spread(start: int, stop: int) -> None:
        _spread(cells, inside, factor, parts, start, stop)

    in_slabs(spread, inside.shape[0] - 2, inside.size, factor)
    return parts


@njit(cache=True, nogil=True)
def _spread(
    cells: np.ndarray,
    inside: np.ndarray,
    factor: int,
    parts: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """The layers from `start` (the first of its cells) to `stop`, without the margin."""
    _, height, width = inside.shape
    sure = np.zeros(cells.shape[1:], cells.dtype)
    for i in range(start // factor + 1, (stop - 1) // factor + 2):
        for j in range(1, cells.shape[1] - 1):
            for k in range(1, cells.shape[2] - 1):
                part = cells[i, j, k]
                sure[j, k] = max(0, part)
                if part > 0 and _meets_another(cells, i, j, k):
                    sure[j, k] = 0
        for z in range((i - 1) * factor + 1, min(i * factor, stop) + 1):
            for y in range(1, height - 1):
                j = (y - 1) // factor + 1
                for k in range(1, cells.shape[2] - 1):
                    if cells[i, j, k] < 0:
                        continue  # no voxel of the cell is the particle's
                    part = sure[j, k]
                    first = (k - 1) * factor + 1
                    for x in range(first, min(first + factor, width - 1)):
                        if inside[z, y, x]:
                            parts[z, y, x] = part


@njit(cache=True, nogil=True)
def _meets_another(cells: np.ndarray, i: int, j: int, k: int) -> bool:
    """Whether a cell of another part is beside this one, over corners too."""
    part = cells[i, j, k]
    for z in range(i - 1, i + 2):
        for y in range(j - 1, j + 2):
            for x in range(k - 1, k + 2):
                other = cells[z, y, x]
                if other > 0 and other != part:
                    return True
    return False
