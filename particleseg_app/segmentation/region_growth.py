"""Compiled loops over one block: what the small-core filter asks, and the growth of the cores.

Importing this file imports numba. The first call on a computer compiles each loop (seconds); the
machine code is kept beside the file or in the user's cache folder.

State of a voxel while cores grow, one uint64: 0 background; layers · 2³² + label once a core has
reached it (a core's own voxels have 0 layers); UNREACHED before. The smaller state is the better
one: fewer layers first, then the smaller label.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LAYER = np.uint64(1 << 32)
UNREACHED = np.uint64(1 << 63)
NO_LABEL = np.uint32(0xFFFFFFFF)


def _offsets_nearer_than(distance: int) -> np.ndarray:
    reach = np.arange(-distance + 1, distance)
    grid = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    squared = (grid**2).sum(axis=1)
    grid, squared = grid[squared < distance**2], squared[squared < distance**2]
    # Nearest first: the search for a voxel outside the core then ends early.
    return grid[np.argsort(squared, kind="stable")][1:].astype(np.int64)


@njit(cache=True, nogil=True)
def _core_figures(
    classes: np.ndarray,
    start: tuple[int, int, int],
    cores: np.ndarray,
    count: int,
    offsets: np.ndarray,
    total: np.ndarray,
    near: np.ndarray,
    deep: np.ndarray,
    first: np.ndarray,
) -> None:
    nz, ny, nx = cores.shape
    hz, hy, hx = classes.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                core = cores[z, y, x]
                if core == 0 or core > count:
                    continue
                if total[core] == 0:
                    first[core] = (z * ny + y) * nx + x
                total[core] += 1
                cz, cy, cx = z + start[0], y + start[1], x + start[2]
                if (
                    (cz > 0 and classes[cz - 1, cy, cx] != 1)
                    or (cz + 1 < hz and classes[cz + 1, cy, cx] != 1)
                    or (cy > 0 and classes[cz, cy - 1, cx] != 1)
                    or (cy + 1 < hy and classes[cz, cy + 1, cx] != 1)
                    or (cx > 0 and classes[cz, cy, cx - 1] != 1)
                    or (cx + 1 < hx and classes[cz, cy, cx + 1] != 1)
                ):
                    near[core] += 1
                elif not deep[core]:
                    alone = True
                    for k in range(offsets.shape[0]):
                        oz, oy, ox = cz + offsets[k, 0], cy + offsets[k, 1], cx + offsets[k, 2]
                        if (
                            0 <= oz < hz
                            and 0 <= oy < hy
                            and 0 <= ox < hx
                            and classes[oz, oy, ox] != 1
                        ):
                            alone = False
                            break
                    deep[core] = alone


def core_figures(
    classes: np.ndarray, start: tuple[int, int, int], cores: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Per core of a block, what the small-core filter and the numbering need; all of it adds up.

    `classes` (uint8) is the block with its halo (2 voxels and more, cut at the volume), `start` the
    block's place in it, `cores` the block's labels 1…`count` (higher values are no cores).
    Returns arrays of `count` values, core 1 first: `total` voxels, `near` voxels (distance to the
    nearest voxel of no core at most 1), `deep` (some voxel has distance 3 or more), and `first`,
    the raster index of the core's first voxel within the block.
    """
    total = np.zeros(count + 1, np.int64)
    near = np.zeros(count + 1, np.int64)
    deep = np.zeros(count + 1, np.bool_)
    first = np.zeros(count + 1, np.int64)
    offsets = _offsets_nearer_than(3)
    _core_figures(classes, start, cores, count, offsets, total, near, deep, first)
    return {"total": total[1:], "near": near[1:], "deep": deep[1:], "first": first[1:]}


@njit(cache=True, nogil=True)
def _fill_state(cores: np.ndarray, ranks: np.ndarray, state: np.ndarray) -> int:
    nz, ny, nx = cores.shape
    unreached = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                core = cores[z, y, x]
                if core == 0:
                    state[z + 1, y + 1, x + 1] = 0
                    continue
                rank = ranks[core]
                if rank > 0:
                    state[z + 1, y + 1, x + 1] = rank
                else:
                    state[z + 1, y + 1, x + 1] = UNREACHED
                    unreached += 1
    return unreached


@njit(cache=True, nogil=True)
def _reached_through_the_halo(
    state: np.ndarray, count_only: bool, places: np.ndarray, values: np.ndarray
) -> int:
    """Border voxels of the outermost layer that a neighbouring block reaches directly."""
    nz, ny, nx = state.shape
    found = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            x = 1
            while x < nx - 1:
                if state[z, y, x] == UNREACHED:
                    best = UNREACHED
                    for dz in range(-1, 2):
                        for dy in range(-1, 2):
                            for dx in range(-1, 2):
                                oz, oy, ox = z + dz, y + dy, x + dx
                                if (
                                    oz == 0
                                    or oz == nz - 1
                                    or oy == 0
                                    or oy == ny - 1
                                    or ox == 0
                                    or ox == nx - 1
                                ):
                                    there = state[oz, oy, ox]
                                    if there != 0 and there < best:
                                        best = there
                    if best != UNREACHED:
                        if not count_only:
                            places[found] = (z * ny + y) * nx + x
                            values[found] = best + LAYER
                        found += 1
                if x == 1 and 1 < z < nz - 2 and 1 < y < ny - 2:
                    x = max(nx - 2, 2)
                else:
                    x += 1
    return found


