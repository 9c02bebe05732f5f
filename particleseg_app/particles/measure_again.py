"""Measures a few particles of a volume as `measure_particles` would, reading only their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.particles.measure import Greys, Labels, _Sums, _table, distance_to_outside
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, check_voxel_size, slabs

if TYPE_CHECKING:
    import pandas as pd

_SLAB_VOXELS = 4 * 2**20


def measure_some(
    labels: Labels,
    scan: Greys | None,
    voxel_size_um: float,
    boxes: Mapping[int, Box],
    progress: Progress,
    cancel: CancelToken,
) -> pd.DataFrame:
    """Measure the particles that are keys of `boxes`; rows and columns as `measure_particles`.

    Each box must hold all voxels of its particle (it may be larger). Particles without a voxel
    have no row. The rows are those that measuring the whole volume gives (for grey values with
    fractions up to the rounding of sums). Raises `InvalidValueError` and `Cancelled`.
    """
    check_voxel_size(voxel_size_um)
    wanted = sorted(boxes)
    # Row n of the sums belongs to the n-th label, whatever its number.
    sums = _Sums(len(wanted))
    grey_origin = float(np.rint(scan.statistics.mean)) if scan is not None else 0.0
    progress.start("Measuring mended particles", len(wanted), "particles")
    for row, label in enumerate(wanted, start=1):
        for slab in slabs(boxes[label], _SLAB_VOXELS):
            cancel.check()
            _measure(labels, scan, label, row, slab, boxes[label], sums, grey_origin)
        progress.advance()
    table = _table(sums, labels.shape, scan is not None, grey_origin, voxel_size_um)
    table["label"] = np.array([0, *wanted], dtype=np.int64)[table["label"].to_numpy()]
    return table


def _measure(
    labels: Labels,
    scan: Greys | None,
    label: int,
    row: int,
    slab: Box,
    box: Box,
    sums: _Sums,
    grey_origin: float,
) -> None:
    from particleseg_app.particles.kernels import accumulate_voxels, count_exits

    # One slice more, because the last slice ends at its voxels; outside the box is no particle.
    below = Box(slab.start, (min(slab.stop[0] + 1, box.stop[0]), *slab.stop[1:]))
    found = (labels.read(below) == label).astype(np.uint32)
    inside = found[: slab.shape[0]]
    if not inside.any():
        return
    depth, height, width = slab.shape
    padded = np.zeros((depth + 1, height + 2, width + 2), np.uint32)
    padded[: found.shape[0], 1:-1, 1:-1] = found
    one = _Sums(1)
    count_exits(padded, one.exits)
    grey = np.empty((0, 0, 0))
    if scan is not None:
        grey = np.subtract(scan.read(slab), grey_origin, dtype=np.float64)
    z, y, x = slab.start
    # The kernel takes blocks that begin at the first column: shift its columns afterwards.
    accumulate_voxels(
        np.ascontiguousarray(inside), grey, z, y, one.voxels, one.coordinates, one.boxes, one.greys
    )
    one.coordinates[1, 2] += float(one.voxels[1]) * x
    one.boxes[1, [2, 5]] += x
    sums.voxels[row] += one.voxels[1]
    sums.coordinates[row] += one.coordinates[1]
    sums.boxes[row, :3] = np.minimum(sums.boxes[row, :3], one.boxes[1, :3])
    sums.boxes[row, 3:] = np.maximum(sums.boxes[row, 3:], one.boxes[1, 3:])
    sums.greys[row] += one.greys[1]
    sums.exits[row] += one.exits[1]
    one.note_cut(inside, distance_to_outside(scan), slab)
    sums.to_outside[row] = min(sums.to_outside[row], one.to_outside[1])
