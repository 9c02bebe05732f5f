"""Compiled loop over one block: how its labels touch.

Importing this file imports numba; see `region_growth`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.segmentation.core_unions import GRADES

_TOP = GRADES - 1
# Pairs of labels that a block has at first room for.
_ROOM = 1 << 12


@njit(cache=True, nogil=True)
def _count(
    labels: np.ndarray,
    classes: np.ndarray,
    shape: tuple[int, int, int],
    keys: np.ndarray,
    counts: np.ndarray,
) -> bool:
    """Fill a table of open addressing whose free places are −1; whether it was large enough."""
    last, used = keys.size - 1, 0
    deep, high, wide = labels.shape
    latest, place = np.int64(-1), np.int64(0)
    for axis in range(3):
        dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
        for z in range(min(shape[0], deep - dz)):
            for y in range(min(shape[1], high - dy)):
                for x in range(min(shape[2], wide - dx)):
                    own, other = labels[z, y, x], labels[z + dz, y + dy, x + dx]
                    if own == other or own == 0 or other == 0:
                        continue
                    here, there = classes[z, y, x], classes[z + dz, y + dy, x + dx]
                    grade = min(
                        _TOP if here == 1 else int(here) - 2, _TOP if there == 1 else int(there) - 2
                    )
                    first, second = np.int64(min(own, other)), np.int64(max(own, other))
                    key = (first << 32) | second
                    if key != latest:
                        latest, place = key, (first * 73856093 ^ second * 19349663) & last
                        while keys[place] != -1 and keys[place] != key:
                            place = (place + 1) & last
                        if keys[place] == -1:
                            if 2 * used > last:
                                return False
                            keys[place] = key
                            used += 1
                    counts[place, grade] += 1
    return True


def contact_counts(
    labels: np.ndarray, classes: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of labels (n, 2) that touch and the faces of each grade between them (n, GRADES).

    `labels` (0: nobody's) and `classes` (uint8) hold the block of `shape` and, behind it, as much
    of the next voxels along each axis as there is; contacts to these count, those among them do
    not. Pairs come in rising order.
    """
    room = _ROOM
    while True:
        keys, counts = np.full(room, -1, np.int64), np.zeros((room, GRADES), np.int64)
        if _count(labels, classes, shape, keys, counts):
            break
        room *= 4
    found = np.flatnonzero(keys != -1)
    found = found[np.argsort(keys[found])]
    pairs = np.stack([keys[found] >> 32, keys[found] & 0xFFFFFFFF], axis=1)
    return pairs, counts[found]
