"""Compiled loops over the grey values inside particles. Loads numba: import it where it is used.

Labels come with two voxels more on each side of every axis, grey values with one. Each voxel of a
particle has a level: 2 where all voxels around it are of level 1 at least, 1 where all 26
neighbours belong to its particle, else 0. Its *local grey value* is the mean over itself and those
of its 26 neighbours that belong to its particle and, for voxels from level 1 on, are of level 1
themselves.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_phase_voxels(
    padded: np.ndarray, grey: np.ndarray, thresholds: np.ndarray, counts: np.ndarray
) -> None:
    """Count the voxels of each particle, level and phase, by their local grey values.

    `padded` uint32 (z + 4, y + 4, x + 4); `grey` (z + 2, y + 2, x + 2) of any type; `thresholds`
    float64 (phases - 1,), ascending; without any, `grey` is not looked at and may be empty.
    `counts` int64 (labels, 3, phases) is added to.
    """
    depth, height, width = padded.shape[0] - 4, padded.shape[1] - 4, padded.shape[2] - 4
    inner = _inner_voxels(padded)
    sums = _sums_along_x(grey)
    deep = np.empty(width, np.uint8)
    local = np.empty(width)
    for z in range(depth):
        for y in range(height):
            here = padded[z + 2, y + 2, 2 : width + 2]
            if not _any_particle(here):
                continue
            _mark_deep(inner, z, y, deep)
            if thresholds.size:
                _find_local_greys(padded, grey, sums, inner, deep, z, y, local)
            for x in range(width):
                label = here[x]
                if label != 0:
                    phase = 0
                    for k in range(thresholds.size):
                        phase += local[x] > thresholds[k]
                    counts[label, inner[z + 1, y + 1, x + 1] + deep[x], phase] += 1


@njit(cache=True, nogil=True)
def count_local_greys(
    padded: np.ndarray,
    grey: np.ndarray,
    from_level: np.ndarray,
    first_edge: float,
    bin_width: float,
    histogram: np.ndarray,
) -> None:
    """Count the local grey values of the voxels of each particle from a level on.

    `padded` and `grey` as above; `from_level` uint8 (labels,); `histogram` int64 (bins,), its first
    and last bin take what lies beyond.
    """
    depth, height, width = padded.shape[0] - 4, padded.shape[1] - 4, padded.shape[2] - 4
    inner = _inner_voxels(padded)
    sums = _sums_along_x(grey)
    deep = np.empty(width, np.uint8)
    local = np.empty(width)
    last = histogram.size - 1
    for z in range(depth):
        for y in range(height):
            here = padded[z + 2, y + 2, 2 : width + 2]
            if not _any_particle(here):
                continue
            _mark_deep(inner, z, y, deep)
            _find_local_greys(padded, grey, sums, inner, deep, z, y, local)
            for x in range(width):
                label = here[x]
                if label != 0 and inner[z + 1, y + 1, x + 1] + deep[x] >= from_level[label]:
                    place = np.floor((local[x] - first_edge) / bin_width)
                    histogram[int(min(max(place, 0), last))] += 1


@njit(cache=True, nogil=True)
def _any_particle(row: np.ndarray) -> bool:
    found = np.uint32(0)
    for x in range(row.size):
        found |= row[x]
    return found != 0


@njit(cache=True, nogil=True)
def _inner_voxels(padded: np.ndarray) -> np.ndarray:
    """Which voxels are of level 1 at least; uint8 (z + 2, y + 2, x + 2), 0 for background."""
    depth, height, width = padded.shape[0] - 2, padded.shape[1] - 2, padded.shape[2] - 2
    alike = np.empty((depth + 2, height + 2, width), np.uint8)
    for z in range(depth + 2):
        for y in range(height + 2):
            row = padded[z, y]
            for x in range(width):
                alike[z, y, x] = np.uint8(row[x] == row[x + 1]) & np.uint8(row[x + 1] == row[x + 2])
    inner = np.empty((depth, height, width), np.uint8)
    for z in range(depth):
        for y in range(height):
            here = padded[z + 1, y + 1, 1 : width + 1]
            found = inner[z, y]
            for x in range(width):
                found[x] = np.uint8(here[x] != 0)
            for dz in range(3):
                for dy in range(3):
                    row = padded[z + dz, y + dy, 1 : width + 1]
                    same = alike[z + dz, y + dy]
                    # No branch, so that it runs on many voxels at once.
                    for x in range(width):
                        found[x] &= same[x] & np.uint8(row[x] == here[x])
    return inner


@njit(cache=True, nogil=True)
def _mark_deep(inner: np.ndarray, z: int, y: int, deep: np.ndarray) -> None:
    """Mark the voxels of level 2 of one row; `z` and `y` count without what is more outside."""
    width = deep.size
    deep[:] = 1
    for dz in range(3):
        for dy in range(3):
            row = inner[z + dz, y + dy]
            for x in range(width):
                deep[x] &= row[x] & row[x + 1] & row[x + 2]


@njit(cache=True, nogil=True)
def _sums_along_x(grey: np.ndarray) -> np.ndarray:
    """Each voxel and its neighbours along x together; float64 without the ends."""
    depth, height, width = grey.shape[0], grey.shape[1], max(0, grey.shape[2] - 2)
    sums = np.empty((depth, height, width))
    for z in range(depth):
        for y in range(height):
            row = grey[z, y]
            for x in range(width):
                sums[z, y, x] = np.float64(row[x]) + np.float64(row[x + 1]) + np.float64(row[x + 2])
    return sums


@njit(cache=True, nogil=True)
def _find_local_greys(
    padded: np.ndarray,
    grey: np.ndarray,
    sums: np.ndarray,
    inner: np.ndarray,
    deep: np.ndarray,
    z: int,
    y: int,
    local: np.ndarray,
) -> None:
    """The local grey values of one row, for its particle voxels; `local` float64 (x,)."""
    width = local.size
    local[:] = 0.0
    for dz in range(3):
        for dy in range(3):
            row = sums[z + dz, y + dy]
            for x in range(width):
                local[x] += row[x]
    for x in range(width):
        label = padded[z + 2, y + 2, x + 2]
        if deep[x] != 0:
            local[x] /= 27.0
        elif label != 0:
            among_inner = inner[z + 1, y + 1, x + 1] != 0
            total, voxels = 0.0, 0
            for dz in range(3):
                for dy in range(3):
                    for dx in range(3):
                        if among_inner:
                            counts = inner[z + dz, y + dy, x + dx] != 0
                        else:
                            counts = padded[z + dz + 1, y + dy + 1, x + dx + 1] == label
                        if counts:
                            total += np.float64(grey[z + dz, y + dy, x + dx])
                            voxels += 1
            local[x] = total / voxels
