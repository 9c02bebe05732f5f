"""How the journal packs labels: runs of equal values, then zlib. Nothing read is trusted.

Blocks are 64 voxels an edge (cut at the volume's end) and aligned with the chunks of the stored
labels. Sizes are checked before memory is taken; a blob that is not what it should be raises
`DamagedBlobError`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from particleseg_app.units import Box, Shape
from particleseg_app.volumes.chunked_store import CHUNK_EDGE

BLOCK_EDGE = CHUNK_EDGE
BlockIndex = tuple[int, int, int]

_LEVEL = 1
_NUMBER = np.dtype("<u4")
_LARGEST_LABEL_LIST = 64 * 2**20  # bytes: 1 million labels of one gesture


class DamagedBlobError(ValueError):
    """Stored bytes that are not what the journal wrote."""


@dataclass(frozen=True)
class LabelTrace:
    """A label that a gesture took voxels from (`before`) or gave voxels to (`after`), and where."""

    label: int
    before: bool
    after: bool
    box: Box


def block_box(index: BlockIndex, shape: Shape) -> Box:
    """The voxels of a block in a volume of `shape`."""
    z, y, x = (i * BLOCK_EDGE for i in index)
    stop = (
        min(z + BLOCK_EDGE, shape[0]),
        min(y + BLOCK_EDGE, shape[1]),
        min(x + BLOCK_EDGE, shape[2]),
    )
    return Box((z, y, x), stop)


def grid_shape(shape: Shape) -> Shape:
    """How many blocks a volume has along each axis."""
    z, y, x = (-(-n // BLOCK_EDGE) for n in shape)
    return z, y, x


def blocks_of(box: Box) -> Iterator[BlockIndex]:
    """Indices of the blocks that `box` touches, in raster order."""
    if not box.size:
        return
    z, y, x = (
        range(a // BLOCK_EDGE, -(-b // BLOCK_EDGE))
        for a, b in zip(box.start, box.stop, strict=True)
    )
    yield from ((i, j, k) for i in z for j in y for k in x)


def encode_block(labels: np.ndarray) -> bytes:
    """Pack the labels of one block."""
    from particleseg_app.review.run_kernels import equal_runs

    runs = equal_runs(np.ascontiguousarray(labels).ravel())
    return zlib.compress(runs.astype(_NUMBER, copy=False).tobytes(), _LEVEL)


def decode_block(blob: bytes, shape: Shape) -> NDArray[np.uint32]:
    """The labels of one block of `shape`; raise `DamagedBlobError`."""
    size = shape[0] * shape[1] * shape[2]
    lengths, values = _numbers(blob, 2, size)
    if lengths.min() < 1 or lengths.sum(dtype=np.int64) != size:
        raise DamagedBlobError("the runs do not fill the block")
    return np.repeat(values, lengths).reshape(shape)


def difference_runs(before: np.ndarray, after: np.ndarray) -> NDArray[np.int64]:
    """Runs (4, n) of voxels of a block that differ: first place, length, before, after."""
    from particleseg_app.review.run_kernels import changed_runs

    runs: NDArray[np.int64] = changed_runs(
        np.ascontiguousarray(before).ravel(), np.ascontiguousarray(after).ravel()
    )
    return runs


def encode_difference(runs: NDArray[np.int64]) -> bytes:
    """Pack runs of `difference_runs`."""
    return zlib.compress(runs.astype(_NUMBER).tobytes(), _LEVEL)


def box_of_runs(runs: NDArray[np.int64], block: Box) -> Box:
    """A box of all voxels of some runs (at least one) in a block; runs over several rows or
    slices count as wide, or high, as the block."""
    _, height, width = block.shape
    first, last = runs[0], runs[0] + runs[1] - 1
    rows = first // width, last // width
    slices = rows[0] // height, rows[1] // height
    starts = [int(slices[0].min()), 0, 0]
    stops = [int(slices[1].max()) + 1, height, width]
    if (slices[0] == slices[1]).all():
        starts[1], stops[1] = int((rows[0] % height).min()), int((rows[1] % height).max()) + 1
    if (rows[0] == rows[1]).all():
        starts[2], stops[2] = int((first % width).min()), int((last % width).max()) + 1
    z, y, x = block.start
    return Box(
        (z + starts[0], y + starts[1], x + starts[2]), (z + stops[0], y + stops[1], x + stops[2])
    )


def apply_difference(blob: bytes, labels: np.ndarray, *, backwards: bool = False) -> np.ndarray:
    """The block `labels` with a packed difference made (or, `backwards`, unmade).

    Raises `DamagedBlobError` when the block is not in the state that the difference starts from.
    """
    places, lengths, old, new = _numbers(blob, 4, labels.size)
    if backwards:
        old, new = new, old
    ends = places.astype(np.int64) + lengths
    if (
        lengths.min(initial=1) < 1
        or (places[1:] < ends[:-1]).any()
        or ends[-1:].sum() > labels.size
    ):
        raise DamagedBlobError("the runs of a change overlap or lie outside its block")
    first = np.cumsum(lengths, dtype=np.int64) - lengths
    at = np.repeat(places - first, lengths) + np.arange(lengths.sum(dtype=np.int64))
    flat = labels.ravel().copy()
    if (flat[at] != np.repeat(old, lengths)).any():
        raise DamagedBlobError("a change does not fit the labels it was made from")
    flat[at] = np.repeat(new, lengths)
    return flat.reshape(labels.shape)


def encode_traces(traces: Sequence[LabelTrace]) -> bytes:
    rows = [(t.label, t.before + 2 * t.after, *t.box.start, *t.box.stop) for t in traces]
    return zlib.compress(np.array(rows, dtype="<i8").reshape(-1, 8).tobytes(), _LEVEL)


def decode_traces(blob: bytes, shape: Shape) -> list[LabelTrace]:
    """The labels that a gesture changed; raise `DamagedBlobError`."""
    raw = _unpacked(blob, _LARGEST_LABEL_LIST)
    if len(raw) % 64:
        raise DamagedBlobError("a list of labels is cut short")
    rows = np.frombuffer(raw, dtype="<i8").reshape(-1, 8)
    label, role, start, stop = rows[:, 0], rows[:, 1], rows[:, 2:5], rows[:, 5:]
    if ((label < 1) | (label > np.iinfo(np.uint32).max) | (role < 1) | (role > 3)).any() or (
        (start < 0) | (start >= stop) | (stop > np.array(shape))
    ).any():
        raise DamagedBlobError("a list of labels holds impossible values")
    traces = []
    for number, kind, *ends in rows.tolist():
        box = Box(tuple(ends[:3]), tuple(ends[3:]))
        traces.append(LabelTrace(number, bool(kind & 1), bool(kind & 2), box))
    return traces


def _numbers(blob: bytes, columns: int, most: int) -> NDArray[np.uint32]:
    raw = _unpacked(blob, columns * 4 * most)
    if not raw or len(raw) % (4 * columns):
        raise DamagedBlobError("a packed block is cut short")
    return np.frombuffer(raw, dtype=_NUMBER).reshape(columns, -1)


def _unpacked(blob: bytes, most_bytes: int) -> bytes:
    """Unpack at most `most_bytes`, however much the blob claims to hold."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(blob, most_bytes + 1)
    except zlib.error as error:
        raise DamagedBlobError(str(error)) from error
    if len(raw) > most_bytes or not unpacker.eof:
        raise DamagedBlobError("a packed block has the wrong size")
    return raw
