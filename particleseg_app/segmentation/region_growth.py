"""Growth of the cores of one block, compiled.

Importing this file imports numba. The first call on a computer compiles each loop (seconds); the
machine code is kept beside the file or in the user's cache folder.

Layer by layer: which voxels a layer reaches is found on rows of bits, 64 voxels at a time; each of
them then takes the smallest label beside it. So a voxel costs work once, when it is reached.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.units import Shape

# State of a voxel, one uint64, as blocks tell it each other: 0 background; layers · 2³² + label
# once a core has reached it (a core's own voxels have 0 layers); UNREACHED before. The smaller one
# is the better one: fewer layers first, then the smaller label.
LAYER = np.uint64(1 << 32)
UNREACHED = np.uint64(1 << 63)
NO_LABEL = np.uint32(0xFFFFFFFF)

_ONE, _ALL = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)
# Place of a single bit: its product with this number has another value in its top six bits for each
# place (de Bruijn).
_DE_BRUIJN = 0x03F79D71B4CB0A89
_PLACE_OF_BIT = np.zeros(64, np.uint8)
_PLACE_OF_BIT[[(_DE_BRUIJN << place & int(_ALL)) >> 58 for place in range(64)]] = np.arange(64)
_DE_BRUIJN_64, _TOP = np.uint64(_DE_BRUIJN), np.uint64(58)
_63 = np.uint64(63)


class BlockGrowth:
    """The labels of one block and of a margin around it while they grow.

    Within `margin` layers growth sees all that can reach the block. So a voxel of the block that a
    core reached in at most `margin` layers has its state in the whole volume, and so has every
    voxel of a block on whose faces to other blocks there are no others (docs/border_core.md).
    """

    def __init__(self, shape: Shape, margin: int) -> None:
        self.shape, self.margin = shape, margin
        # One voxel more of background, so that every voxel has 26 neighbours.
        z, y, x = (n + 2 * margin + 2 for n in shape)
        self._labels = np.full((z, y, x), NO_LABEL)
        self._reached = np.zeros((z, y, -(-x // 64)), np.uint64)
        self._unreached = np.zeros_like(self._reached)
        self._border_voxels = 0

    def put(self, cores: np.ndarray, ranks: np.ndarray, start: Shape) -> None:
        """Fill in a part at `start`, counted from the block's first voxel (down to -margin).

        `cores` (z, y, x) holds local core numbers, 0 background; `ranks[number]` is the core's
        label in the whole volume, or 0 for what is border.
        """
        z, y, x = (n + self.margin + 1 for n in start)
        self._border_voxels += _put(
            cores, ranks, self._labels, self._reached, self._unreached, z, y, x
        )

    def grow(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and layers (z, y, x) of the block; what no core reached has NO_LABEL, 0 layers.

        So has the background. Labels are uint32, layers uint8 or, where there are more, uint32.
        """
        room = np.empty(self._border_voxels, np.uint32), np.empty(self._border_voxels, np.uint32)
        layers = np.zeros(self.shape, np.uint8)
        front = _widened(self._reached)
        front, alive = self._layers(front, layers, 1, 255, room)
        if alive:
            layers = layers.astype(np.uint32)
            self._layers(front, layers, 256, int(NO_LABEL), room)
        inner = tuple(slice(self.margin + 1, self.margin + 1 + n) for n in self.shape)
        return self._labels[inner], layers

    def _layers(
        self,
        front: np.ndarray,
        layers: np.ndarray,
        first: int,
        last: int,
        room: tuple[np.ndarray, np.ndarray],
    ) -> tuple[np.ndarray, bool]:
        return _grow(self._labels, self._unreached, front, layers, self.margin, first, last, *room)


@njit(cache=True, nogil=True)
def _put(
    cores: np.ndarray,
    ranks: np.ndarray,
    labels: np.ndarray,
    reached: np.ndarray,
    unreached: np.ndarray,
    z0: int,
    y0: int,
    x0: int,
) -> int:
    nz, ny, nx = cores.shape
    border_voxels = 0
    for z in range(nz):
        for y in range(ny):
            row = labels[z + z0, y + y0]
            known, unknown = reached[z + z0, y + y0], unreached[z + z0, y + y0]
            for x in range(nx):
                core = cores[z, y, x]
                if core == 0:
                    continue
                place = np.uint64(x + x0)
                bit = _ONE << (place & _63)
                rank = ranks[core]
                if rank > 0:
                    row[x + x0] = rank
                    known[place >> np.uint64(6)] |= bit
                else:
                    unknown[place >> np.uint64(6)] |= bit
                    border_voxels += 1
    return border_voxels


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
    mask, bits = np.empty(words, np.uint64), np.empty(words, np.uint64)
    while active_count > 0 and layer <= last:
        # Farther off, nothing of this layer can reach the block within `margin` layers.
        reach = max(0, margin - layer)
        for w in range(words):
            mask[w] = 0
            for place in range(max(64 * w, edge - reach), min(64 * w + 64, edge + nx + reach)):
                mask[w] |= _ONE << np.uint64(place - 64 * w)
        found, following_count = 0, 0
        for i in range(active_count):
            z, y = divmod(active[i], py)
            for oz in range(max(edge - reach, z - 1), min(edge + nz + reach, z + 2)):
                for oy in range(max(edge - reach, y - 1), min(edge + ny + reach, y + 2)):
                    row = oz * py + oy
                    if asked[row] == layer:
                        continue
                    asked[row] = layer
                    inside = edge <= oz < edge + nz and edge <= oy < edge + ny
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
                            if inside and edge <= x < edge + nx:
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


def states(labels: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """States (uint64) of voxels by their labels in the whole volume and their layers."""
    found = layers * LAYER + labels
    found[labels == NO_LABEL] = UNREACHED
    return found
