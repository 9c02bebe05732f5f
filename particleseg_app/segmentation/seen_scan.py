"""The scan with matrix where its field of view ends.

What was filled in outside of it (`volumes.field_of_view`) is no part of the sample. A network takes
white there for a particle that joins all it touches, and black for air with a sharp edge; beside
matrix, and noise like the matrix has, a particle that is cut by the edge ends there, and nothing
else does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from particleseg_app.segmentation.working_scale import ScanWithStatistics
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import FieldOfView, GreyStatistics

# The noise outside comes again after so many voxels.
_PERIOD = 64


class ScanWithView(ScanWithStatistics, Protocol):
    """A scan that knows what of it was seen, as `volumes.Scan`; None for all of it."""

    @property
    def field_of_view(self) -> FieldOfView | None: ...


class SeenScan:
    """A scan that is read with matrix outside of its field of view; the same in whatever box."""

    def __init__(self, scan: ScanWithStatistics, view: FieldOfView) -> None:
        self.scan, self.view = scan, view
        level, deviation = scan.statistics.matrix()
        noise = np.random.default_rng(1).standard_normal((_PERIOD,) * 3, np.float32)
        low, high = scan.statistics.minimum, scan.statistics.maximum
        self._matrix = np.clip(np.float32(level) + np.float32(deviation) * noise, low, high)

    @property
    def shape(self) -> Shape:
        return self.scan.shape

    @property
    def statistics(self) -> GreyStatistics:
        """Those of the scan, which leave out what was not seen."""
        return self.scan.statistics

    def read(self, box: Box) -> np.ndarray:
        grey = self.scan.read(box)
        outside = self.view.outside[box.slices[1:]]
        if not outside.any():
            return grey
        places = (np.arange(a, b) % _PERIOD for a, b in zip(box.start, box.stop, strict=True))
        matrix = self._matrix[np.ix_(*places)]
        if grey.dtype.kind in "iu":
            matrix = np.rint(matrix)
        return np.where(outside, matrix.astype(grey.dtype), grey)


class DarkOutside:
    """A scan that is read with its darkest grey value outside of its field of view, and nowhere
    else: so what is measured about it leaves that out."""

    def __init__(self, scan: ScanWithStatistics, view: FieldOfView) -> None:
        self.scan, self.view = scan, view
        statistics = scan.statistics
        step = max(1.0, 1e-3 * (statistics.maximum - statistics.minimum))
        self.statistics: GreyStatistics = replace(
            statistics, minimum=float(np.float32(statistics.minimum - step))
        )

    @property
    def shape(self) -> Shape:
        return self.scan.shape

    def read(self, box: Box) -> np.ndarray:
        grey = self.scan.read(box)
        outside = self.view.outside[box.slices[1:]]
        if not outside.any():
            return grey
        return np.where(outside, np.float32(self.statistics.minimum), grey.astype(np.float32))


def seen(scan: ScanWithView) -> ScanWithStatistics:
    """The scan as it is to be looked at: itself where all of it was seen."""
    view = scan.field_of_view
    return scan if view is None else SeenScan(scan, view)


def view_note(view: FieldOfView) -> str:
    """What a run says of a field of view and of what it did."""
    return (
        f"{100 * view.outside_share:.0f} % of each slice is filled with one grey value "
        f"({view.filled:g}): it lies outside of the field of view. It was taken for matrix, and "
        "particles that its edge cuts count as touching the edge."
    )
