"""The grey values inside particles, coloured by phase, with a line to drag between two phases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.histogram import GreyAxis, Plot
from particleseg_app.gui.viewers.phase_colours import phase_colour
from particleseg_app.particles.interior_histogram import InteriorHistogram


class PhaseHistogram(QWidget):
    """Smoothed histogram; heights are square roots, so that rare phases are seen, too.

    Signal `thresholds_changed` with the grey values between the phases while the user drags a
    line; not when the program sets them.
    """

    thresholds_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._edges = np.array([0.0, 1.0])
        self._heights = np.zeros(1)
        self._fills: list[pg.PlotDataItem] = []
        self._lines: list[pg.InfiniteLine] = []
        self.plot = Plot(enableMenu=False, axisItems={"bottom": GreyAxis("bottom")})
        self.plot.setMouseEnabled(False, False)
        self.plot.hideButtons()
        self.plot.hideAxis("left")
        self.plot.setMinimumHeight(150)
        self.plot.setAccessibleName("Histogram of the grey values inside particles")
        self.plot.setToolTip(
            "Grey values inside particles; heights are square roots, so that rare phases show"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        theme.notifier.changed.connect(self._take_colours)
        self._take_colours()
        self.set_histogram(None)

    @property
    def thresholds(self) -> tuple[float, ...]:
        return tuple(float(line.value()) for line in self._lines)

    @property
    def lines(self) -> list[pg.InfiniteLine]:
        """The lines between the phases, darkest first."""
        return self._lines

    def set_histogram(self, histogram: InteriorHistogram | None) -> None:
        """Show the grey values inside the particles of a run, or nothing."""
        if histogram is None:
            self._edges, self._heights = np.array([0.0, 1.0]), np.zeros(1)
        else:
            self._edges, self._heights = histogram.edges, np.sqrt(histogram.smoothed())
        self.plot.getAxis("bottom").setStyle(showValues=histogram is not None)
        low, high = float(self._edges[0]), float(self._edges[-1])
        self.plot.setXRange(low, high, padding=0.02)
        self.plot.setYRange(0, 1.08 * max(1.0, float(self._heights.max())), padding=0)
        self._draw_fills()

    def set_thresholds(self, thresholds: Sequence[float]) -> None:
        """Show these limits between phases; nothing is emitted."""
        while len(self._lines) > len(thresholds):
            self.plot.removeItem(self._lines.pop())
        while len(self._lines) < len(thresholds):
            line = pg.InfiniteLine(angle=90, movable=True)
            line.setCursor(Qt.CursorShape.SizeHorCursor)
            line.setZValue(10)
            line.sigPositionChanged.connect(self._dragged)
            self.plot.addItem(line)
            self._lines.append(line)
        for line, value in zip(self._lines, thresholds, strict=True):
            with QSignalBlocker(line):
                line.setBounds((None, None))
                line.setValue(value)
        self._set_bounds()
        self._take_colours()
        self._draw_fills()

    def _dragged(self) -> None:
        self._set_bounds()
        self._draw_fills()
        self.thresholds_changed.emit(self.thresholds)

    def _set_bounds(self) -> None:
        """No line passes the one beside it."""
        least = float(self._edges[1] - self._edges[0])
        limits = [float(self._edges[0]), *self.thresholds, float(self._edges[-1])]
        for place, line in enumerate(self._lines):
            low, high = limits[place] + least, limits[place + 2] - least
            with QSignalBlocker(line):  # a value typed beyond the plot stays
                line.setBounds((min(low, line.value()), max(high, line.value())))

    def _draw_fills(self) -> None:
        while len(self._fills) > len(self._lines) + 1:
            self.plot.removeItem(self._fills.pop())
        while len(self._fills) < len(self._lines) + 1:
            fill = pg.PlotDataItem(fillLevel=0)
            self.plot.addItem(fill)
            self._fills.append(fill)
        centres = (self._edges[:-1] + self._edges[1:]) / 2
        limits = [-np.inf, *self.thresholds, np.inf]
        for number, fill in enumerate(self._fills):
            low, high = limits[number], limits[number + 1]
            inside = (centres > low) & (centres <= high)
            # From line to line, so that no gap is left beside them.
            ends = [end for end in (low, high) if self._edges[0] < end < self._edges[-1]]
            x = np.sort(np.concatenate([centres[inside], ends]))
            fill.setData(x, np.interp(x, centres, self._heights))
            colour = QColor(*phase_colour(number))
            fill.setPen(pg.mkPen(QColor(theme.current().muted), width=1))
            colour.setAlphaF(0.85)
            fill.setBrush(colour)

    def _take_colours(self) -> None:
        colours = theme.current()
        self.plot.setBackground(None)
        axis = self.plot.getAxis("bottom")
        axis.setPen(QColor(colours.border))
        axis.setTextPen(QColor(colours.muted))
        axis.setLabel("grey value", color=colours.muted)
        axis.setStyle(tickLength=-4, maxTickLevel=0)
        for line in self._lines:
            line.setPen(pg.mkPen(QColor(colours.text), width=2))
            line.setHoverPen(pg.mkPen(QColor(colours.accent), width=4))
        self._draw_fills()
