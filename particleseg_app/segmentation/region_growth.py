"""Growth of the cores of one block, compiled.

Importing this file imports numba. The first call on a computer compiles each loop (seconds); the
machine code is kept beside the file or in the user's cache folder.

State of a voxel while cores grow, one uint64: 0 background; layers · 2³² + label once a core has
reached it (a core's own voxels have 0 layers); UNREACHED before. The smaller state is the better
one: fewer layers first, then the smaller label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LAYER = np.uint64(1 << 32)
UNREACHED = np.uint64(1 << 63)
NO_LABEL = np.uint32(0xFFFFFFFF)


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
    """Voxels at the block's sides that a neighbouring block betters directly."""
    nz, ny, nx = state.shape
    found = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            x = 1
            while x < nx - 1:
                if state[z, y, x] >= LAYER:
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
                    if best != UNREACHED and best + LAYER < state[z, y, x]:
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
def _spread(flat: np.ndarray, steps: np.ndarray, here: Any, queue: np.ndarray, end: Any) -> Any:
    """Offer what a voxel knows to its 26 neighbours; new ones join the queue. Returns its end."""
    value = flat[here] + LAYER
    for k in range(26):
        there = here + steps[np.uintp(k)]
        known = flat[there]
        if known > value:
            if known == UNREACHED:
                queue[end] = there
                end += np.uintp(1)
            flat[there] = value
    return end


@njit(cache=True, nogil=True)
def _grow(
    state: np.ndarray, steps: np.ndarray, places: np.ndarray, values: np.ndarray, queue: np.ndarray
) -> None:
    """Fill `state` (padded by one voxel, the pad already emptied) layer by layer.

    `places` and `values` are the voxels reached through the halo, sorted by value; `queue` has room
    for every unreached voxel, for each enters it once. Indices are unsigned: numba then leaves out
    the test for negative ones, which costs a third of the time here.
    """
    nz, ny, nx = state.shape
    flat = state.reshape(-1)
    end = np.uintp(0)
    near = np.empty(nx, np.uint64)
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            # Most core voxels have only core and background beside them, whose states together are
            # below LAYER, and need not be asked 26 times. A voxel that another core has reached
            # already counts as border: this core may have the smaller key.
            for x in range(nx):
                near[x] = (
                    state[z - 1, y - 1, x]
                    | state[z - 1, y, x]
                    | state[z - 1, y + 1, x]
                    | state[z, y - 1, x]
                    | state[z, y, x]
                    | state[z, y + 1, x]
                    | state[z + 1, y - 1, x]
                    | state[z + 1, y, x]
                    | state[z + 1, y + 1, x]
                )
            row = np.uintp((z * ny + y) * nx)
            for x in range(1, nx - 1):
                here = row + np.uintp(x)
                if flat[here] != 0 and flat[here] < LAYER:
                    if near[x - 1] | near[x] | near[x + 1] < LAYER:
                        continue
                    end = _spread(flat, steps, here, queue, end)
    begin = np.uintp(0)
    waiting = 0
    layer = LAYER
    while begin < end or waiting < places.size:
        if begin == end and values[waiting] >= layer + LAYER:
            layer = values[waiting] // LAYER * LAYER
        while waiting < places.size and values[waiting] < layer + LAYER:
            here = np.uintp(places[waiting])
            known = flat[here]
            if values[waiting] < known:
                if known == UNREACHED:
                    queue[end] = here
                    end += np.uintp(1)
                flat[here] = values[waiting]
            waiting += 1
        # Everything in queue[begin:end] lies in this layer and has its final value.
        stop = end
        for i in range(begin, stop):
            end = _spread(flat, steps, np.uintp(queue[i]), queue, end)
        begin = stop
        layer += LAYER


