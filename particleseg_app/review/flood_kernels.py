"""Compiled floods through a particle. Importing this loads numba: import it where it is used.

Volumes have axes (z, y, x) and a margin of one voxel on every side that is never part of the
particle, so that no neighbour has to be checked for being inside.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LEVELS = 256


@njit(cache=True, nogil=True)
def flood(parts: np.ndarray, landscape: np.ndarray, corners: bool) -> int:
    """Watershed by flooding: fill the zeros of `parts` from its numbers above 0, in place.

    `parts` int32: 0 to be filled, below 0 never. `landscape` uint8 of the same shape (or of one
    voxel: flat), flooded from low to high; equal heights in the order of their distance in steps.
    Over faces, or over `corners` and edges too. Returns how many voxels could not be reached; they
    stay 0. Time and memory follow the number of zeros, not the size of the volume.
    """
    flat = parts.reshape(-1)
    heights = landscape.reshape(-1)
    flat_landscape = heights.size != flat.size
    offsets = neighbour_offsets(parts.shape, corners)
    empty = 0
    for at in range(flat.size):
        empty += flat[at] == 0
    # Each voxel waits once, in the list of its level.
    voxel = np.empty(empty, np.int32)
    following = np.empty(empty, np.int32)
    first = np.full(LEVELS, -1, np.int32)
    last = np.full(LEVELS, -1, np.int32)
    waiting = 0
    for at in range(flat.size):
        if flat[at] != 0:
            continue
        for k in range(offsets.size):
            if flat[at + offsets[k]] > 0:
                voxel[waiting] = at
                following[waiting] = flat[at + offsets[k]]
                waiting += 1
                break
    filled = waiting
    for node in range(waiting):
        flat[voxel[node]] = following[node]
    for node in range(waiting):
        height = 0 if flat_landscape else heights[voxel[node]]
        following[node] = -1
        if first[height] < 0:
            first[height] = node
        else:
            following[last[height]] = node
        last[height] = node
    for level in range(LEVELS):
        while first[level] >= 0:
            node = first[level]
            first[level] = following[node]
            at = voxel[node]
            for k in range(offsets.size):
                beside = at + offsets[k]
                if flat[beside] != 0:
                    continue
                flat[beside] = flat[at]
                height = level
                if not flat_landscape:
                    height = max(level, heights[beside])
                voxel[filled] = beside
                following[filled] = -1
                if first[height] < 0:
                    first[height] = filled
                else:
                    following[last[height]] = filled
                last[height] = filled
                filled += 1
    return empty - filled


@njit(cache=True, nogil=True)
def geodesic_distance(inside: np.ndarray, sources: np.ndarray, limit: int) -> np.ndarray:
    """Chamfer distance (3, 4, 5 over faces, edges, corners) through `inside` to the `sources`.

    `inside` uint8, 1 in the particle; `sources` flat indices in it. int32 of the same shape,
    `limit` where it is farther or cannot be reached. Dial's form of Dijkstra's algorithm.
    """
    flat = inside.reshape(-1)
    distance = np.full(inside.shape, limit, np.int32)
    found = distance.reshape(-1)
    offsets = neighbour_offsets(inside.shape, True)
    steps = _step_lengths()
    # A ring of buckets: no step is longer than 5. A voxel may wait in several; the nearest counts.
    rings = np.zeros(6, np.int64)
    buckets = [np.empty(1024, np.int32) for _ in range(6)]
    for k in range(sources.size):
        at = sources[k]
        if found[at] != 0:
            found[at] = 0
            if rings[0] == buckets[0].size:
                buckets[0] = _grown(buckets[0])
            buckets[0][rings[0]] = at
            rings[0] += 1
    empty = 0
    reached = 0
    while empty < 6 and reached < limit:
        ring = reached % 6
        if rings[ring] == 0:
            empty += 1
            reached += 1
            continue
        empty = 0
        members = buckets[ring][: rings[ring]].copy()
        rings[ring] = 0
        for m in range(members.size):
            at = members[m]
            if found[at] != reached:
                continue
            for k in range(offsets.size):
                beside = at + offsets[k]
                length = reached + steps[k]
                if flat[beside] and length < found[beside]:
                    found[beside] = length
                    target = length % 6
                    if rings[target] == buckets[target].size:
                        buckets[target] = _grown(buckets[target])
                    buckets[target][rings[target]] = beside
                    rings[target] += 1
        reached += 1
    return distance


@njit(cache=True, nogil=True)
def climb(heights: np.ndarray, start: int) -> np.ndarray:
    """Flat indices of the steepest way up from `start` to the top of its hill."""
    flat = heights.reshape(-1)
    offsets = neighbour_offsets(heights.shape, True)
    way = np.empty(4096, np.int64)
    at, count = start, 0
    while count < way.size:
        way[count] = at
        count += 1
        best = at
        for k in range(offsets.size):
            if flat[at + offsets[k]] > flat[best]:
                best = at + offsets[k]
        if best == at:
            break
        at = best
    return way[:count]


@njit(cache=True, nogil=True)
def _grown(values: np.ndarray) -> np.ndarray:
    larger = np.empty(values.size * 2, np.int32)
    larger[: values.size] = values
    return larger


@njit(cache=True, nogil=True)
def neighbour_offsets(shape: tuple[int, int, int], corners: bool) -> np.ndarray:
    """Steps between flat indices to the 6 (or 26) neighbours."""
    offsets = np.empty(26 if corners else 6, np.int64)
    count = 0
    for i in range(-1, 2):
        for j in range(-1, 2):
            for k in range(-1, 2):
                axes = abs(i) + abs(j) + abs(k)
                if axes == 1 or (corners and axes > 1):
                    offsets[count] = (i * shape[1] + j) * shape[2] + k
                    count += 1
    return offsets


@njit(cache=True, nogil=True)
def _step_lengths() -> np.ndarray:
    lengths = np.empty(26, np.int64)
    count = 0
    for i in range(-1, 2):
        for j in range(-1, 2):
            for k in range(-1, 2):
                axes = abs(i) + abs(j) + abs(k)
                if axes:
                    lengths[count] = 2 + axes
                    count += 1
    return lengths
