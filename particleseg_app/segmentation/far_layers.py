"""Growth of a block beyond the first layers, compiled: wide borders, few voxels a layer.

Importing this file imports numba; see `region_growth`. Only rows beside those that the layer before
reached are looked at, so that thousands of layers in a winding border cost what they reach.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ONE, _ALL = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)
# Place of a single bit: its product with this number has another value in its top six bits for each
# place (de Bruijn).
_DE_BRUIJN = 0x03F79D71B4CB0A89
_PLACE_OF_BIT = np.zeros(64, np.uint8)
_PLACE_OF_BIT[[(_DE_BRUIJN << place & int(_ALL)) >> 58 for place in range(64)]] = np.arange(64)
_DE_BRUIJN_64, _TOP = np.uint64(_DE_BRUIJN), np.uint64(58)
_63 = np.uint64(63)


def far_layers(
    labels: np.ndarray,
    front: np.ndarray,
    unreached: np.ndarray,
    layers: np.ndarray,
    margin: int,
    first: int,
) -> np.ndarray:
    """Let the voxels of the block grow from layer `first` on; return the layers of the block.

    `labels` (z, y, x; uint32), `front`, what the layer before reached, and `unreached` (z, y,
    words; bits) have `margin` and one voxel more on every side; `labels` and `unreached` are
    changed. `layers` (z, y, x; uint8) are those of the block so far; uint32 is returned where there
    are more than 255.
    """
    room = np.empty(int(np.bitwise_count(unreached).sum()), np.uint32)
    values = np.empty_like(room)
    front = _widened(front)
    front, alive = _grow(labels, unreached, front, layers, margin, first, 255, room, values)
    if alive:
        layers = layers.astype(np.uint32)
        last = np.iinfo(np.uint32).max
        _grow(labels, unreached, front, layers, margin, 256, last, room, values)
    return layers


@njit(cache=True, nogil=True)
def _widen_row(bits: np.ndarray, widened: np.ndarray) -> None:
    """Every bit of a row and the two beside it."""
    words = bits.size
    for w in range(words):
        word = bits[w]
        wide = word | word << _ONE | word >> _ONE
        if w > 0:
            wide |= bits[w - 1] >> _63
        if w + 1 < words:
            wide |= bits[w + 1] << _63
        widened[w] = wide


@njit(cache=True, nogil=True)
def _widened(bits: np.ndarray) -> np.ndarray:
    widened = np.zeros_like(bits)
    for z in range(bits.shape[0]):
        for y in range(bits.shape[1]):
            _widen_row(bits[z, y], widened[z, y])
    return widened


@njit(cache=True, nogil=True, inline="always")
def _of_three(flat: np.ndarray, here: np.uintp) -> np.uint32:
    return min(flat[here - np.uintp(1)], min(flat[here], flat[here + np.uintp(1)]))


@njit(cache=True, nogil=True)
def _smallest_label(flat: np.ndarray, here: np.uintp, row: np.uintp, slice_: np.uintp) -> np.uint32:
    """The smallest label among a voxel and its 26 neighbours, `row` and `slice_` voxels on.

    Written out as a tree, because one minimum after the other would wait for the one before.
    """
    above, below = here - slice_, here + slice_
    first = min(
        _of_three(flat, above - row), min(_of_three(flat, above), _of_three(flat, above + row))
    )
    second = min(
        _of_three(flat, here - row), min(_of_three(flat, here), _of_three(flat, here + row))
    )
    third = min(
        _of_three(flat, below - row), min(_of_three(flat, below), _of_three(flat, below + row))
    )
    return min(first, min(second, third))


@njit(cache=True, nogil=True)
def _grow(
    labels: np.ndarray,
    unreached: np.ndarray,
    front: np.ndarray,
    layers: np.ndarray,
    margin: int,
    layer: int,
    last: int,
    places: np.ndarray,
    values: np.ndarray,
) -> tuple[np.ndarray, bool]:
    """Reach the layers from `layer` to `last`. Returns the widened front, and whether it goes on.

    `front` are the bits of the voxels reached last, widened along x. `places` and `values` have
    room for what one layer reaches: a voxel must not see what its own layer has reached.
    """
    pz, py, words = unreached.shape
    px = np.uintp(labels.shape[2])
    nz, ny, nx = layers.shape
    edge = margin + 1
    flat = labels.reshape(-1)
    slice_ = np.uintp(py) * px
    near_rows = np.empty(9, np.int64)
    for k in range(9):
        near_rows[k] = (k // 3 - 1) * py + k % 3 - 1
    front_rows, unreached_rows = front.reshape(-1, words), unreached.reshape(-1, words)
    next_rows = np.zeros_like(front_rows)
    asked = np.zeros(pz * py, np.int64)
    active, following = np.empty(pz * py, np.int64), np.empty(pz * py, np.int64)
    active_count = 0
    for row in range(pz * py):
        for w in range(words):
            if front_rows[row, w] != 0:
                active[active_count] = row
                active_count += 1
                break
    bits, mask = np.empty(words, np.uint64), np.zeros(words, np.uint64)
    for place in range(edge, edge + nx):
        mask[place >> 6] |= _ONE << np.uint64(place & 63)
    while active_count > 0 and layer <= last:
        found, following_count = 0, 0
        for i in range(active_count):
            z, y = divmod(active[i], py)
            for oz in range(max(edge, z - 1), min(edge + nz, z + 2)):
                for oy in range(max(edge, y - 1), min(edge + ny, y + 2)):
                    row = oz * py + oy
                    if asked[row] == layer:
                        continue
                    asked[row] = layer
                    any_bits = np.uint64(0)
                    for w in range(words):
                        new = unreached_rows[row, w] & mask[w]
                        if new != 0:
                            near = np.uint64(0)
                            for k in range(9):
                                near |= front_rows[row + near_rows[k], w]
                            new &= near
                            unreached_rows[row, w] ^= new
                            any_bits |= new
                        bits[w] = new
                        while new != 0:
                            bit = new & (~new + _ONE)
                            new ^= bit
                            x = 64 * w + np.int64(_PLACE_OF_BIT[bit * _DE_BRUIJN_64 >> _TOP])
                            here = np.uintp(row) * px + np.uintp(x)
                            places[found] = here
                            values[found] = _smallest_label(flat, here, px, slice_)
                            found += 1
                            layers[oz - edge, oy - edge, x - edge] = layer
                    if any_bits != 0:
                        following[following_count] = row
                        following_count += 1
                        _widen_row(bits, next_rows[row])
        for i in range(found):
            flat[places[i]] = values[i]
        for i in range(active_count):
            front_rows[active[i]] = 0
        front_rows, next_rows = next_rows, front_rows
        active, following = following, active
        active_count = following_count
        layer += 1
    return front_rows.reshape(front.shape), active_count > 0
