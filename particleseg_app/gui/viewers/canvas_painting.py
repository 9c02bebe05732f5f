"""What is drawn over a slice: cross-hair, scale bar, axes and remarks, in screen pixels."""

from __future__ import annotations

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPen

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.slice_geometry import (
    AXIS_NAMES,
    Plane,
    length_text,
    round_length,
)

EDGE = 12.0
CROSS_GAP = 9.0


def small_font(painter: QPainter, bold: bool = False) -> QFont:
    font = QFont(painter.font())
    font.setPointSizeF(max(8.0, font.pointSizeF() * 0.92))
    font.setBold(bold)
    return font


def draw_cross(painter: QPainter, size: tuple[int, int], at: QPointF, plane: Plane) -> None:
    """Lines where the two other slices cut this one, each in the colour of that slice's axis."""
    width, height = size
    axes = theme.current().axes
    x, y = round(at.x()) + 0.5, round(at.y()) + 0.5
    for colour, before, after in (
        (
            axes[plane.column_axis],
            QLineF(x, 0, x, y - CROSS_GAP),
            QLineF(x, y + CROSS_GAP, x, height),
        ),
        (
            axes[plane.row_axis],
            QLineF(0, y, x - CROSS_GAP, y),
            QLineF(x + CROSS_GAP, y, width, y),
        ),
    ):
        painter.setPen(QPen(theme.colour(colour, 0.8), 1))
        painter.drawLines([before, after])


def draw_scale_bar(
    painter: QPainter, size: tuple[int, int], zoom: float, voxel_size_um: float | None
) -> None:
    """A bar of a round length at the lower left; `zoom` is in screen pixels per voxel."""
    width, height = size
    unit = voxel_size_um or 1.0
    longest = min(180.0, 0.3 * width) / zoom * unit
    length = round_length(longest)
    pixels = length / unit * zoom
    if width < 120 or height < 60:
        return
    text = length_text(length, voxel_size_um)
    painter.setFont(small_font(painter))
    text_width = painter.fontMetrics().horizontalAdvance(text)
    text_height = painter.fontMetrics().height()
    box = QRectF(
        EDGE - 6,
        height - EDGE - text_height - 10,
        max(pixels, text_width) + 14,
        text_height + 16,
    )
    _shade(painter, box)
    left, bottom = box.left() + 7, box.bottom() - 7
    painter.setPen(QPen(QColor(theme.current().canvas_text), 2))
    painter.drawLines(
        [
            QLineF(left, bottom, left + pixels, bottom),
            QLineF(left, bottom - 4, left, bottom),
            QLineF(left + pixels, bottom - 4, left + pixels, bottom),
        ]
    )
    middle = left + pixels / 2
    text_left = max(left, middle - text_width / 2)
    painter.drawText(QPointF(text_left, bottom - 7), text)


def draw_axes(painter: QPainter, plane: Plane) -> None:
    """Small arrows at the upper left that name the two axes of the slice."""
    colours = theme.current().axes
    painter.setFont(small_font(painter))
    left, top, length = EDGE, EDGE, 20.0
    metrics = painter.fontMetrics()
    _shade(painter, QRectF(left - 6, top - 6, length + 24, length + 26))
    for axis, end, text_at in (
        (plane.column_axis, QPointF(left + length, top), QPointF(left + length + 5, top + 4)),
        (
            plane.row_axis,
            QPointF(left, top + length),
            QPointF(left - 3, top + length + metrics.ascent() + 1),
        ),
    ):
        painter.setPen(QPen(theme.colour(colours[axis], 0.95), 1.6))
        painter.drawLine(QPointF(left, top), end)
        back = QPointF(left, top) - end
        back /= length
        side = QPointF(-back.y(), back.x())
        painter.drawLine(end, end + back * 4 + side * 3)
        painter.drawLine(end, end + back * 4 - side * 3)
        painter.drawText(text_at, AXIS_NAMES[axis])


def draw_remark(painter: QPainter, size: tuple[int, int], text: str) -> None:
    """A quiet remark in the middle of an empty or waiting view."""
    painter.setPen(QColor(theme.current().canvas_muted))
    area = QRectF(EDGE, EDGE, size[0] - 2 * EDGE, size[1] - 2 * EDGE)
    flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
    painter.drawText(area, flags, text)


def draw_tag(painter: QPainter, at: QPointF, text: str, size: tuple[int, int]) -> QRectF:
    """A small text with a dark ground near a point, kept inside the view; returns its place."""
    painter.setFont(small_font(painter, bold=True))
    metrics = painter.fontMetrics()
    width, height = metrics.horizontalAdvance(text) + 10, metrics.height() + 4
    left = min(max(2.0, at.x()), max(2.0, size[0] - width - 2))
    top = min(max(2.0, at.y()), max(2.0, size[1] - height - 2))
    box = QRectF(left, top, width, height)
    _shade(painter, box, 0.72)
    painter.setPen(QColor(theme.current().measure))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
    return box


def _shade(painter: QPainter, box: QRectF, opacity: float = 0.45) -> None:
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.colour(theme.current().canvas_shade, opacity))
    painter.drawRoundedRect(box, 4, 4)
    painter.restore()
