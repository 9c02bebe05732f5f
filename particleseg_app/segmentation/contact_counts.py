"""Compiled loop over one block: how its labels touch.

Importing this file imports numba; see `region_growth`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.segmentation.core_unions import GRADES

_TOP = GRADES - 1


@njit(cache=True, nogil=True)
def _slot(keys: np.ndarray, key: np.int64) -> np.int64:
    """Where `key` is in a table of open addressing, or where it belongs; −1 is a free place."""
    last = keys.size - 1
    place = ((key >> 32) * 73856093 ^ (key & 0xFFFFFFFF) * 19349663) & last
    while keys[place] != -1 and keys[place] != key:
        place = (place + 1) & last
    return place


@njit(cache=True, nogil=True)
def _contact_counts(
    labels: np.ndarray, classes: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    keys = np.full(1024, -1, np.int64)
    counts = np.zeros((1024, GRADES), np.int64)
    used = 0
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                own = np.int64(labels[z, y, x])
                if own == 0:
                    continue
                for axis in range(3):
                    bz, by, bx = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if bz >= labels.shape[0] or by >= labels.shape[1] or bx >= labels.shape[2]:
                        continue
                    other = np.int64(labels[bz, by, bx])
                    if other == 0 or other == own:
                        continue
                    here, there = classes[z, y, x], classes[bz, by, bx]
                    grade = min(
                        _TOP if here == 1 else int(here) - 2, _TOP if there == 1 else int(there) - 2
                    )
                    key = (min(own, other) << 32) | max(own, other)
                    place = _slot(keys, key)
                    if keys[place] == -1:
                        if 2 * used >= keys.size:
                            wider = np.full(2 * keys.size, -1, np.int64)
                            moved = np.zeros((2 * keys.size, GRADES), np.int64)
                            for old in range(keys.size):
                                if keys[old] != -1:
                                    new = _slot(wider, keys[old])
                                    wider[new] = keys[old]
                                    moved[new] = counts[old]
                            keys, counts = wider, moved
                            place = _slot(keys, key)
                        keys[place] = key
                        used += 1
                    counts[place, grade] += 1
    return keys, counts


def contact_counts(
    labels: np.ndarray, classes: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of labels (n, 2) that touch and the faces of each grade between them (n, GRADES).

    `labels` (0: nobody's) and `classes` (uint8) hold the block of `shape` and, behind it, as much
    of the next voxels along each axis as there is; contacts to these count, those among them do
    not. Pairs come in rising order.
    """
    keys, counts = _contact_counts(labels, classes, shape)
    found = np.flatnonzero(keys != -1)
    found = found[np.argsort(keys[found])]
    pairs = np.stack([keys[found] >> 32, keys[found] & 0xFFFFFFFF], axis=1)
    return pairs, counts[found]
