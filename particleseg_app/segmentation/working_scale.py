"""Particle-size normalisation (000 §3.2.1): the scan on the grid the network was trained on.

Every working voxel is a fixed weighted sum of scan voxels that depends on its position in the
whole volume only, never on the tile or block it is asked for in, so that cutting a scan into
blocks cannot change a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from particleseg_app.models import GreyScaling
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    import torch

    from particleseg_app.volumes import GreyStatistics

MAX_READ_VOXELS = 16 * 1024**2


class GreyVolume(Protocol):
    """Anything with a shape whose boxes can be read, such as a `Scan`."""

    @property
    def shape(self) -> Shape: ...

    def read(self, box: Box) -> np.ndarray: ...


class ScanWithStatistics(GreyVolume, Protocol):
    """A `GreyVolume` that knows the statistics of all of its voxels."""

    @property
    def statistics(self) -> GreyStatistics: ...


def working_shape(scan_shape: Shape, scale_factor: float) -> Shape:
    """Shape of the scan at working scale, rounded to whole voxels, at least one each way."""
    z, y, x = (max(1, round(n * scale_factor)) for n in scan_shape)
    return z, y, x


@dataclass(frozen=True)
class Taps:
    """How working voxels along one axis are made of scan voxels [first, last).

    `indices` (working voxels, taps), counted from `first`; `weights` of the same shape, float32,
    whose rows sum to 1. The number of taps depends on the reduction alone.
    """

    first: int
    last: int
    indices: np.ndarray
    weights: np.ndarray

    def apply(self, values: torch.Tensor, axis: int) -> torch.Tensor:
        """Resample `values`, whose `axis` holds scan voxels [first, last)."""
        import torch

        indices = torch.from_numpy(self.indices).to(values.device)
        form = [1, 1, 1]
        form[axis] = -1
        weights = torch.from_numpy(self.weights).to(values.device)
        # Tap by tap, not as a matrix product: the order of the sum must not depend on the box.
        result = values.index_select(axis, indices[:, 0]) * weights[:, 0].reshape(form)
        for tap in range(1, indices.shape[1]):
            result += values.index_select(axis, indices[:, tap]) * weights[:, tap].reshape(form)
        return result


def resampling_taps(scan_length: int, working_length: int, start: int, stop: int) -> Taps:
    """Taps for working voxels [start, stop) along one axis.

    Linear interpolation when enlarging; when reducing, a triangle as wide as the reduction, so
    that fine noise does not alias. Beyond the working volume lies its mirror image, in which noise
    looks like noise: a network takes an edge that is only repeated for streaks and particles.
    """
    ratio = scan_length / working_length
    support = max(1.0, ratio)
    period = max(1, 2 * (working_length - 1))
    positions = np.arange(start, stop) % period
    positions = np.minimum(positions, period - positions) if working_length > 1 else 0 * positions
    centres = (positions + 0.5) * ratio - 0.5
    reach = math.ceil(support)
    nearest = np.floor(centres).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(nearest - centres[:, None]) / support)
    weights[(nearest < 0) | (nearest >= scan_length)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    indices = np.clip(nearest, 0, scan_length - 1)
    first, last = int(indices.min()), int(indices.max()) + 1
    return Taps(first, last, indices - first, weights.astype(np.float32))


def read_at_working_scale(
    scan: GreyVolume, shape: Shape, box: Box, scaling: GreyScaling, device: torch.device
) -> torch.Tensor:
    """Normalised grey values of a box at working scale, float32 (z, y, x) on `device`.

    `shape` is the whole working volume; a box that reaches beyond it is filled with its
    mirror image. The scan is read in pieces of bounded size however strongly it is reduced.
    """
    import torch

    _, along_y, along_x = (
        resampling_taps(n, w, a, b)
        for n, w, a, b in zip(scan.shape, shape, box.start, box.stop, strict=True)
    )
    slice_voxels = (along_y.last - along_y.first) * (along_x.last - along_x.first)
    most_slices = max(1, MAX_READ_VOXELS // slice_voxels)
    pieces = []
    start = box.start[0]
    while start < box.stop[0]:
        along_z = _most_rows(scan.shape[0], shape[0], start, box.stop[0], most_slices)
        grey = scan.read(
            Box(
                (along_z.first, along_y.first, along_x.first),
                (along_z.last, along_y.last, along_x.last),
            )
        )
        values = as_float(grey, device)
        values = values.clamp_(scaling.low, scaling.high).sub_(scaling.mean).div_(scaling.std)
        pieces.append(along_z.apply(along_x.apply(along_y.apply(values, 1), 2), 0))
        start += len(along_z.indices)
    return torch.cat(pieces)


def as_float(grey: np.ndarray, device: torch.device) -> torch.Tensor:
    """Grey values as float32 on the device; 8 and 16 bits travel to a card as they are."""
    import torch

    grey = np.ascontiguousarray(grey)
    if device.type == "cpu" or grey.dtype.itemsize > 2:
        return torch.from_numpy(grey.astype(np.float32)).to(device)
    if grey.dtype == np.uint16:
        # Unsigned 16 bits know few operations: the bits travel as signed ones.
        bits = torch.from_numpy(grey.view(np.int16)).to(device)
        return bits.int().bitwise_and_(0xFFFF).float()
    return torch.from_numpy(grey).to(device).float()


def _most_rows(
    scan_length: int, working_length: int, start: int, stop: int, most_slices: int
) -> Taps:
    """Taps for as many working slices from `start` as `most_slices` scan slices give (>= 1)."""
    while True:
        taps = resampling_taps(scan_length, working_length, start, stop)
        if stop - start == 1 or taps.last - taps.first <= most_slices:
            return taps
        stop = start + max(1, (stop - start) // 2)
