"""The first layers of growth, which nearly all border voxels belong to, compiled.

Importing this file imports numba; see `region_growth`.

Labels are dear and bits are cheap, so bits go first: which voxels each layer reaches, 64 at a time,
in the block and in its margin; then, from the last layer back, which of these voxels of the margin
the block depends on at all. Only they and the block's own take a label. So a margin costs little
beside the block, however many neighbours the block has.

Rows of bits: bit x % 64 of word x // 64 stands for voxel x; a slice is its rows one after the
other. All volumes have `margin` and one voxel more around the block on every side. These outermost
voxels are never reached, so what runs over from one row's bits into the next one's is 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.units import Shape

_ONE, _63 = np.uint64(1), np.uint64(63)


def near_layers(
    flat_labels: np.ndarray,
    reached: np.ndarray,
    unreached: np.ndarray,
    shape: Shape,
    margin: int,
    count: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Let the cores grow by at most `count` layers (255 or less), no fewer than the `margin`.

    `flat_labels` (uint32): the labels (z, y, x) of a block of that `shape` and its margin, one
    after the other, and 64 values more; every label is smaller than what the other voxels hold.
    `reached`, `unreached` (z, y, words): the bits of the cores and of the border. `flat_labels` and
    `unreached` are changed. Returns the layers (z, y, x; uint8) of the block, 0 where there are
    none, and the bits of the voxels of the last layer if growth goes on after it, else None.
    """
    z, y, words = reached.shape
    nz, ny, nx = shape
    edge = margin + 1
    in_row = _bits_between(edge, edge + nx, words)
    own = np.zeros((y, words), np.uint64)
    own[edge : edge + ny] = in_row
    within = np.stack(
        [
            np.tile(_bits_between(edge - reach, edge + nx + reach, words), y)
            for reach in _reaches(margin, count)
        ]
    )
    arrived = np.zeros((count, z, y * words), np.uint64)
    last = _arrive(
        reached.reshape(z, -1), unreached.reshape(z, -1), within, arrived, margin, nz, ny, words
    )
    _keep_needed(arrived, own.reshape(-1), margin, min(last, margin - 1), nz, ny, words)
    # A word of bits may begin before the block's first voxel and end after its last.
    flat_layers = np.zeros(edge + nz * ny * nx + edge + 64, np.uint8)
    found = np.empty(2 * y * words * 64, np.uint32)
    places = np.empty((2, y * words), np.int64)
    for layer in range(1, last + 1):
        _take_labels(
            flat_labels,
            arrived[layer - 1],
            layer,
            flat_layers,
            shape,
            margin,
            in_row,
            found,
            places,
        )
    layers = flat_layers[edge : edge + nz * ny * nx].reshape(shape)
    return layers, arrived[-1].reshape(reached.shape) if last == count else None


def padded(shape: Shape, margin: int) -> Shape:
    """The shape of a block with its margin and one voxel more on every side."""
    z, y, x = (n + 2 * margin + 2 for n in shape)
    return z, y, x


def _reaches(margin: int, count: int) -> list[int]:
    """How far outside the block each layer still matters: farther off, nothing of it can reach the
    block within `margin` layers."""
    return [max(0, margin - layer) for layer in range(1, count + 1)]


def _bits_between(start: int, stop: int, words: int) -> np.ndarray:
    bits = np.zeros(64 * words, np.uint8)
    bits[start:stop] = 1
    return np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)


@njit(cache=True, nogil=True)
def _widen_slice(bits: np.ndarray, words: int, widened_x: np.ndarray, widened: np.ndarray) -> None:
    """The voxels of a slice and their 8 neighbours in it, but for its first and last row."""
    n = bits.size
    widened_x[0] = bits[0] | bits[0] << _ONE | bits[0] >> _ONE
    widened_x[n - 1] = bits[n - 1] | bits[n - 1] << _ONE | bits[n - 1] >> _ONE
    if n > 1:
        widened_x[0] |= bits[1] << _63
        widened_x[n - 1] |= bits[n - 2] >> _63
    for i in range(1, n - 1):
        wide = bits[i] | bits[i] << _ONE | bits[i] >> _ONE
        widened_x[i] = wide | bits[i - 1] >> _63 | bits[i + 1] << _63
    for i in range(words, n - words):
        widened[i] = widened_x[i - words] | widened_x[i] | widened_x[i + words]


@njit(cache=True, nogil=True)
def _arrive(
    reached: np.ndarray,
    unreached: np.ndarray,
    within: np.ndarray,
    arrived: np.ndarray,
    margin: int,
    nz: int,
    ny: int,
    words: int,
) -> int:
    """Put the voxels that each layer reaches into `arrived`; return the last layer with any."""
    count, _, size = arrived.shape
    edge = margin + 1
    widened_x, widened = np.zeros(size, np.uint64), np.zeros((3, size), np.uint64)
    above, here, below = widened[0], widened[1], widened[2]
    for layer in range(1, count + 1):
        front = reached if layer == 1 else arrived[layer - 2]
        reach = max(0, margin - layer)
        start, stop = (edge - reach) * words, (edge + ny + reach) * words
        mask = within[layer - 1]
        any_bits = np.uint64(0)
        first = edge - reach
        _widen_slice(front[first - 1], words, widened_x, widened[(first - 1) % 3])
        _widen_slice(front[first], words, widened_x, widened[first % 3])
        for z in range(first, edge + nz + reach):
            _widen_slice(front[z + 1], words, widened_x, widened[(z + 1) % 3])
            left, new = unreached[z], arrived[layer - 1, z]
            for i in range(start, stop):
                bits = (above[i] | here[i] | below[i]) & left[i] & mask[i]
                left[i] ^= bits
                new[i] = bits
                any_bits |= bits
        if any_bits == 0:
            return layer - 1
    return count