def grow_block(cores: np.ndarray, ranks: np.ndarray, state: np.ndarray) -> None:
    """Best states of one block from its cores, given those of the voxels around it.

    `cores` (z, y, x) holds local core numbers; `ranks[number]` is the core's label in the whole
    volume, or 0 for what is border. `state` (uint64) is one voxel larger on each side: its outer
    layer holds the neighbours' present states (0 where unknown or outside) and is emptied on the
    way, its inside is filled.
    """
    unreached = _fill_state(cores, ranks, state)
    places, values = _offers_of_the_halo(state)
    dtype = np.uint32 if state.size < 2**32 else np.uint64
    _grow(state, _steps_26(state), places, values, np.empty(unreached, dtype))


def _offers_of_the_halo(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and states, best first, that the outer layer offers; empties the outer layer."""
    none = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    found = _reached_through_the_halo(state, True, *none)
    places, values = np.zeros(found, np.int64), np.zeros(found, np.uint64)
    _reached_through_the_halo(state, False, places, values)
    for axis in range(3):
        for end in (0, -1):
            state[(slice(None),) * axis + (end,)] = 0
    order = np.argsort(values, kind="stable")
    return places[order], values[order]


def _steps_26(state: np.ndarray) -> np.ndarray:
    """Differences of linear index to the 26 neighbours."""
    _, ny, nx = state.shape
    reach = np.arange(-1, 2, dtype=np.int64)
    steps = (reach[:, None, None] * ny * nx + reach[:, None] * nx + reach).ravel()
    # Going back wraps around in unsigned arithmetic and so still arrives.
    return np.delete(steps, 13).astype(np.uintp)


@njit(cache=True, nogil=True)
def _settle(
    state: np.ndarray,
    lookup: np.ndarray,
    weights_z: np.ndarray,
    weights_y: np.ndarray,
    weights_x: np.ndarray,
    labels: np.ndarray,
    layers: np.ndarray,
    most_names: int,
    most_layers: int,
) -> tuple[int, np.ndarray, np.ndarray]:
    """See `settled`; returns 0 names where labels or layers do not fit their arrays."""
    names = np.zeros(256, np.uint32)
    volumes = np.zeros(256, np.int64)
    count = 1
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            weight = weights_z[z] * weights_y[y]
            for x in range(nx):
                value = state[z + 1, y + 1, x + 1]
                if value == 0:
                    labels[z, y, x] = 0
                    layers[z, y, x] = 0
                    continue
                if value == UNREACHED:
                    name, place, layer = NO_LABEL, np.int64(0), np.int64(0)
                else:
                    name, layer = np.uint32(value % LAYER), np.int64(value // LAYER)
                    place = np.int64(name)
                local = np.int64(lookup[place])
                if local == 0:
                    if count == names.size:
                        names = np.append(names, np.zeros(count, np.uint32))
                        volumes = np.append(volumes, np.zeros(count, np.int64))
                    local = np.int64(count)
                    lookup[place] = local
                    names[local] = name
                    count += 1
                if count - 1 > most_names or layer > most_layers:
                    return 0, names, volumes
                labels[z, y, x] = local
                layers[z, y, x] = layer
                volumes[local] += weight * weights_x[x]
    return count, names, volumes


def settled(
    state: np.ndarray, highest_label: int, weights: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """What is kept of the inside of a state, with numbers as small as they can be.

    `labels` (z, y, x): indices into `names`, which holds the labels of the whole volume, 0 first,
    and NO_LABEL where foreground was not reached; `layers` (z, y, x), 0 there; `volumes`, for each
    of `names` but the background, the sum of the product of the three axes' `weights`.
    """
    z, y, x = (n - 2 for n in state.shape)
    for labels_type, layers_type in ((np.uint16, np.uint8), (np.uint32, np.uint32)):
        labels, layers = np.empty((z, y, x), labels_type), np.empty((z, y, x), layers_type)
        # Place 0 stands for NO_LABEL. Only what is touched of it takes memory.
        lookup = np.zeros(highest_label + 1, np.uint32)
        count, names, volumes = _settle(
            state,
            lookup,
            *weights,
            labels,
            layers,
            np.iinfo(labels_type).max,
            np.iinfo(layers_type).max,
        )
        if count:
            break
    return {"labels": labels, "names": names[:count], "layers": layers, "volumes": volumes[:count]}
