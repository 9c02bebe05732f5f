"""What the left mouse button draws on the slices while mending: markers, a border, brush strokes.

Points are (z, y, x) in voxels of the neighbourhood shown; voxel i reaches from i to i + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PySide6.QtCore import QLineF, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from particleseg_app.gui import theme
from particleseg_app.gui.review.change_lines import ChangeLines, change_lines
from particleseg_app.gui.viewers.label_colours import marker_colour
from particleseg_app.gui.viewers.orthoslices import OrthosliceView
from particleseg_app.gui.viewers.slice_geometry import Point
from particleseg_app.gui.viewers.slice_view import SliceView

Mode = Literal["split", "paint", "erase", "pick"]
MARKER_RADIUS = 6.0
SEEN_FROM = 3  # slices from which a marker is still shown, faintly
DEFAULT_RADIUS = 3.0


@dataclass(frozen=True)
class Stroke:
    """A line drawn on one slice: the slice's axis, and the points in the order drawn."""

    axis: int
    points: tuple[Point, ...]


class DrawingTool(QObject):
    """Takes the left button of an `OrthosliceView` while it has a mode.

    ``split``: a click sets a marker, one for each part; dragging draws the border between them.
    ``paint`` and ``erase``: dragging moves a ball; `painted` follows when the button is let go.
    ``pick``: a click tells `picked` with the point.
    """

    changed = Signal()  # markers or border
    painted = Signal(object)  # Stroke
    picked = Signal(object)  # Point

    def __init__(self, view: OrthosliceView) -> None:
        super().__init__(view)
        self._view = view
        self._mode: Mode | None = None
        self.markers: list[Point] = []
        self.border: Stroke | None = None
        self.radius = DEFAULT_RADIUS
        self._cut_lines: Callable[[int, int], ChangeLines] | None = None
        self._drawing: list[Point] = []
        self._drawn_on: SliceView | None = None
        self._pointer: tuple[SliceView, Point] | None = None
        view.set_tool(self)

    @property
    def mode(self) -> Mode | None:
        return self._mode

    def set_mode(self, mode: Mode | None) -> None:
        """What the left button does from now on; None moves the cross-hair. Drops the drawing."""
        self._mode = mode
        self.clear()

    def clear(self) -> None:
        """Drop markers, border and what is being drawn."""
        had_any = bool(self.markers or self.border)
        self.markers.clear()
        self.border = None
        self._drawing.clear()
        self._drawn_on = None
        self._view.draw_again()
        if had_any:
            self.changed.emit()

    def set_radius(self, radius: float) -> None:
        """Radius of the ball in voxels."""
        self.radius = radius
        self._view.draw_again()

    def set_marker(self, point: Point) -> None:
        """Set a marker that was placed elsewhere, in the 3D view."""
        self.markers.append(point)
        self._view.draw_again()
        self.changed.emit()

    def take_back(self) -> bool:
        """Take the last marker, else the last piece of border back; False when there is none."""
        if self.markers:
            self.markers.pop()
        elif self.border is not None:
            self.border = None
        else:
            return False
        self._view.draw_again()
        self.changed.emit()
        return True

    def show_change(self, before: np.ndarray | None, after: np.ndarray | None) -> None:
        """Draw where labels (z, y, x) of the neighbourhood would change; None: nothing."""
        self._cut_lines = None
        if before is not None and after is not None:
            old, new = before, after

            @lru_cache(maxsize=64)
            def lines(axis: int, index: int) -> ChangeLines:
                return change_lines(np.take(old, index, axis), np.take(new, index, axis))

            self._cut_lines = lines
        self._view.draw_again()

    # --- what a slice view tells its tool --------------------------------------------------------

    @property
    def active(self) -> bool:
        return self._mode is not None

    def pressed(self, view: SliceView, at: Point) -> None:
        self._drawn_on = view
        self._drawing = [at]

    def moved(self, view: SliceView, at: Point) -> None:
        self._pointer = (view, at)
        if self._mode in ("paint", "erase"):
            self._view.draw_again()
        if self._drawn_on is view and self._drawing and self._mode != "pick":
            self._drawing.append(at)

    def released(self, view: SliceView, at: Point, dragged: bool) -> None:
        if self._drawn_on is not view or not self._drawing:
            return
        points, self._drawing, self._drawn_on = tuple(self._drawing), [], None
        stroke = Stroke(view.plane.axis, points if dragged else points[:1])
        if self._mode == "pick":
            self.picked.emit(at)
        elif self._mode in ("paint", "erase"):
            self.painted.emit(stroke)
        elif self._mode == "split":
            if dragged:
                self.border = stroke
            else:
                self.markers.append(at)
            self.changed.emit()

    def cancelled(self) -> bool:
        """Drop what was drawn; False when there was nothing, so that the mode itself may end."""
        drawn = bool(self._drawing or self.markers or self.border)
        self.clear()
        return drawn

    def deleted(self) -> bool:
        return self.take_back()

    # --- painting --------------------------------------------------------------------------------

    def paint(self, view: SliceView, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        axis, here = view.plane.axis, view.position[view.plane.axis]
        if self._cut_lines is not None:
            self._paint_change(view, painter)
        stroke = self.border
        if stroke is not None and stroke.axis == axis and int(stroke.points[0][axis]) == here:
            _draw_line(view, painter, stroke.points, 3.0, QColor(theme.current().measure))
        if self._drawn_on is view and self._drawing:
            self._paint_drawing(view, painter)
        for number, marker in enumerate(self.markers, start=1):
            away = abs(int(marker[axis]) - here)
            if away <= SEEN_FROM:
                _draw_marker(view, painter, marker, number, faint=away > 0)
        if self._mode in ("paint", "erase") and self._pointer is not None:
            self._paint_brush(view, painter, *self._pointer)

    def _paint_brush(
        self, view: SliceView, painter: QPainter, pointed: SliceView, at: Point
    ) -> None:
        """The ball where the mouse is; on the other slices the ring it has there, if any."""
        away = abs(at[view.plane.axis] - view.position[view.plane.axis] - 0.5)
        if pointed is not view and away >= self.radius:
            return
        radius = self.radius if pointed is view else (self.radius**2 - away**2) ** 0.5
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for width, colour in ((3.0, QColor(0, 0, 0, 150)), (1.4, QColor("#ffffff"))):
            painter.setPen(QPen(colour, width))
            painter.drawEllipse(
                view.pixel_at(at), radius * view.camera.zoom, radius * view.camera.zoom
            )

    def _paint_change(self, view: SliceView, painter: QPainter) -> None:
        assert self._cut_lines is not None
        axis = view.plane.axis
        found = self._cut_lines(axis, view.position[axis])
        cut = QPen(QColor(theme.current().measure), 2.2)
        seam = QPen(QColor(theme.current().measure), 1.6, Qt.PenStyle.DotLine)
        for pen, lines in ((cut, found.cuts), (seam, found.seams)):
            painter.setPen(pen)
            painter.drawLines([_line_on(view, line) for line in lines.tolist()])

    def _paint_drawing(self, view: SliceView, painter: QPainter) -> None:
        colour = QColor(theme.current().measure)
        if self._mode == "split":
            _draw_line(view, painter, self._drawing, 3.0, colour)
        elif self._mode in ("paint", "erase"):
            shade = QColor("#ffffff") if self._mode == "paint" else QColor("#000000")
            shade.setAlpha(120)
            _draw_line(view, painter, self._drawing, 2 * self.radius * view.camera.zoom, shade)


def _line_on(view: SliceView, ends: list[int]) -> QLineF:
    """A line given by raw (row, column) of its ends on the slice that a view shows."""
    axis = view.plane.axis
    points = []
    for place in (ends[:2], ends[2:]):
        point = [float(p) + 0.5 for p in view.position]
        first, second = (a for a in range(3) if a != axis)
        point[first], point[second] = place
        points.append(view.pixel_at((point[0], point[1], point[2])))
    return QLineF(*points)


def _draw_line(
    view: SliceView,
    painter: QPainter,
    points: tuple[Point, ...] | list[Point],
    width: float,
    colour: QColor,
) -> None:
    path = QPainterPath(view.pixel_at(points[0]))
    for point in points[1:]:
        path.lineTo(view.pixel_at(point))
    if len(points) == 1:
        path.lineTo(view.pixel_at(points[0]) + QPointF(0.01, 0))
    pen = QPen(colour, width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPath(path)


def _draw_marker(
    view: SliceView, painter: QPainter, marker: Point, number: int, faint: bool
) -> None:
    at = view.pixel_at(marker)
    colour = QColor(*marker_colour(number))
    colour.setAlpha(110 if faint else 255)
    painter.setPen(QPen(QColor(0, 0, 0, 110 if faint else 220), 2.0))
    painter.setBrush(colour)
    painter.drawEllipse(at, MARKER_RADIUS, MARKER_RADIUS)
    if not faint:
        painter.setPen(QColor("#101315"))
        font = painter.font()
        font.setPixelSize(9)
        font.setBold(True)
        painter.setFont(font)
        size = 2 * MARKER_RADIUS
        corner = at - QPointF(MARKER_RADIUS, MARKER_RADIUS)
        painter.drawText(
            int(corner.x()), int(corner.y()), int(size), int(size),
            int(Qt.AlignmentFlag.AlignCenter), f"{number}",
        )  # fmt: skip
