"""The scan's own grid against that of the working scale: nearest voxels, exact in integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.units import Box, Shape


@dataclass(frozen=True)
class ScanGrid:
    """Which working-scale voxel a voxel of the scan takes its label from.

    Along each axis scan voxel i takes working voxel floor((i + ½) · working / scan). A block of the
    working scale therefore fills one box of the scan, and these boxes tile the scan.
    """

    working_shape: Shape
    scan_shape: Shape

    def sources(self, axis: int) -> np.ndarray:
        """For each scan index along `axis` the working index (int64, never falling)."""
        working, scan = self.working_shape[axis], self.scan_shape[axis]
        index = np.arange(scan, dtype=np.int64)
        return np.minimum(working - 1, (2 * index + 1) * working // (2 * scan))

    def weights(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per axis, how many scan indices take each working index of `box` (int64)."""
        z, y, x = (
            np.bincount(self.sources(axis), minlength=self.working_shape[axis])[
                box.start[axis] : box.stop[axis]
            ].astype(np.int64)
            for axis in range(3)
        )
        return z, y, x

    def filled_by(self, box: Box) -> tuple[Box, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The box of the scan that a working box fills (may be empty), and the indices inside the
        working box that it takes along each axis (int64).
        """
        start, stop, indices = [], [], []
        for axis in range(3):
            sources = self.sources(axis)
            low, high = np.searchsorted(sources, [box.start[axis], box.stop[axis]])
            start.append(int(low))
            stop.append(int(high))
            indices.append(sources[low:high] - box.start[axis])
        (z0, y0, x0), (z1, y1, x1), (z, y, x) = start, stop, indices
        return Box((z0, y0, x0), (z1, y1, x1)), (z, y, x)
