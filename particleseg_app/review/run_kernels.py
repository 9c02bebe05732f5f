"""Compiled search for runs of equal changes. Importing this loads numba."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def changed_runs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Runs (4, n) int64 where two flat arrays differ: first place, length, before, after.

    A run ends where either value changes.
    """
    count = int(before[0] != after[0])
    for at in range(1, before.size):  # without branches, so that many places are done at once
        begins = (before[at] != before[at - 1]) | (after[at] != after[at - 1])
        count += (before[at] != after[at]) & begins
    runs = np.empty((4, count), np.int64)
    run = -1
    for at in range(before.size):
        if before[at] != after[at]:
            if at == 0 or before[at] != before[at - 1] or after[at] != after[at - 1]:
                run += 1
                runs[0, run] = at
                runs[1, run] = 0
                runs[2, run] = before[at]
                runs[3, run] = after[at]
            runs[1, run] += 1
    return runs


@njit(cache=True, nogil=True)
def take_changes(
    present: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    new: np.ndarray,
    in_block: tuple[int, int, int],
    in_change: tuple[int, int, int],
    size: tuple[int, int, int],
) -> bool:
    """Write the voxels of `after` that differ from `before` into `new`.

    `present` and `new` are a block, `before` and `after` a change; what they share, of `size`,
    begins at `in_block` and `in_change`. False where `present` is not as `before`: then the change
    is out of date. (Whole arrays and offsets, because every layout of array is compiled anew.)
    """
    for z in range(size[0]):
        for y in range(size[1]):
            i, j, k = in_change[0] + z, in_change[1] + y, in_change[2]
            u, v, w = in_block[0] + z, in_block[1] + y, in_block[2]
            was, will = before[i, j, k : k + size[2]], after[i, j, k : k + size[2]]
            there, made = present[u, v, w : w + size[2]], new[u, v, w : w + size[2]]
            wrong, differs = np.uint32(0), np.uint32(0)
            for x in range(size[2]):  # without branches, so that many voxels are done at once
                wrong |= there[x] ^ was[x]
                differs |= will[x] ^ was[x]
            if wrong:
                return False
            if differs:
                for x in range(size[2]):
                    if will[x] != was[x]:
                        made[x] = will[x]
    return True


@njit(cache=True, nogil=True)
def differ(
    before: np.ndarray,
    after: np.ndarray,
    start: tuple[int, int, int],
    size: tuple[int, int, int],
) -> bool:
    """Whether two arrays (z, y, x) of one shape differ in the box of `size` at `start`."""
    for z in range(start[0], start[0] + size[0]):
        for y in range(start[1], start[1] + size[1]):
            was = before[z, y, start[2] : start[2] + size[2]]
            will = after[z, y, start[2] : start[2] + size[2]]
            different = np.uint32(0)
            for x in range(size[2]):
                different |= was[x] ^ will[x]
            if different:
                return True
    return False


@njit(cache=True, nogil=True)
def equal_runs(flat: np.ndarray) -> np.ndarray:
    """Lengths and values (2, n) uint32 of the runs of equal values in a flat array."""
    count = 1
    for at in range(1, flat.size):
        count += flat[at] != flat[at - 1]
    runs = np.empty((2, count), np.uint32)
    run, first = 0, 0
    for at in range(1, flat.size):
        if flat[at] != flat[at - 1]:
            runs[0, run] = at - first
            runs[1, run] = flat[first]
            run += 1
            first = at
    runs[0, run] = flat.size - first
    runs[1, run] = flat[first]
    return runs
