"""The grey values of a scan, and which of them are shown black and white."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QColor, QWheelEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.formats import format_count
from particleseg_app.gui.number_field import GreyBox
from particleseg_app.volumes.grey_statistics import GreyStatistics

MOST_BINS = 320


class GreyAxis(pg.AxisItem):
    """Grey values with thin spaces between thousands."""

    def tickStrings(self, values: list, scale: float, spacing: float) -> list[str]:  # noqa: N802
        if spacing >= 1:
            return [format_count(round(value)) for value in values]
        return [f"{value:g}" for value in values]


class Plot(pg.PlotWidget):
    """A plot that is only looked at: the wheel belongs to whatever it lies in."""

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        event.ignore()


class HistogramWindow(QWidget):
    """Histogram (logarithmic counts) with a movable range of shown grey values.

    Signal `window_changed` with the grey values shown black and white, while the user drags,
    types or presses a button; not when the program sets them.
    """

    window_changed = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._statistics: GreyStatistics | None = None
        self._plot = Plot(
            enableMenu=False, axisItems={"bottom": GreyAxis("bottom")}, background=None
        )
        self._plot.setMouseEnabled(False, False)
        self._plot.hideButtons()
        self._plot.hideAxis("left")
        self._plot.setMinimumHeight(70)
        self._plot.setMaximumHeight(200)
        self._plot.setAccessibleName("Histogram of the grey values")
        self._curve = self._plot.plot([0, 1], [0], stepMode="center", fillLevel=0)
        self._region = pg.LinearRegionItem(swapMode="block")
        self._plot.addItem(self._region)
        self._region.sigRegionChanged.connect(self._dragged)
        self._low, self._high = GreyBox("Black at"), GreyBox("White at")
        for box in (self._low, self._high):
            box.setMinimumWidth(64)
        self._low.valueChanged.connect(self._typed)
        self._high.valueChanged.connect(self._typed)
        self._auto, self._full = QPushButton("Auto"), QPushButton("Full")
        self._auto.setToolTip("Show the grey values that nearly all voxels have")
        self._full.setToolTip("Show every grey value of the scan")
        self._auto.clicked.connect(self.show_auto)
        self._full.clicked.connect(self.show_full)
        row = QGridLayout()
        row.setHorizontalSpacing(theme.SPACING // 2)
        row.setVerticalSpacing(1)
        for column, (text, box) in enumerate((("Black", self._low), ("White", self._high))):
            caption = QLabel(text)
            caption.setProperty("role", "muted")
            caption.setBuddy(box)
            row.addWidget(caption, 0, column)
            row.addWidget(box, 1, column)
            row.setColumnStretch(column, 1)
        for column, button in enumerate((self._auto, self._full), start=2):
            button.setStyleSheet("padding-left: 9px; padding-right: 9px;")
            row.addWidget(button, 1, column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.SPACING // 2)
        layout.addWidget(self._plot, 1)
        layout.addLayout(row)
        theme.notifier.changed.connect(self._take_colours)
        self._take_colours()
        self.set_statistics(None)

    @property
    def window_range(self) -> tuple[float, float]:
        """Grey values shown black and white."""
        low, high = self._region.getRegion()
        return float(low), float(high)

    def set_statistics(self, statistics: GreyStatistics | None) -> None:
        """Show the histogram of a scan, with the range to show first; None shows nothing."""
        self._statistics = statistics
        self.setEnabled(statistics is not None)
        self._region.setVisible(statistics is not None)
        if statistics is None:
            self._curve.setData([0, 1], [0])
            return
        span = statistics.maximum - statistics.minimum
        whole = bool(np.all(statistics.histogram_edges == np.round(statistics.histogram_edges)))
        decimals = 0 if whole and span > 3 else max(0, 3 - int(np.floor(np.log10(span or 1.0))))
        for box in (self._low, self._high):
            with QSignalBlocker(box):
                box.setDecimals(decimals)
                box.setRange(statistics.minimum - span, statistics.maximum + span)
                box.setSingleStep(max(span / 200, 10**-decimals))
        self.set_window(*statistics.display_range())

    def set_window(self, low: float, high: float) -> None:
        """Show a range of grey values; nothing is emitted."""
        self._show(low, high, emit=False, look_again=True)

    def show_auto(self) -> None:
        if self._statistics is not None:
            self._show(*self._statistics.display_range(), emit=True, look_again=True)

    def show_full(self) -> None:
        if self._statistics is not None:
            low, high = self._statistics.minimum, self._statistics.maximum
            self._show(low, max(high, low + 1e-9), emit=True, look_again=True)

    def _show(self, low: float, high: float, *, emit: bool, look_again: bool) -> None:
        with QSignalBlocker(self._region):
            if look_again:  # the old limits would cut a range of another scan
                self._region.setBounds((None, None))
            self._region.setRegion((low, high))
        for line in self._region.lines:
            line.update()
        with QSignalBlocker(self._low), QSignalBlocker(self._high):
            self._low.setValue(low)
            self._high.setValue(high)
        if look_again:
            self._draw_curve(low, high)
        if emit:
            self.window_changed.emit(float(low), float(high))

    def _dragged(self) -> None:
        low, high = self.window_range
        if self._statistics is None or high <= low:
            return
        self._show(low, high, emit=True, look_again=False)

    def _typed(self) -> None:
        low, high = self._low.value(), self._high.value()
        if high <= low:
            low, high = self.window_range  # as it was
        self._show(low, high, emit=True, look_again=True)

    def _draw_curve(self, low: float, high: float) -> None:
        """Draw the part of the histogram that holds nearly everything and the range shown."""
        assert self._statistics is not None
        statistics = self._statistics
        first = min(low, statistics.percentile(0.05))
        last = max(high, statistics.percentile(99.95))
        margin = 0.06 * max(last - first, 1e-9)
        first, last = first - margin, last + margin
        counts, edges = rebinned(
            statistics.histogram_counts, statistics.histogram_edges, first, last, MOST_BINS
        )
        heights = np.log10(1.0 + counts)
        self._curve.setData(edges, heights)
        self._plot.setXRange(first, last, padding=0)
        self._plot.setYRange(0, 1.08 * max(1.0, float(heights.max(initial=0))), padding=0)
        self._region.setBounds((first, last))

    def _take_colours(self) -> None:
        colours = theme.current()
        self._plot.setBackground(None)
        self._curve.setPen(pg.mkPen(theme.colour(colours.muted, 0.9), width=1))
        self._curve.setBrush(theme.colour(colours.muted, 0.35))
        axis = self._plot.getAxis("bottom")
        axis.setPen(QColor(colours.border))
        axis.setTextPen(QColor(colours.muted))
        axis.setStyle(tickLength=-4, maxTickLevel=0)
        self._region.setBrush(theme.colour(colours.accent, 0.13))
        self._region.setHoverBrush(theme.colour(colours.accent, 0.2))
        for line in self._region.lines:
            line.setPen(pg.mkPen(QColor(colours.accent), width=2))
            line.setHoverPen(pg.mkPen(QColor(colours.text), width=3))
            line.setCursor(Qt.CursorShape.SizeHorCursor)


def rebinned(
    counts: np.ndarray, edges: np.ndarray, low: float, high: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """A histogram with at most `most` bins from `low` to `high`; whole bins stay together.

    Returns counts (n) and edges (n + 1). Bins of the source are never split, so that grey
    levels that are rarer than the new bins do not make a comb.
    """
    width = float(edges[1] - edges[0]) if edges.size > 1 else 1.0
    per_bin = max(1, int(np.ceil((high - low) / width / most)))
    first = int(np.floor((low - edges[0]) / width))
    bins = max(1, int(np.ceil((high - low) / width / per_bin)))
    new_edges = float(edges[0]) + width * (first + per_bin * np.arange(bins + 1))
    centres = (edges[:-1] + edges[1:]) / 2
    new_counts, _ = np.histogram(centres, bins=new_edges, weights=counts)
    return new_counts, new_edges
