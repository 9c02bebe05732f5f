"""The blocks of a scan that its granulometry looks at: which, and their grey values on a scale."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape

_BLOCK_EDGE = 160
_SLICE_EDGE = 640


class GreyVolume(Protocol):
    """A scan that is read by boxes, as `Scan`."""

    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


def block_edge(reduction: float, thin: bool) -> int:
    """Edge of a block (of a slice where `thin`) in voxels of the scan."""
    return int((_SLICE_EDGE if thin else _BLOCK_EDGE) * reduction)


def boxes_to_measure(shape: Shape, reduction: float, thin: bool, count: int) -> list[Box]:
    """Boxes spread over the inner part of the scan, different ones along each axis."""
    edge, step = block_edge(reduction, thin), max(1, int(reduction))
    sizes = [min(n, edge) // step * step for n in shape]
    if thin:
        sizes[0] = 1
    places = []
    for axis, (length, size) in enumerate(zip(shape, sizes, strict=True)):
        # Keep away from the outer tenth, where container walls and artefacts are.
        margin = min(length // 10, (length - size) // 2)
        room = length - size - 2 * margin
        # Steps of different length along each axis spread the boxes without a regular grid.
        order = [(i * (1, 5, 2)[axis]) % count for i in range(count)]
        places.append(
            [margin + (room * position // (count - 1) if count > 1 else room // 2)
             for position in order]
        )  # fmt: skip
    boxes = []
    for start in zip(*places, strict=True):
        stop = tuple(a + n for a, n in zip(start, sizes, strict=True))
        box = Box(start, stop)
        if box not in boxes:
            boxes.append(box)
    return boxes


def read_reduced(scan: GreyVolume, box: Box, reduction: float, cancel: CancelToken) -> np.ndarray:
    """Grey values of `box` as float32: smoothed a little, or enlarged twice (reduction 0.5), or
    averaged over cubes of voxels (reduction 2 and more; squares where `box` is one slice)."""
    from scipy import ndimage

    flat = box.shape[0] == 1
    if reduction <= 1:
        values = scan.read(box).astype(np.float32)
        smoothing = 0.7 if reduction == 1 else 0.5
        sigma = (0.0 if flat else smoothing, smoothing, smoothing)
        smoothed: np.ndarray = ndimage.gaussian_filter(values, sigma, truncate=2.5)
        if reduction == 1:
            return smoothed
        cancel.check()
        for axis in (1, 2) if flat else (0, 1, 2):
            smoothed = _twice_as_fine(smoothed, axis)
        return smoothed
    return _averaged(scan, box, int(reduction), flat, cancel)


def _twice_as_fine(values: np.ndarray, axis: int) -> np.ndarray:
    """Put a value between every two along `axis`, on the cubic through four neighbours."""
    along = np.moveaxis(values, axis, 0)
    padded = np.concatenate([along[:1], along, along[-1:], along[-1:]])
    between = (9 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]) / 16
    fine = np.empty((2 * along.shape[0], *along.shape[1:]), np.float32)
    fine[::2], fine[1::2] = along, between
    return np.ascontiguousarray(np.moveaxis(fine, 0, axis))


def _averaged(
    scan: GreyVolume, box: Box, reduction: int, flat: bool, cancel: CancelToken
) -> np.ndarray:
    if flat:
        height, width = (n // reduction for n in box.shape[1:])
        squares = scan.read(box).reshape(1, height, reduction, width, reduction)
        return squares.mean(axis=(2, 4), dtype=np.float32)
    depth, height, width = (n // reduction for n in box.shape)
    reduced = np.empty((depth, height, width), np.float32)
    layers = max(1, 32 // reduction)
    for first in range(0, depth, layers):
        cancel.check()
        last = min(depth, first + layers)
        z, y, x = box.start
        part = Box(
            (z + first * reduction, y, x),
            (z + last * reduction, y + height * reduction, x + width * reduction),
        )
        cubes = scan.read(part).reshape(
            last - first, reduction, height, reduction, width, reduction
        )
        reduced[first:last] = cubes.mean(axis=(1, 3, 5), dtype=np.float32)
    return reduced
