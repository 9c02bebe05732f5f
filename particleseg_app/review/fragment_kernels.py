"""Compiled search for the connected fragments of the parts of a particle. Importing this loads
numba: import it where it is used.

Parts, (z, y, x), have a margin of one voxel on every side that belongs to no part. They are looked
at as runs along x, of which there are far fewer than voxels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Columns of the runs: flat index of the first voxel, one beyond the last, part, fragment.
FIRST, BEYOND, PART, FRAGMENT = 0, 1, 2, 3


def runs_of_parts(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs of voxels above 0, (n, 4) int64 in reading order, the fragment not yet known; and
    for each row (z, y), flat, which runs begin in it: from `rows[i]` to `rows[i + 1]`."""
    flat = parts.reshape(-1)
    if flat.dtype.itemsize > 1:
        places = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    else:  # eight voxels are passed over at once
        whole = flat.size // 8 * 8
        places = _places_of_change(flat, flat[:whole].view(np.uint64))
    return _runs(flat, places, parts.shape[2])


@njit(cache=True, nogil=True)
def _places_of_change(flat: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Where `flat`, of one byte each, differs from the place before; `words` are its bytes, too."""
    places = np.empty(4096, np.int64)
    count = 0
    for word in range(words.size):
        first, last = 8 * word, 8 * word + 8
        uniform = np.uint64(np.uint8(flat[max(0, first - 1)])) * np.uint64(0x0101010101010101)
        if words[word] == uniform:
            continue
        if count + 8 > places.size:
            grown = np.empty(2 * places.size, np.int64)
            grown[:count] = places[:count]
            places = grown
        for at in range(max(1, first), last):  # without branches
            places[count] = at
            count += flat[at] != flat[at - 1]
    for at in range(max(1, 8 * words.size), flat.size):  # in the margin, where nothing changes
        if flat[at] != flat[at - 1]:
            places = np.append(places[:count], at)
            count += 1
    return places[:count]


@njit(cache=True, nogil=True)
def _runs(flat: np.ndarray, places: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    runs = np.empty((places.size, 4), np.int64)
    rows = np.zeros(flat.size // width + 1, np.int64)
    count = 0
    for change in range(places.size - 1):  # the margin ends every run within its row
        first = places[change]
        if flat[first] > 0:
            runs[count, 0] = first
            runs[count, 1] = places[change + 1]
            runs[count, 2] = flat[first]
            runs[count, 3] = count
            count += 1
            rows[first // width + 1] += 1
    for row in range(rows.size - 1):
        rows[row + 1] += rows[row]
    return runs[:count], rows


@njit(cache=True, nogil=True)
def number_fragments(runs: np.ndarray, rows: np.ndarray, shape: tuple[int, int, int]) -> int:
    """Number the 26-connected fragments of the parts from 0, in the order of their first voxels;
    returns how many there are."""
    _, height, width = shape
    parent = np.arange(runs.shape[0])
    for before in (1, height - 1, height, height + 1):  # rows read before this one, beside it
        _join_rows(runs, rows, parent, before, width)
    count = 0
    for run in range(runs.shape[0]):
        if parent[run] == run:
            runs[run, 3] = count
            count += 1
        else:
            runs[run, 3] = runs[_root(parent, run), 3]
    return count


@njit(cache=True, nogil=True)
def _join_rows(
    runs: np.ndarray, rows: np.ndarray, parent: np.ndarray, before: int, width: int
) -> None:
    """Join runs of one part that meet, over corners too, in each row and the one `before` it."""
    shift = before * width
    for row in range(before, rows.size - 1):
        low, end = rows[row - before], rows[row - before + 1]
        for run in range(rows[row], rows[row + 1]):
            first, beyond = runs[run, 0] - shift, runs[run, 1] - shift
            while low < end and runs[low, 1] < first:
                low += 1
            other = low
            while other < end and runs[other, 0] <= beyond:
                if runs[other, 2] == runs[run, 2]:
                    a, b = _root(parent, run), _root(parent, other)
                    # The root is the first one read, so that numbers rise in reading order.
                    parent[max(a, b)] = min(a, b)
                other += 1


@njit(cache=True, nogil=True)
def fragment_contacts(
    runs: np.ndarray, rows: np.ndarray, shape: tuple[int, int, int], wanted: np.ndarray
) -> np.ndarray:
    """Where the fragments that are `wanted` (bool, by number) meet others: (n, 4) int64 of
    fragment, the other one, voxel faces that they share, voxels that meet over edges or corners.

    Two fragments may have several rows.
    """
    _, height, width = shape
    found = np.empty((256, 4), np.int64)
    count = 0
    for row in range(rows.size - 1):
        for run in range(rows[row], rows[row + 1]):
            if not wanted[runs[run, 3]]:
                continue
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    beside = row + dz * height + dy
                    if beside < 0 or beside >= rows.size - 1:
                        continue
                    shift = (dz * height + dy) * width
                    first, beyond = runs[run, 0] + shift, runs[run, 1] + shift
                    for other in range(rows[beside], rows[beside + 1]):
                        if runs[other, 3] == runs[run, 3]:
                            continue
                        near = min(beyond + 1, runs[other, 1]) - max(first - 1, runs[other, 0])
                        if near <= 0:
                            continue
                        faces = 0
                        if dz == 0 and dy == 0:
                            faces = 1  # end to end
                        elif dz == 0 or dy == 0:
                            faces = max(0, min(beyond, runs[other, 1]) - max(first, runs[other, 0]))
                        if count == found.shape[0]:
                            grown = np.empty((2 * count, 4), np.int64)
                            grown[:count] = found
                            found = grown
                        found[count, 0] = runs[run, 3]
                        found[count, 1] = runs[other, 3]
                        found[count, 2] = faces
                        found[count, 3] = near - faces
                        count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def write_runs(parts: np.ndarray, runs: np.ndarray, part_of: np.ndarray) -> None:
    """Give the voxels of each fragment the part `part_of[fragment]`, where that is another one."""
    flat = parts.reshape(-1)
    for run in range(runs.shape[0]):
        part = part_of[runs[run, 3]]
        if part != runs[run, 2]:
            flat[runs[run, 0] : runs[run, 1]] = part


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item
