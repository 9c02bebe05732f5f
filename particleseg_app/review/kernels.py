"""Compiled loops of the review. Importing this module loads numba: import it where it is used."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


@njit(cache=True, nogil=True)
def flood_from_the_top(
    values: np.ndarray, order: np.ndarray, steps: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hills and their meetings; see `merge_tree`.

    `values` float32 (size,) of a padded volume, `order` the indices of the body's voxels from the
    highest value down, `steps` the index offsets of the neighbours.
    """
    basins = np.zeros(size, np.int32)
    most = 1024
    peaks = np.zeros(most, np.float32)
    parent = np.zeros(most, np.int64)
    lesser = np.zeros(most, np.int32)
    greater = np.zeros(most, np.int32)
    saddle = np.zeros(most, np.float32)
    hills = 0
    meetings = 0
    for index in order:
        value = values[index]
        best = -1
        highest = np.float32(-np.inf)
        for step in steps:
            other = index + step
            if basins[other] > 0 and values[other] > highest:
                highest = values[other]
                best = other
        if best < 0:
            hills += 1
            if hills >= most:
                grown = most * 2
                peaks = _longer(peaks, grown)
                parent = _longer(parent, grown)
                lesser = _longer(lesser, grown)
                greater = _longer(greater, grown)
                saddle = _longer(saddle, grown)
                most = grown
            peaks[hills] = value
            parent[hills] = hills
            basins[index] = hills
            continue
        basins[index] = basins[best]
        here = _root(parent, basins[best])
        for step in steps:
            other = basins[index + step]
            if other == 0:
                continue
            there = _root(parent, other)
            if there == here:
                continue
            low, high = here, there
            # Hills are numbered from the highest peak down.
            if there > here:
                low, high = there, here
            lesser[meetings] = low
            greater[meetings] = high
            saddle[meetings] = value
            meetings += 1
            parent[low] = high
            here = high
    return (
        basins,
        peaks[: hills + 1].copy(),
        lesser[:meetings].copy(),
        greater[:meetings].copy(),
        saddle[:meetings].copy(),
    )


@njit(cache=True, nogil=True)
def _longer(values: np.ndarray, length: int) -> np.ndarray:
    result = np.zeros(length, values.dtype)
    result[: values.size] = values
    return result


@njit(cache=True, nogil=True)
def contact_faces(labels: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxel faces between two different labels: (faces, 2) labels, rising; (faces, 3) place.

    `labels` uint32 (z, y, x) may reach one voxel beyond the part to count on the far sides; `own`
    is the shape of that part. The place is the voxel on the near side.
    """
    depth, height, width = labels.shape
    pairs = np.empty((256, 2), np.uint32)
    places = np.empty((256, 3), np.int32)
    found = 0
    for z in range(own[0]):
        for y in range(own[1]):
            for x in range(own[2]):
                here = labels[z, y, x]
                if here == 0:
                    continue
                if found + 3 > len(pairs):
                    pairs = _twice_as_many(pairs)
                    places = _twice_as_many(places)
                for axis in range(3):
                    there = here
                    if axis == 0 and z + 1 < depth:
                        there = labels[z + 1, y, x]
                    elif axis == 1 and y + 1 < height:
                        there = labels[z, y + 1, x]
                    elif axis == 2 and x + 1 < width:
                        there = labels[z, y, x + 1]
                    if there != here and there != 0:
                        pairs[found, 0] = min(here, there)
                        pairs[found, 1] = max(here, there)
                        places[found, 0] = z
                        places[found, 1] = y
                        places[found, 2] = x
                        found += 1
    return pairs[:found].copy(), places[:found].copy()


@njit(cache=True, nogil=True)
def _twice_as_many(rows: np.ndarray) -> np.ndarray:
    result = np.empty((2 * rows.shape[0], rows.shape[1]), rows.dtype)
    result[: rows.shape[0]] = rows
    return result
