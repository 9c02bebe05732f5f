"""A quiet picture of a scan's grey-value histogram, with an optional threshold on it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.formats import format_count
from particleseg_app.volumes import GreyStatistics

AXIS_HEIGHT = 20
BINS = 160


class GreyHistogram(QWidget):
    """The histogram between the rare extremes; heights as square roots, to show small peaks."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heights = np.zeros(0)
        self._low, self._high = 0.0, 1.0
        self._threshold: float | None = None
        self.setMinimumHeight(90)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Histogram of the grey values")
        theme.notifier.changed.connect(self.update)

    def set_statistics(self, statistics: GreyStatistics) -> None:
        low, high = statistics.display_range()
        margin = 0.12 * (high - low)
        self._low = max(statistics.minimum, low - margin)
        self._high = min(statistics.maximum, high + margin)
        if self._high <= self._low:
            self._high = self._low + 1
        edges = statistics.histogram_edges.astype(np.float64)
        sums = np.concatenate([[0], np.cumsum(statistics.histogram_counts, dtype=np.float64)])
        # No more bins than there are grey values, or the picture would be a comb.
        inside = np.count_nonzero((edges >= self._low) & (edges <= self._high))
        places = np.linspace(self._low, self._high, int(np.clip(inside, 2, BINS)))
        counts = np.diff(np.interp(places, edges, sums))
        heights = np.sqrt(counts)
        inner = heights[1:-1] if len(heights) > 4 else heights
        self._heights = np.clip(heights / max(1e-12, float(inner.max())), 0, 1)
        self.update()

    def set_threshold(self, threshold: float | None) -> None:
        self._threshold = threshold
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0, 4, 0, -AXIS_HEIGHT)
        if len(self._heights):
            step = area.width() / len(self._heights)
            points = [area.bottomLeft()]
            for number, height in enumerate(self._heights):
                y = area.bottom() - height * area.height()
                points.append(QPointF(area.left() + (number + 0.5) * step, y))
            points.append(area.bottomRight())
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour(colours.accent, 0.35))
            painter.drawPolygon(QPolygonF(points))
        painter.setPen(QPen(theme.colour(colours.border), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        self._paint_axis(painter, area)
        if self._threshold is not None:
            share = (self._threshold - self._low) / (self._high - self._low)
            x = area.left() + min(1.0, max(0.0, share)) * area.width()
            painter.setPen(QPen(theme.colour(colours.warning), 2))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.end()

    def _paint_axis(self, painter: QPainter, area: QRectF) -> None:
        painter.setPen(theme.colour(theme.current().muted))
        below = QRectF(area.left(), area.bottom() + 3, area.width(), AXIS_HEIGHT - 3)
        flags = Qt.AlignmentFlag
        painter.drawText(below, flags.AlignLeft, _end_text(self._low))
        painter.drawText(below, flags.AlignRight, _end_text(self._high))
        painter.drawText(below, flags.AlignHCenter, "grey value")


def _end_text(value: float) -> str:
    """An end of the axis; grey values are counts as a rule, and their fractions say nothing."""
    return format_count(round(value)) if abs(value) >= 100 else f"{value:.4g}"