@njit(cache=True, nogil=True)
def _keep_needed(
    arrived: np.ndarray, own: np.ndarray, margin: int, last: int, nz: int, ny: int, words: int
) -> None:
    """Drop the voxels of the margin on which no voxel of the block depends.

    A voxel depends on its neighbours of the layer before. `own` are the bits of a slice of the
    block, `last` is the last layer that has voxels in the margin.
    """
    size = arrived.shape[2]
    edge = margin + 1
    widened_x, widened = np.zeros(size, np.uint64), np.zeros((3, size), np.uint64)
    none = np.zeros(size, np.uint64)
    above, here, below = widened[0], widened[1], widened[2]
    for layer in range(last, 0, -1):
        following = arrived[layer]
        reach = margin - layer
        start, stop = (edge - reach) * words, (edge + ny + reach) * words
        first = edge - reach
        _widen_slice(following[first - 1], words, widened_x, widened[(first - 1) % 3])
        _widen_slice(following[first], words, widened_x, widened[first % 3])
        for z in range(first, edge + nz + reach):
            _widen_slice(following[z + 1], words, widened_x, widened[(z + 1) % 3])
            bits = arrived[layer - 1, z]
            inside = own if edge <= z < edge + nz else none
            for i in range(start, stop):
                bits[i] &= above[i] | here[i] | below[i] | inside[i]


@njit(cache=True, nogil=True)
def _take_labels(
    flat: np.ndarray,
    arrived: np.ndarray,
    layer: int,
    flat_layers: np.ndarray,
    shape: Shape,
    margin: int,
    own: np.ndarray,
    found: np.ndarray,
    places: np.ndarray,
) -> None:
    """Give the voxels of one layer the smallest label beside them, and the layer's number.

    A voxel must not see what its own layer reached. So what is `found` in a slice, for whole words
    at the `places` where there is anything, waits there until the next slice is done. Indices are
    unsigned, or numba would ask of each whether it is negative.
    """
    nz, ny, nx = shape
    edge, words = margin + 1, own.size
    py, px = ny + 2 * edge, nx + 2 * edge
    reach = max(0, margin - layer)
    column = np.empty(66, np.uint32)
    half, row, slice_ = np.uintp(found.size // 2), np.uintp(px), np.uintp(py * px)
    before_count = 0
    for z in range(edge - reach, edge + nz + reach + 1):
        this, before, count = z & 1, 1 - (z & 1), 0
        if z < edge + nz + reach:
            for y in range(edge - reach, edge + ny + reach):
                for w in range(words):
                    bits = arrived[z, y * words + w]
                    if bits == 0:
                        continue
                    start = np.uintp((z * py + y) * px + 64 * w)
                    there = np.uintp(this) * half + np.uintp(64 * count)
                    _smallest_labels(flat, start, row, slice_, column, found, there)
                    places[this, count] = y * words + w
                    count += 1
                    bits &= own[w]
                    if edge <= z < edge + nz and edge <= y < edge + ny and bits != 0:
                        start = np.uintp(((z - edge) * ny + y - edge) * nx + 64 * w)
                        _note_layer(flat_layers, start, bits, np.uint8(layer))
        for k in range(before_count):
            y, w = divmod(places[before, k], words)
            start = np.uintp(((z - 1) * py + y) * px + 64 * w)
            there = np.uintp(before) * half + np.uintp(64 * k)
            _replace(flat, start, arrived[z - 1, y * words + w], found, there)
        before_count = count


@njit(cache=True, nogil=True)
def _smallest_labels(
    flat: np.ndarray,
    start: np.uintp,
    row: np.uintp,
    slice_: np.uintp,
    column: np.ndarray,
    found: np.ndarray,
    there: np.uintp,
) -> None:
    """For 64 voxels from `start` on the smallest label of each and its 26 neighbours.

    First of the nine above and below each other, then of three such columns: processors do many at
    once. `column` is room for 66 values.
    """
    first = start - np.uintp(1) - slice_ - row
    for i in range(66):
        above = first + np.uintp(i)
        here = above + slice_
        below = here + slice_
        in_above = min(flat[above], min(flat[above + row], flat[above + row + row]))
        in_here = min(flat[here], min(flat[here + row], flat[here + row + row]))
        in_below = min(flat[below], min(flat[below + row], flat[below + row + row]))
        column[i] = min(in_above, min(in_here, in_below))
    for i in range(64):
        found[there + np.uintp(i)] = min(column[i], min(column[i + 1], column[i + 2]))


@njit(cache=True, nogil=True)
def _replace(
    flat: np.ndarray, start: np.uintp, bits: np.uint64, found: np.ndarray, there: np.uintp
) -> None:
    """Put those of 64 values that `bits` names from `found[there]` to `flat[start]`."""
    for half in range(2):
        part = np.uint32(bits >> np.uint64(32 * half) & np.uint64(0xFFFFFFFF))
        for i in range(32):
            k = np.uintp(32 * half + i)
            # All bits of it are 1 where the value is replaced: no branch to be guessed.
            new = np.uint32(0) - (part >> np.uint32(i) & np.uint32(1))
            flat[start + k] = found[there + k] & new | flat[start + k] & ~new


@njit(cache=True, nogil=True)
def _note_layer(flat_layers: np.ndarray, start: np.uintp, bits: np.uint64, layer: np.uint8) -> None:
    """Write the layer into those of 64 voxels from `start` on that `bits` names; they hold 0."""
    while bits != 0:
        part = bits & np.uint64(0xFF)
        if part != 0:
            for i in range(8):
                one = np.uint8(part >> np.uint64(i) & _ONE)
                flat_layers[start + np.uintp(i)] |= layer * one
        bits >>= np.uint64(8)
        start += np.uintp(8)
