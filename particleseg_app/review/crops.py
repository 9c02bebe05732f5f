"""Pieces of scan and labels around particles, thinned where they would be too large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from particleseg_app.units import Box, Shape

# Shape hardly needs more than this; a particle of 74 voxels across is still seen whole.
MOST_VOXELS = 400_000
_READ_VOXELS = 4 * 2**20


class Volume(Protocol):
    """Anything with a shape (z, y, x) whose boxes can be read."""

    @property
    def shape(self) -> Shape: ...

    def read(self, box: Box) -> np.ndarray: ...


@dataclass(frozen=True)
class Crop:
    """A box of labels and, from the same voxels, grey values; every `stride`-th voxel each way."""

    box: Box
    stride: int
    labels: np.ndarray
    grey: np.ndarray


def read_crop(labels: Volume, scan: Volume, box: Box, most_voxels: int = MOST_VOXELS) -> Crop:
    """The crop of `box`, thinned to at most about `most_voxels`; memory is bounded by slabs."""
    stride = max(1, math.ceil((box.size / most_voxels) ** (1 / 3)))
    return Crop(box, stride, read_thinned(labels, box, stride), read_thinned(scan, box, stride))


def read_thinned(volume: Volume, box: Box, stride: int) -> np.ndarray:
    """Every `stride`-th voxel of a box, read in slabs of bounded size."""
    if stride == 1:
        return volume.read(box)
    _, height, width = box.shape
    slices = max(1, _READ_VOXELS // max(1, height * width) // stride) * stride
    slabs = []
    for z in range(box.start[0], box.stop[0], slices):
        stop = min(z + slices, box.stop[0])
        slab = volume.read(Box((z, *box.start[1:]), (stop, *box.stop[1:])))
        slabs.append(slab[::stride, ::stride, ::stride])
    return np.concatenate(slabs)
