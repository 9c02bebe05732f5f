"""Where the three slice views look: one shared centre and zoom, and which axes each view shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from particleseg_app.units import Shape

AXIS_NAMES = ("z", "y", "x")
MIN_PIXELS_ACROSS = 40.0
MAX_ZOOM = 64.0

Point = tuple[float, float, float]  # z, y, x in voxels; voxel i reaches from i to i + 1


@dataclass(frozen=True)
class Plane:
    """One kind of slice: cut across `axis`, with `row_axis` down and `column_axis` to the right.

    The yz slice is shown with y down, so that it sits beside the xy slice with the same rows.
    """

    name: str
    axis: int
    row_axis: int
    column_axis: int

    @property
    def transposed(self) -> bool:
        """Whether rows of the raw slice are columns on the screen."""
        return self.row_axis > self.column_axis


XY = Plane("xy", 0, 1, 2)
XZ = Plane("xz", 1, 0, 2)
YZ = Plane("yz", 2, 1, 0)
PLANES = (XY, XZ, YZ)


class SliceCamera(QObject):
    """The shared centre (z, y, x) in voxels and zoom in screen pixels per voxel."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.shape: Shape = (1, 1, 1)
        self.centre: tuple[float, float, float] = (0.5, 0.5, 0.5)
        self.zoom = 1.0
        self.fits_view = True  # follows the size of the window until the user zooms or pans

    def fit(self, shape: Shape, view_sizes: dict[Plane, tuple[int, int]]) -> None:
        """Show the whole of a volume of `shape` in views of these (width, height) in pixels."""
        self.shape = shape
        self.centre = (shape[0] / 2, shape[1] / 2, shape[2] / 2)
        self.zoom = self.fitting_zoom(view_sizes)
        self.fits_view = True
        self.changed.emit()

    def fitting_zoom(self, view_sizes: dict[Plane, tuple[int, int]]) -> float:
        zooms = [
            min(width / self.shape[plane.column_axis], height / self.shape[plane.row_axis])
            for plane, (width, height) in view_sizes.items()
            if width > 1 and height > 1
        ]
        return min(MAX_ZOOM, 0.94 * min(zooms)) if zooms else 1.0

    def move(self, row_axis: int, rows: float, column_axis: int, columns: float) -> None:
        """Shift the centre by voxels; it stays inside the volume."""
        centre = list(self.centre)
        centre[row_axis] += rows
        centre[column_axis] += columns
        self._set_centre(centre)
        self.fits_view = False
        self.changed.emit()

    def look_at(self, centre: tuple[float, float, float], zoom: float | None = None) -> None:
        """Put a point (z, y, x) in the middle of every view."""
        self._set_centre(list(centre))
        if zoom is not None:
            self.zoom = self._possible(zoom)
        self.fits_view = False
        self.changed.emit()

    def zoom_about(self, factor: float, fixed: tuple[float, float, float]) -> None:
        """Zoom by a factor while the point `fixed` (z, y, x) stays where it is on the screen."""
        zoom = self._possible(self.zoom * factor)
        share = self.zoom / zoom
        self._set_centre([f + (c - f) * share for c, f in zip(self.centre, fixed, strict=True)])
        self.zoom = zoom
        self.fits_view = False
        self.changed.emit()

    def _possible(self, zoom: float) -> float:
        smallest = MIN_PIXELS_ACROSS / max(self.shape)
        return min(MAX_ZOOM, max(min(smallest, 1.0), zoom))

    def _set_centre(self, centre: list[float]) -> None:
        z, y, x = (min(float(n), max(0.0, c)) for c, n in zip(centre, self.shape, strict=True))
        self.centre = (z, y, x)


def round_length(longest: float) -> float:
    """The longest of 1, 2, 5 × 10ⁿ that is not above `longest`."""
    if not (math.isfinite(longest) and longest > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(longest) + 1e-9)
    for step in (5, 2):
        if step * power <= longest * (1 + 1e-9):
            return step * power
    return power


def length_text(length: float, voxel_size_um: float | None) -> str:
    """A round length for people: µm, mm from 1000 µm, or voxels where the size is unknown.

    `length` is in µm, or in voxels without a voxel size.
    """
    if voxel_size_um is None:
        return f"{length:g} voxel" + ("" if length == 1 else "s")
    if length >= 1000:
        return f"{length / 1000:g} mm"
    return f"{length:g} µm"
