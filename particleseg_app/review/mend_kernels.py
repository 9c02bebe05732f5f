"""Compiled loops of the mending tools. Importing this loads numba: import it where it is used.

All volumes have axes (z, y, x) and a margin of one voxel on every side that is never part of the
particle, so that no neighbour has to be checked for being inside.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LEVELS = 256


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
    offsets = _offsets(parts.shape, corners)
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
def grey_landscape(
    grey: np.ndarray, inside: np.ndarray, around: float, highest: float
) -> np.ndarray:
    """How near the grey values are to `around`: 0 (at least `highest` away) to 255, with a margin.

    `inside` has a margin, `grey` has none; 255 outside the particle.
    """
    landscape = np.full(inside.shape, 255, np.uint8)
    scale = 255.0 / highest
    depth, height, width = grey.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if inside[z + 1, y + 1, x + 1]:
                    away = abs(grey[z, y, x] - around) * scale
                    landscape[z + 1, y + 1, x + 1] = np.uint8(max(0.0, 255.0 - away))
    return landscape


@njit(cache=True, nogil=True)
def cell_means(
    values: np.ndarray, inside: np.ndarray, cells: np.ndarray, factor: int
) -> np.ndarray:
    """Means of `values` over the particle's voxels of each cell, float32; all have a margin."""
    sums = np.zeros(cells.shape, np.float32)
    counts = np.zeros(cells.shape, np.int32)
    depth, height, width = inside.shape
    for z in range(1, depth - 1):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[z, y, x]:
                    i, j, k = (z - 1) // factor + 1, (y - 1) // factor + 1, (x - 1) // factor + 1
                    sums[i, j, k] += values[z, y, x]
                    counts[i, j, k] += 1
    flat, number = sums.reshape(-1), counts.reshape(-1)
    for at in range(flat.size):
        if number[at]:
            flat[at] /= number[at]
    return sums


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
def votes(labels: np.ndarray, label: int) -> np.ndarray:
    """int32: 1 for the particle's voxels, -1 for background, 0 for other particles."""
    found = np.empty(labels.shape, np.int32)
    flat, given = labels.reshape(-1), found.reshape(-1)
    for at in range(flat.size):
        given[at] = 1 if flat[at] == label else (-1 if flat[at] == 0 else 0)
    return found


@njit(cache=True, nogil=True)
def follow_votes(labels: np.ndarray, counted: np.ndarray, label: int) -> None:
    """Give the particle the background with more votes for it than against, and the reverse."""
    flat, found = labels.reshape(-1), counted.reshape(-1)
    for at in range(flat.size):
        if flat[at] == label:
            if found[at] <= 0:
                flat[at] = 0
        elif flat[at] == 0 and found[at] > 0:
            flat[at] = label


@njit(cache=True, nogil=True)
def sum_boxes(values: np.ndarray, radius: int) -> None:
    """Sums over cubes of 2 `radius` + 1 voxels an edge, in place; int32, outside is 0."""
    depth, height, width = values.shape
    line = np.zeros(width + 1, np.int32)
    for z in range(depth):
        for y in range(height):
            row = values[z, y]
            total = 0
            for x in range(width):
                total += row[x]
                line[x + 1] = total
            for x in range(width):
                row[x] = line[min(width, x + radius + 1)] - line[max(0, x - radius)]
    for z in range(depth):
        _sum_rows(values[z], radius)
    for y in range(height):
        _sum_rows(values[:, y], radius)


@njit(cache=True, nogil=True)
def _sum_rows(plane: np.ndarray, radius: int) -> None:
    """Sums along the first axis of a plane, whole rows at a time; the last rows are kept aside."""
    count, width = plane.shape
    edge = 2 * radius + 1
    kept = np.zeros((edge, width), np.int32)
    total = np.zeros(width, np.int32)
    for i in range(min(radius, count)):
        kept[i % edge] = plane[i]
        total += plane[i]
    for i in range(count):
        coming = i + radius
        slot = kept[coming % edge]
        if i > radius:
            total -= slot  # row i - radius - 1, which had this place
        if coming < count:
            slot[:] = plane[coming]
            total += slot
        else:
            slot[:] = 0
        plane[i] = total


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
def move_surface(
    labels: np.ndarray, grey: np.ndarray, edge: float, bright: bool, label: int, reach: int
) -> None:
    """Move the free surface of `label` to where its grey values end, in place.

    Like the particle is what is above `edge` (below it, unless `bright`). First at most `reach`
    layers of unlike voxels go, then at most `reach` layers of like background come. Layers go over
    faces and over corners by turns, which is nearest to a ball. `labels` has a margin that holds a
    number that is no label; `grey` has none.
    """
    flat = labels.reshape(-1)
    faces = _offsets(labels.shape, False)
    corners = _offsets(labels.shape, True)
    # The surface: few voxels of the volume.
    front = [np.int64(0) for _ in range(0)]
    for at in range(flat.size):
        if flat[at] == label and _touches(flat, at, faces, 0):
            front.append(np.int64(at))
    gone = {np.int64(0)}
    removed = [np.int64(0) for _ in range(0)]
    for here in front:
        if not _alike(grey, labels.shape, here, edge, bright):
            removed.append(here)
            gone.add(here)
    for layer in range(reach):
        offsets = corners if layer % 2 == 0 else faces
        following = [np.int64(0) for _ in range(0)]
        for here in removed:
            flat[here] = 0
        for here in removed:
            for k in range(offsets.size):
                beside = here + offsets[k]
                if flat[beside] == label and beside not in gone:
                    if _alike(grey, labels.shape, beside, edge, bright):
                        front.append(beside)  # the surface now
                    else:
                        gone.add(beside)
                        following.append(beside)
        removed = following
    for here in removed:
        front.append(here)  # out of reach: they stay, and are the surface
    for layer in range(reach):
        offsets = faces if layer % 2 == 0 else corners
        following = [np.int64(0) for _ in range(0)]
        for here in front:
            if flat[here] != label:
                continue
            for k in range(offsets.size):
                beside = here + offsets[k]
                if (
                    flat[beside] == 0
                    and beside not in gone
                    and _alike(grey, labels.shape, beside, edge, bright)
                ):
                    flat[beside] = label
                    following.append(beside)
        front = following


@njit(cache=True, nogil=True)
def _alike(
    grey: np.ndarray, shape: tuple[int, ...], at: np.int64, edge: float, bright: bool
) -> bool:
    x = at % shape[2] - 1
    y = at // shape[2] % shape[1] - 1
    z = at // (shape[2] * shape[1]) - 1
    value = grey[z, y, x]
    return value > edge if bright else value < edge


@njit(cache=True, nogil=True)
def _touches(flat: np.ndarray, at: int, offsets: np.ndarray, value: int) -> bool:
    found = False
    for k in range(offsets.size):
        found |= flat[at + offsets[k]] == value
    return found