@njit(cache=True, nogil=True)
def _grow(
    state: np.ndarray, steps: np.ndarray, places: np.ndarray, values: np.ndarray, queue: np.ndarray
) -> None:
    """Fill `state` (padded by one voxel, the pad already emptied) layer by layer.

    `places` and `values` are the voxels reached through the halo, sorted by value; `queue` has room
    for every unreached voxel, for each enters it once.
    """
    nz, ny, nx = state.shape
    flat = state.reshape(-1)
    end = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            row = (z * ny + y) * nx
            for here in range(row + 1, row + nx - 1):
                if flat[here] == 0 or flat[here] >= LAYER:
                    continue
                value = flat[here] + LAYER
                for k in range(26):
                    there = here + steps[k]
                    if flat[there] > value:
                        if flat[there] == UNREACHED:
                            queue[end] = there
                            end += 1
                        flat[there] = value
    begin = 0
    waiting = 0
    layer = LAYER
    while begin < end or waiting < places.size:
        if begin == end and values[waiting] >= layer + LAYER:
            layer = values[waiting] // LAYER * LAYER
        while waiting < places.size and values[waiting] < layer + LAYER:
            here = places[waiting]
            if values[waiting] < flat[here]:
                if flat[here] == UNREACHED:
                    queue[end] = here
                    end += 1
                flat[here] = values[waiting]
            waiting += 1
        # Everything in queue[begin:end] lies in this layer and has its final value.
        stop = end
        for i in range(begin, stop):
            here = queue[i]
            value = flat[here] + LAYER
            for k in range(26):
                there = here + steps[k]
                if flat[there] > value:
                    if flat[there] == UNREACHED:
                        queue[end] = there
                        end += 1
                    flat[there] = value
        begin = stop
        layer += LAYER


def grow_block(cores: np.ndarray, ranks: np.ndarray, state: np.ndarray) -> None:
    """Best states of one block, given those of the voxels around it.

    `cores` (z, y, x) holds local core numbers; `ranks[number]` is the core's label in the whole
    volume, or 0 for what is border. `state` (uint64) is one voxel larger on each side: its outer
    layer holds the neighbours' present states (0 where unknown or outside), its inside is filled.
    The outer layer is emptied on the way.
    """
    unreached = _fill_state(cores, ranks, state)
    none = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    found = _reached_through_the_halo(state, True, *none)
    places, values = np.zeros(found, np.int64), np.zeros(found, np.uint64)
    _reached_through_the_halo(state, False, places, values)
    order = np.argsort(values, kind="stable")
    for axis in range(3):
        for end in (0, -1):
            state[(slice(None),) * axis + (end,)] = 0
    _, ny, nx = state.shape
    reach = np.arange(-1, 2, dtype=np.int64)
    steps = (reach[:, None, None] * ny * nx + reach[:, None] * nx + reach).ravel()
    steps = np.delete(steps, 13)
    dtype = np.int32 if state.size < 2**31 else np.int64
    _grow(state, steps, places[order], values[order], np.empty(unreached, dtype))


@njit(cache=True, nogil=True)
def _labels_of(state: np.ndarray, labels: np.ndarray) -> None:
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                value = state[z + 1, y + 1, x + 1]
                labels[z, y, x] = NO_LABEL if value == UNREACHED else np.uint32(value % LAYER)


def labels_of(state: np.ndarray) -> np.ndarray:
    """uint32 labels of the inside of a state; NO_LABEL where foreground was not reached."""
    z, y, x = state.shape
    labels = np.empty((z - 2, y - 2, x - 2), np.uint32)
    _labels_of(state, labels)
    return labels


@njit(cache=True, nogil=True)
def _weighted_counts(
    labels: np.ndarray,
    weights_z: np.ndarray,
    weights_y: np.ndarray,
    weights_x: np.ndarray,
    count: int,
) -> np.ndarray:
    totals = np.zeros(count + 1, np.int64)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            weight = weights_z[z] * weights_y[y]
            if weight == 0:
                continue
            for x in range(nx):
                totals[labels[z, y, x]] += weight * weights_x[x]
    return totals


def weighted_counts(
    labels: np.ndarray, weights: tuple[np.ndarray, np.ndarray, np.ndarray], count: int
) -> np.ndarray:
    """Sum of the product of the three axes' weights over the voxels of each label 0…`count`."""
    return _weighted_counts(labels, *weights, count)
