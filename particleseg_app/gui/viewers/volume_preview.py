"""Small copies of large volumes for the 3D view, read block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from particleseg_app.gui.viewers.slice_reader import STORED_BLOCK, SliceVolume
from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape

BYTES_AT_ONCE = 64 << 20


def preview_step(shape: Shape, most_voxels: int) -> int:
    """Smallest whole step at which a volume of `shape` has at most `most_voxels` voxels."""
    step = 1
    while math.prod(math.ceil(n / step) for n in shape) > most_voxels:
        step += 1
    return step


def read_labels_preview(volume: SliceVolume, step: int, cancel: CancelToken) -> np.ndarray:
    """Every `step`-th label along each axis, (z, y, x), the middle one of each block."""
    result = np.zeros([p.size for p in _places(volume.shape, step)], np.uint32)
    for box in _boxes(volume, step):
        cancel.check()
        _sample(volume, step, box, result)
    return result


def reread_labels_preview(
    volume: SliceVolume,
    step: int,
    before: np.ndarray,
    changed: Sequence[Box] | None,
    cancel: CancelToken,
) -> np.ndarray:
    """A small copy brought up to date: `before` with what lies in the boxes `changed` read again.

    None reads everything again. `before` itself stays as it is.
    """
    if changed is None:
        return read_labels_preview(volume, step, cancel)
    result = before.copy()
    for box in changed:
        cancel.check()
        _sample(volume, step, box, result)
    return result


def only_labels(labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The labels with background in place of all that are not `wanted` (n,)."""
    import fastremap

    result: np.ndarray = fastremap.mask_except(labels, wanted.tolist(), in_place=False)
    return result


def thinned(labels: np.ndarray, factor: int) -> np.ndarray:
    """Every `factor`-th label along each axis."""
    if factor == 1:
        return labels
    places = [np.minimum(np.arange(0, n, factor) + factor // 2, n - 1) for n in labels.shape]
    return labels[np.ix_(*places)]


def _places(shape: Shape, step: int) -> list[np.ndarray]:
    return [np.minimum(np.arange(0, n, step) + step // 2, n - 1) for n in shape]


def _sample(volume: SliceVolume, step: int, box: Box, result: np.ndarray) -> None:
    """Put the labels of `box` that belong in the small copy `result` there."""
    places = _places(volume.shape, step)
    inside = [
        np.flatnonzero((p >= a) & (p < b))
        for p, a, b in zip(places, box.start, box.stop, strict=True)
    ]
    if not all(i.size for i in inside):
        return
    block = _read(volume, box)
    own = [p[i] - a for p, i, a in zip(places, inside, box.start, strict=True)]
    result[np.ix_(*inside)] = block[np.ix_(*own)]


def read_grey_preview(
    volume: SliceVolume, step: int, low: float, high: float, cancel: CancelToken
) -> np.ndarray:
    """Means of `step`³ voxels, (z, y, x), as uint8: `low` is 0 and `high` 255."""
    result = np.zeros([math.ceil(n / step) for n in volume.shape], np.uint8)
    scale = 255.0 / max(high - low, 1e-12)
    for box in _boxes(volume, step):
        cancel.check()
        block = np.nan_to_num(_read(volume, box).astype(np.float32))
        missing = [(0, -n % step) for n in block.shape]
        if any(after for _, after in missing):
            block = np.pad(block, missing, mode="edge")
        z, y, x = (n // step for n in block.shape)
        means = block.reshape(z, step, y, step, x, step).mean(axis=(1, 3, 5))
        first = [a // step for a in box.start]
        part = tuple(slice(a, a + n) for a, n in zip(first, means.shape, strict=True))
        result[part] = np.clip((means - low) * scale + 0.5, 0, 255).astype(np.uint8)
    return result


def _boxes(volume: SliceVolume, step: int) -> Iterator[Box]:
    """Boxes that tile the volume, begin on multiples of `step` and are near the stored blocks."""
    depth, height, width = volume.shape
    edge = step * max(1, round(STORED_BLOCK / step))
    itemsize = np.dtype(volume.dtype).itemsize
    rows = max(edge, BYTES_AT_ONCE // (edge * width * itemsize) // edge * edge)
    if not hasattr(volume, "read"):
        rows = step * math.ceil(height / step)
    for z in range(0, depth, edge):
        for y in range(0, height, rows):
            yield Box((z, y, 0), (min(depth, z + edge), min(height, y + rows), width))


def _read(volume: Any, box: Box) -> np.ndarray:
    if hasattr(volume, "read"):
        block: np.ndarray = volume.read(box)
        return block
    z, y, x = box.slices
    return np.stack([volume.read_slice(0, index)[y, x] for index in range(z.start, z.stop)])
