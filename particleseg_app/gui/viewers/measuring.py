"""Measuring particles on the slices: a line across one, or a circle around one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.canvas_painting import draw_tag
from particleseg_app.gui.viewers.orthoslices import OrthosliceView
from particleseg_app.gui.viewers.slice_geometry import Point
from particleseg_app.gui.viewers.slice_view import SliceView
from particleseg_app.units import format_micrometres, format_number

Kind = Literal["line", "circle"]
SMALLEST_VOXELS = 1.0
NEAR_PIXELS = 5.0


@dataclass(frozen=True)
class Measurement:
    """One measured particle: where (points (z, y, x) in voxels on one slice) and how wide."""

    kind: Kind
    axis: int
    index: int
    first: Point  # ends of the line, or of a diameter of the circle
    second: Point

    @property
    def diameter_voxels(self) -> float:
        return math.dist(self.first, self.second)

    @property
    def centre(self) -> Point:
        z, y, x = ((a + b) / 2 for a, b in zip(self.first, self.second, strict=True))
        return z, y, x


class MeasuringTool(QObject):
    """Draws and keeps measurements on an `OrthosliceView`.

    With `set_kind` the left button measures instead of moving the cross-hair: drag along a
    particle's diameter, or, for a circle, click three points on its edge. Delete takes the last
    measurement back, Escape the one being drawn.
    Signals: `measured` with the diameter in voxels of a new measurement, `changed` after any
    change of `measurements`.
    """

    measured = Signal(float)
    changed = Signal()
    kind_changed = Signal()

    def __init__(self, view: OrthosliceView) -> None:
        super().__init__(view)
        self._view = view
        self._kind: Kind | None = None
        self._measurements: list[Measurement] = []
        self._start: Point | None = None
        self._pointer: Point | None = None
        self._points: list[Point] = []
        self._drawn_on: tuple[int, int] | None = None
        self._emphasised: int | None = None
        view.set_tool(self)
        view.voxel_size_changed.connect(self._view.draw_again)

    @property
    def kind(self) -> Kind | None:
        """What the left button draws, or None when it moves the cross-hair."""
        return self._kind

    def set_kind(self, kind: Kind | None) -> None:
        if kind != self._kind:
            self._kind = kind
            self._forget_drawing()
            self.kind_changed.emit()

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(self._measurements)

    @property
    def mean_diameter_voxels(self) -> float | None:
        """Mean of all measurements, None without any."""
        diameters = [m.diameter_voxels for m in self._measurements]
        return sum(diameters) / len(diameters) if diameters else None

    @property
    def mean_diameter_text(self) -> str:
        """The mean for people, empty without measurements."""
        mean = self.mean_diameter_voxels
        return "" if mean is None else self._length_text(mean)

    @property
    def view(self) -> OrthosliceView:
        return self._view

    def add(self, measurement: Measurement) -> None:
        self._measurements.append(measurement)
        self._view.draw_again()
        self.changed.emit()
        self.measured.emit(measurement.diameter_voxels)

    def remove(self, place: int) -> None:
        """Remove the measurement at `place` in `measurements`."""
        del self._measurements[place]
        self._emphasised = None
        self._view.draw_again()
        self.changed.emit()

    def clear(self) -> None:
        self._forget_drawing()
        if self._measurements:
            self._measurements.clear()
            self._emphasised = None
            self.changed.emit()
        self._view.draw_again()

    def show_measurement(self, place: int) -> None:
        """Go to the slice and place of a measurement."""
        z, y, x = self._measurements[place].centre
        self._view.go_to(math.floor(z), math.floor(y), math.floor(x))
        self.emphasise(place)

    def emphasise(self, place: int | None) -> None:
        self._emphasised = place
        self._view.draw_again()

    def text_of(self, measurement: Measurement) -> str:
        """The length for people: in µm, or in voxels where the voxel size is unknown."""
        return self._length_text(measurement.diameter_voxels)

    def _length_text(self, voxels: float) -> str:
        size = self._view.voxel_size_um
        return (
            f"{format_number(voxels)} voxels" if size is None else format_micrometres(voxels * size)
        )

    # --- what a slice view tells its tool --------------------------------------------------------

    @property
    def active(self) -> bool:
        return self._kind is not None

    def pressed(self, view: SliceView, at: Point) -> None:
        if self._drawn_on != _slice_of(view):
            self._forget_drawing()
            self._drawn_on = _slice_of(view)
        self._start = self._pointer = at

    def moved(self, view: SliceView, at: Point) -> None:
        if self._drawn_on == _slice_of(view):
            self._pointer = at

    def released(self, view: SliceView, at: Point, dragged: bool) -> None:
        if self._start is None or self._drawn_on != _slice_of(view):
            return
        first, self._start = self._start, None
        if dragged:
            self._points.clear()
            self._finish(view, first, at)
        elif self._kind == "circle":
            self._points.append(at)
            if len(self._points) == 3:
                ends = circle_through(view, self._points)
                self._points.clear()
                if ends is not None:
                    self._finish(view, *ends)

    def cancelled(self) -> bool:
        """Drop what is being drawn; False when there was nothing."""
        drawing = self._start is not None or bool(self._points)
        self._forget_drawing()
        return drawing

    def deleted(self) -> bool:
        """Take the last measurement back; False when there is none."""
        if self._measurements:
            self.remove(len(self._measurements) - 1)
            return True
        return False

    def _finish(self, view: SliceView, first: Point, second: Point) -> None:
        axis, index = _slice_of(view)
        assert self._kind is not None
        measurement = Measurement(self._kind, axis, index, first, second)
        if measurement.diameter_voxels >= SMALLEST_VOXELS:
            self.add(measurement)

    def _forget_drawing(self) -> None:
        self._start = self._pointer = None
        self._points.clear()
        self._drawn_on = None
        self._view.draw_again()

    # --- painting --------------------------------------------------------------------------------

    def paint(self, view: SliceView, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        here = _slice_of(view)
        for place, measurement in enumerate(self._measurements):
            if (measurement.axis, measurement.index) == here:
                strong = place == self._emphasised
                self._paint_one(view, painter, measurement, f"{place + 1}", strong)
        if self._drawn_on == here and self._kind is not None and self._pointer is not None:
            self._paint_drawing(view, painter)

    def _paint_drawing(self, view: SliceView, painter: QPainter) -> None:
        assert self._kind is not None and self._pointer is not None
        points = self._points
        if self._start is not None and self._start != self._pointer and not points:
            drawn = Measurement(self._kind, *_slice_of(view), self._start, self._pointer)
            self._paint_one(view, painter, drawn, "", True)
        elif len(points) == 2:
            ends = circle_through(view, [*points, self._pointer])
            if ends is not None:
                drawn = Measurement("circle", *_slice_of(view), *ends)
                self._paint_one(view, painter, drawn, "", True)
        _set_pen(painter, 2)
        for point in points:
            painter.drawEllipse(view.pixel_at(point), 3, 3)

    def _paint_one(
        self, view: SliceView, painter: QPainter, drawn: Measurement, number: str, strong: bool
    ) -> None:
        first, second = view.pixel_at(drawn.first), view.pixel_at(drawn.second)
        middle = (first + second) / 2
        radius = math.hypot(second.x() - first.x(), second.y() - first.y()) / 2
        for width, dark in ((5.0 if strong else 3.5, True), (2.4 if strong else 1.6, False)):
            _set_pen(painter, width, dark)
            if drawn.kind == "circle":
                painter.drawEllipse(middle, radius, radius)
            else:
                painter.drawLine(first, second)
                for end, other in ((first, second), (second, first)):
                    painter.drawLine(*_end_mark(end, other))
        text = self.text_of(drawn)
        at = QPointF(max(first.x(), second.x()) + 8, min(first.y(), second.y()) - 10)
        if drawn.kind == "circle":
            at = middle + QPointF(0.72 * radius + 5, -0.72 * radius - 14)
        size = (view.viewport().width(), view.viewport().height())
        if QRectF(-radius, -radius, size[0] + 2 * radius, size[1] + 2 * radius).contains(middle):
            draw_tag(painter, at, f"{number} · {text}" if number else text, size)


def _slice_of(view: SliceView) -> tuple[int, int]:
    return view.plane.axis, view.position[view.plane.axis]


def _set_pen(painter: QPainter, width: float, dark: bool = False) -> None:
    colour = QColor(0, 0, 0, 150) if dark else QColor(theme.current().measure)
    pen = QPen(colour, width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def _end_mark(end: QPointF, other: QPointF) -> tuple[QPointF, QPointF]:
    """A short stroke across the line at one of its ends."""
    along = other - end
    length = max(1e-6, math.hypot(along.x(), along.y()))
    across = QPointF(-along.y(), along.x()) * (NEAR_PIXELS / length)
    return end - across, end + across


def circle_through(view: SliceView, points: list[Point]) -> tuple[Point, Point] | None:
    """Ends of a diameter of the circle through three points of a slice.

    None when they lie on a line, or so nearly that the circle would be larger than the scan.
    """
    row, column = view.plane.row_axis, view.plane.column_axis
    (ax, ay), (bx, by), (cx, cy) = ((p[column], p[row]) for p in points)
    twice_area = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
    if abs(twice_area) < 1e-9:
        return None
    a, b, c = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
    x = (a * (by - cy) + b * (cy - ay) + c * (ay - by)) / twice_area
    y = (a * (cx - bx) + b * (ax - cx) + c * (bx - ax)) / twice_area
    radius = math.hypot(ax - x, ay - y)
    if 2 * radius > max(view.camera.shape):
        return None
    ends = []
    for side in (-radius, radius):
        point = list(points[0])
        point[row], point[column] = y, x + side
        ends.append((point[0], point[1], point[2]))
    return ends[0], ends[1]
