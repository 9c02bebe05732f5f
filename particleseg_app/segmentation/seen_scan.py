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


class _FilledOutside:
    """A scan that is read with other grey values outside of its field of view; the same in whatever
    box."""

    def __init__(self, scan: ScanWithStatistics, view: FieldOfView) -> None:
        self.scan, self.view = scan, view

    @property
    def shape(self) -> Shape:
        return self.scan.shape

    @property
    def statistics(self) -> GreyStatistics:
        """Those of the scan, which leave out what was not seen."""
        return self.scan.statistics

    def read(self, box: Box) -> np.ndarray:
        grey = self.scan.read(box)
        y, x = np.nonzero(self.view.outside[box.slices[1:]])
        if y.size == 0:
            return grey
        filled = self._copy(grey)
        for z, plane in enumerate(filled, start=box.start[0]):
            plane[y, x] = self._values(z, y + box.start[1], x + box.start[2], filled.dtype)
        return filled

    def _copy(self, grey: np.ndarray) -> np.ndarray:
        """Of a type that holds what is filled in."""
        return grey.copy()

    def _values(
        self, z: int, y: np.ndarray, x: np.ndarray, dtype: np.dtype
    ) -> np.ndarray | np.float32:
        """What is filled in at places of a slice."""
        raise NotImplementedError


class SeenScan(_FilledOutside):
    """With matrix outside."""

    def __init__(self, scan: ScanWithStatistics, view: FieldOfView) -> None:
        super().__init__(scan, view)
        level, deviation = scan.statistics.matrix()
        noise = np.random.default_rng(1).standard_normal((_PERIOD,) * 3, np.float32)
        low, high = scan.statistics.minimum, scan.statistics.maximum
        self._matrix = np.clip(np.float32(level) + np.float32(deviation) * noise, low, high)

    def _values(self, z: int, y: np.ndarray, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        values = self._matrix[z % _PERIOD, y % _PERIOD, x % _PERIOD]
        return np.rint(values) if dtype.kind in "iu" else values


class DarkOutside(_FilledOutside):
    """With its darkest grey value outside, float32, and nowhere else: so what is measured about the
    scan leaves that out."""

    @property
    def statistics(self) -> GreyStatistics:
        statistics = self.scan.statistics
        return replace(statistics, minimum=float(self._darkest(statistics)))

    def _copy(self, grey: np.ndarray) -> np.ndarray:
        return grey.astype(np.float32)

    def _values(self, z: int, y: np.ndarray, x: np.ndarray, dtype: np.dtype) -> np.float32:
        return self._darkest(self.scan.statistics)

    def _darkest(self, statistics: GreyStatistics) -> np.float32:
        step = max(1.0, 1e-3 * (statistics.maximum - statistics.minimum))
        return np.float32(statistics.minimum - step)


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
