"""Reading at working scale in bounded memory, however strongly the scan is reduced.

One slice at working scale of a scan that is reduced fifty times is made of fifty slices of the
scan. Where that is too much, its rows and columns are read in parts; a voxel at working scale
depends on its place alone, so the parts are as if read together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from particleseg_app.models import GreyScaling
from particleseg_app.segmentation.working_scale import (
    MAX_READ_VOXELS,
    GreyVolume,
    read_at_working_scale,
    resampling_taps,
)
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    import torch


def read_bounded(
    scan: GreyVolume,
    shape: Shape,
    box: Box,
    scaling: GreyScaling,
    device: torch.device,
    most_voxels: int = MAX_READ_VOXELS,
) -> torch.Tensor:
    """As `read_at_working_scale`; at most about `most_voxels` of the scan are read at once."""
    import torch

    extents = []
    for n, w, a, b in zip(scan.shape, shape, box.start, box.stop, strict=True):
        taps = resampling_taps(n, w, a, b)
        extents.append(taps.last - taps.first)
    one = resampling_taps(scan.shape[0], shape[0], box.start[0], box.start[0] + 1)
    _, height, width = box.shape
    needed = (one.last - one.first) * extents[1] * extents[2]
    if needed <= most_voxels or max(height, width) == 1:
        return read_at_working_scale(scan, shape, box, scaling, device)
    axis = 1 if height >= width else 2
    middle = (box.start[axis] + box.stop[axis]) // 2
    parts = [
        replace(box, stop=_with(box.stop, axis, middle)),
        replace(box, start=_with(box.start, axis, middle)),
    ]
    read = [read_bounded(scan, shape, part, scaling, device, most_voxels) for part in parts]
    return torch.cat(read, dim=axis)


def _with(place: Shape, axis: int, value: int) -> Shape:
    z, y, x = (value if n == axis else old for n, old in enumerate(place))
    return z, y, x
