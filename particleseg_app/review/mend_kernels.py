"""Compiled loops of the mending tools. Importing this loads numba: import it where it is used.

All volumes have axes (z, y, x) and a margin of one voxel on every side that is never part of the
particle, so that no neighbour has to be checked for being inside.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LEVELS = 256


@njit(cache=True, nogil=True)
def flood(parts: np.ndarray, landscape: np.ndarray, corners: bool) -> None:
    """Watershed by flooding: fill the zeros of `parts` from its numbers above 0, in place.

    `parts` int32: 0 to be filled, below 0 never. `landscape` uint8 of the same shape, flooded from
    low to high; equal heights in the order of their distance in steps. Over faces, or over
    `corners` and edges too. What cannot be reached stays 0.
    """
    flat = parts.reshape(-1)
    heights = landscape.reshape(-1)
    offsets = _offsets(parts.shape, corners)
    following = np.full(flat.size, -1, np.int32)
    first = np.full(LEVELS, -1, np.int32)
    last = np.full(LEVELS, -1, np.int32)
    for at in range(flat.size):
        if flat[at] > 0:
            for k in range(offsets.size):
                if flat[at + offsets[k]] == 0:
                    # Only the rim of what is known: the inside of it has nothing to give.
                    if first[0] < 0:
                        first[0] = at
                    else:
                        following[last[0]] = at
                    last[0] = at
                    break
    for level in range(LEVELS):
        while first[level] >= 0:
            at = first[level]
            first[level] = following[at]
            for k in range(offsets.size):
                beside = at + offsets[k]
                if flat[beside] != 0:
                    continue
                flat[beside] = flat[at]
                height = max(level, heights[beside])
                following[beside] = -1
                if first[height] < 0:
                    first[height] = beside
                else:
                    following[last[height]] = beside
                last[height] = beside


@njit(cache=True, nogil=True)
def geodesic_distance(inside: np.ndarray, sources: np.ndarray, limit: int) -> np.ndarray:
    """Chamfer distance (3, 4, 5 over faces, edges, corners) through `inside` to the `sources`.

    `inside` uint8, 1 in the particle; `sources` flat indices in it. int32 of the same shape,
    `limit` where it is farther or cannot be reached. Dial's form of Dijkstra's algorithm.
    """
    flat = inside.reshape(-1)
    distance = np.full(inside.shape, limit, np.int32)
    found = distance.reshape(-1)
    offsets = _offsets(inside.shape, True)
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
    offsets = _offsets(heights.shape, True)
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
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[z, y, x]:
                    cells[(z - 1) // factor + 1, (y - 1) // factor + 1, (x - 1) // factor + 1] = 1
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
    parts = np.full(inside.shape, -1, np.int32)
    for z in range(1, inside.shape[0] - 1):
        for y in range(1, inside.shape[1] - 1):
            for x in range(1, inside.shape[2] - 1):
                if inside[z, y, x]:
                    parts[z, y, x] = sure[
                        (z - 1) // factor + 1, (y - 1) // factor + 1, (x - 1) // factor + 1
                    ]
    return parts


@njit(cache=True, nogil=True)
def box_sums(values: np.ndarray, radius: int) -> np.ndarray:
    """Sums over cubes of 2 `radius` + 1 voxels an edge, int32; outside is 0."""
    sums = values.astype(np.int32)
    depth, height, width = sums.shape
    line = np.zeros(max(depth, height, width) + 2 * radius + 1, np.int32)
    for z in range(depth):
        for y in range(height):
            _sum_line(sums[z, y, :], line, radius)
    for z in range(depth):
        for x in range(width):
            _sum_line(sums[z, :, x], line, radius)
    for y in range(height):
        for x in range(width):
            _sum_line(sums[:, y, x], line, radius)
    return sums


@njit(cache=True, nogil=True)
def _sum_line(values: np.ndarray, line: np.ndarray, radius: int) -> None:
    count = values.size
    total = 0
    line[0] = 0
    for i in range(count):
        total += values[i]
        line[i + 1] = total
    for i in range(count):
        values[i] = line[min(count, i + radius + 1)] - line[max(0, i - radius)]


@njit(cache=True, nogil=True)
def _grown(values: np.ndarray) -> np.ndarray:
    larger = np.empty(values.size * 2, np.int32)
    larger[: values.size] = values
    return larger


@njit(cache=True, nogil=True)
def _offsets(shape: tuple[int, int, int], corners: bool) -> np.ndarray:
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


@njit(cache=True, nogil=True)
def move_surface(labels: np.ndarray, like_particle: np.ndarray, label: int, reach: int) -> None:
    """Move the free surface of `label` to where `like_particle` ends, in place.

    First at most `reach` layers of unlike voxels go, then at most `reach` layers of like
    background come. Layers go over faces and over corners by turns, which is nearest to a ball.
    The margin of `labels` holds a number that is no label.
    """
    flat = labels.reshape(-1)
    like = like_particle.reshape(-1)
    faces = _offsets(labels.shape, False)
    corners = _offsets(labels.shape, True)
    gone = np.zeros(flat.size, np.uint8)
    front = [np.int64(0) for _ in range(0)]
    for at in range(flat.size):
        if flat[at] == label and not like[at] and _touches(flat, at, faces, 0):
            front.append(np.int64(at))
            gone[at] = 1
    for layer in range(reach):
        offsets = corners if layer % 2 == 0 else faces
        following = [np.int64(0) for _ in range(0)]
        for here in front:
            flat[here] = 0
        for here in front:
            for k in range(offsets.size):
                beside = here + offsets[k]
                if flat[beside] == label and not like[beside] and not gone[beside]:
                    gone[beside] = 1
                    following.append(beside)
        front = following
    front = [np.int64(0) for _ in range(0)]
    for at in range(flat.size):
        if flat[at] == label and _touches(flat, at, faces, 0):
            front.append(np.int64(at))
    for layer in range(reach):
        offsets = faces if layer % 2 == 0 else corners
        following = [np.int64(0) for _ in range(0)]
        for here in front:
            for k in range(offsets.size):
                beside = here + offsets[k]
                if flat[beside] == 0 and like[beside] and not gone[beside]:
                    flat[beside] = label
                    following.append(beside)
        front = following


@njit(cache=True, nogil=True)
def _touches(flat: np.ndarray, at: int, offsets: np.ndarray, value: int) -> bool:
    found = False
    for k in range(offsets.size):
        found |= flat[at + offsets[k]] == value
    return found
