"""Betters what a grown block holds by what its neighbours found since, touching little of it.

Importing this file imports numba; see `region_growth`, which says what a state is. A grown block is
never written again: the voxels that changed are kept beside it, as `Bettered`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from particleseg_app.segmentation.region_growth import LAYER, NO_LABEL, UNREACHED


@dataclass
class Bettered:
    """The voxels of a block that changed after it was grown.

    `places`: raster indices in the block (int64, rising); `values`: their states (uint64).
    """

    places: np.ndarray
    values: np.ndarray


@njit(cache=True, nogil=True)
def _better(
    labels: np.ndarray,
    names: np.ndarray,
    layers: np.ndarray,
    slots: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
    known: int,
) -> tuple[int, np.ndarray, np.ndarray]:
    """Take in the offers `places[known:]`, `values[known:]` and carry them on.

    The first `known` are what changed before. Returns how many voxels have changed now, and the two
    arrays with them, in the order in which they first changed.
    """
    nz, ny, nx = labels.shape
    flat_labels, flat_layers, flat_slots = labels.reshape(-1), layers.reshape(-1), slots.reshape(-1)
    count = known
    kept_places = np.empty(2 * places.size + 64, np.int64)
    kept_values = np.empty(2 * places.size + 64, np.uint64)
    kept_places[:known] = places[:known]
    kept_values[:known] = values[:known]
    for i in range(known):
        flat_slots[places[i]] = i + 1
    queue = places[known:].copy()
    offers = values[known:].copy()
    end = queue.size
    while end > 0:
        reached = np.empty(2 * end + 26, np.int64)
        offered = np.empty(2 * end + 26, np.uint64)
        following = 0
        for i in range(end):
            place = queue[i]
            slot = np.int64(flat_slots[place])
            if slot > 0:
                present = kept_values[slot - 1]
            else:
                name = names[flat_labels[place]]
                if name == NO_LABEL:
                    present = UNREACHED
                else:
                    present = np.uint64(flat_layers[place]) * LAYER + name
            # Background has the state 0, which nothing betters.
            if offers[i] >= present:
                continue
            if slot == 0:
                if count == kept_places.size:
                    kept_places = np.append(kept_places, np.empty(count, np.int64))
                    kept_values = np.append(kept_values, np.empty(count, np.uint64))
                kept_places[count] = place
                count += 1
                slot = np.int64(count)
                flat_slots[place] = slot
            kept_values[slot - 1] = offers[i]
            if following + 26 > reached.size:
                reached = np.append(reached, np.empty(following + 26, np.int64))
                offered = np.append(offered, np.empty(following + 26, np.uint64))
            z, rest = divmod(place, ny * nx)
            y, x = divmod(rest, nx)
            for oz in range(max(0, z - 1), min(nz, z + 2)):
                for oy in range(max(0, y - 1), min(ny, y + 2)):
                    for ox in range(max(0, x - 1), min(nx, x + 2)):
                        there = (oz * ny + oy) * nx + ox
                        # Most neighbours are background or the same particle: asked here already.
                        if there != place and flat_labels[there] != 0:
                            reached[following] = there
                            offered[following] = offers[i] + LAYER
                            following += 1
        queue, offers, end = reached, offered, following
    return count, kept_places[:count], kept_values[:count]


def better(
    labels: np.ndarray,
    names: np.ndarray,
    layers: np.ndarray,
    before: Bettered | None,
    places: np.ndarray,
    values: np.ndarray,
) -> Bettered:
    """What changes when a grown block is offered the states `values` at `places`.

    `labels`, `names` and `layers` are those of the piece `grown` (see `core_growth.grow_cores`),
    `before` is what changed since.
    Costs as much as there is to better, whatever the block holds.
    """
    # Zeroed by the system when it is first touched: a few pages.
    slots = np.zeros(labels.shape, np.uint32)
    known = 0
    if before is not None:
        known = before.places.size
        places = np.concatenate([before.places, places])
        values = np.concatenate([before.values, values])
    _, changed, states = _better(labels, names, layers, slots, places, values, known)
    order = np.argsort(changed)
    return Bettered(changed[order], states[order])
