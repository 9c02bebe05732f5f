"""The drawing of a size distribution: cumulative curve over a histogram, sizes on a log axis."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QFont, QResizeEvent
from PySide6.QtWidgets import QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.formats import format_count
from particleseg_app.particles import SizeDistribution
from particleseg_app.units import format_micrometres

MARKS = (("D10", 10.0), ("D50", 50.0), ("P80", 80.0), ("D90", 90.0))
# The histogram's highest bar reaches this share of the height, so that the curve stays in front.
BAR_HEIGHT = 62.0
NAME_HEIGHT = 13.0  # pixels
TOP = 120.0  # room above 100 % for the name of the particle chosen


# Sizes of a decade that get a figure where there is room, the more telling ones first.
LABELLED_STEPS = ((1,), (2, 5), (3,), (1.5,), (4,), (7,))
LABEL_PIXELS = 34.0
CURVE_POINTS = 200


class _SizeAxis(pg.AxisItem):
    """Sizes in µm where the axis holds their base-10 logarithm: 1, 2, 5, 10, 20, 50 …"""

    def tickValues(self, low: float, high: float, size: float) -> list:  # noqa: N802
        decades = range(math.floor(low), math.ceil(high) + 1)
        apart = LABEL_PIXELS * (high - low) / max(size, 1.0)
        labelled: list[float] = []
        for steps in LABELLED_STEPS:
            for value in (d + math.log10(s) for d in decades for s in steps):
                if low <= value <= high and all(abs(value - v) >= apart for v in labelled):
                    labelled.append(value)
        labelled.sort()
        if len(labelled) < 3:
            labelled = _even_ticks(10**low, 10**high)
        minor = [d + math.log10(s) for d in decades for s in range(1, 10)]
        return [(0.5, labelled), (0.1, [v for v in minor if low <= v <= high])]

    def tickStrings(self, values: list, scale: float, spacing: float) -> list[str]:  # noqa: N802
        if spacing < 0.5:
            return [""] * len(values)
        sizes = (10**value for value in values)
        return [f"{v:.6g}" if v < 9999.5 else format_count(round(v)) for v in sizes]


def _even_ticks(low: float, high: float) -> list[float]:
    """Logarithms of about four even sizes, for particles of nearly one size."""
    rough = max(high - low, 1e-9 * high) / 4
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(s * decade for s in (1, 2, 5, 10) if s * decade >= rough)
    first = math.ceil(low / step)
    return [math.log10(n * step) for n in range(first, math.floor(high / step) + 1) if n > 0]


def _curve_of(distribution: SizeDistribution) -> tuple[np.ndarray, np.ndarray]:
    """The cumulative curve, sizes as logarithms and shares in per cent.

    Linear between the particles' sizes, as D10 to D90 are read off it, and so bent where the axis
    is logarithmic; where sizes lie far apart, points in between show that.
    """
    edges, sizes = distribution.bin_edges_um, distribution.diameters_um
    between = np.geomspace(sizes[0], sizes[-1], CURVE_POINTS)[1:-1]
    known = np.unique(np.concatenate([sizes, between]))
    finer = np.interp(known, sizes, distribution.cumulative * 100)
    xs = np.log10(np.concatenate([edges[:1], known, edges[-1:]]))
    return xs, np.concatenate([[0.0], finer, [100.0]])


class _ShareAxis(pg.AxisItem):
    """The histogram's own scale, on the right: `scale` plot units are one per cent."""

    units_per_percent = 1.0

    def tickValues(self, low: float, high: float, size: float) -> list:  # noqa: N802
        top = BAR_HEIGHT / self.units_per_percent
        step = next((s for s in (1, 2, 5, 10, 20, 50) if top / s <= 4), 100)
        values = [n * step * self.units_per_percent for n in range(int(top / step) + 1)]
        return [(step, values)]

    def tickStrings(self, values: list, scale: float, spacing: float) -> list[str]:  # noqa: N802
        return [f"{value / self.units_per_percent:.0f}" for value in values]


class SizePlot(pg.PlotWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        self._size_axis = _SizeAxis("bottom")
        self._share_axis = _ShareAxis("right")
        super().__init__(parent, axisItems={"bottom": self._size_axis, "right": self._share_axis})
        self.setMinimumHeight(170)
        self.setAntialiasing(True)
        self.setFrameShape(pg.PlotWidget.Shape.NoFrame)
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(False, False)
        item.showAxis("right")
        item.getViewBox().setDefaultPadding(0)
        self._bars = pg.BarGraphItem(x0=[], x1=[], height=[])
        self._curve = pg.PlotDataItem(antialias=True)
        self._drops = pg.PlotDataItem(connect="pairs", antialias=True)
        self._points = pg.ScatterPlotItem(size=8)
        self._names = [pg.TextItem(name, anchor=(1.15, 0.9)) for name, _ in MARKS]
        self._particle = pg.InfiniteLine(angle=90)
        self._particle_name = pg.TextItem("", anchor=(0.5, 0))
        self._empty = pg.TextItem("No particles to show", anchor=(0.5, 0.5))
        for part in (
            self._bars, self._drops, self._curve, self._particle, self._points,
            *self._names, self._particle_name, self._empty,
        ):  # fmt: skip
            self.addItem(part, ignoreBounds=True)
        self._distribution: SizeDistribution | None = None
        self.setMouseTracking(True)
        self.scene().sigMouseMoved.connect(self._on_mouse)
        theme.notifier.changed.connect(self._colour)
        self._colour()
        self.set_distribution(None)

    def set_distribution(self, distribution: SizeDistribution | None) -> None:
        self._distribution = distribution
        there = distribution is not None
        for part in (self._bars, self._curve, self._drops, self._points, *self._names):
            part.setVisible(there)
        for side in ("left", "bottom", "right"):
            self.getPlotItem().getAxis(side).setVisible(there)
        self._empty.setVisible(not there)
        self.setToolTip("")
        if distribution is None:
            self.setXRange(0, 1)
            self.setYRange(0, 100)
            self._empty.setPos(0.5, 50)
            return
        edges = np.log10(distribution.bin_edges_um)
        shares = distribution.bin_shares * 100
        self._share_axis.units_per_percent = BAR_HEIGHT / max(1e-9, float(shares.max()))
        self._bars.setOpts(x0=edges[:-1], x1=edges[1:], height=shares * self._per_percent)
        self._curve.setData(*_curve_of(distribution))
        marks = [
            math.log10(value)
            for value in (distribution.d10, distribution.d50, distribution.p80, distribution.d90)
        ]
        heights = [height for _, height in MARKS]
        self._points.setData(marks, heights)
        self._drops.setData(np.repeat(marks, 2), np.column_stack([np.zeros(4), heights]).ravel())
        for name, x, y in zip(self._names, marks, heights, strict=True):
            name.setPos(x, y)
        margin = 0.04 * max(0.1, edges[-1] - edges[0])
        self.setXRange(edges[0] - margin, edges[-1] + margin, padding=0)
        self.setYRange(0, TOP, padding=0)
        self._place_names()

    def mark_particle(self, label: int | None, diameter_um: float | None) -> None:
        """A line at the size of one particle; None takes it away."""
        there = diameter_um is not None and self._distribution is not None
        self._particle.setVisible(there)
        self._particle_name.setVisible(there)
        if diameter_um is not None and self._distribution is not None:
            x = math.log10(diameter_um)
            self._particle.setValue(x)
            low, high = self.getPlotItem().viewRange()[0]
            middle = (x - low) / (high - low) if high > low else 0.5
            # Beside the line, on the side with more room.
            self._particle_name.setAnchor((1.06, 0) if middle > 0.5 else (-0.06, 0))
            self._particle_name.setText(f"Particle {label}: {format_micrometres(diameter_um)}")
            self._particle_name.setPos(x, TOP)

    @property
    def _per_percent(self) -> float:
        return self._share_axis.units_per_percent

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._place_names()

    def _place_names(self) -> None:
        """Leave P80 unnamed where its name would lie on that of D90; the figures stand below."""
        if hasattr(self, "_distribution"):  # Qt resizes the plot while it is being made
            apart = self.getPlotItem().getViewBox().height() * (90 - 80) / TOP
            self._names[2].setVisible(self._distribution is not None and apart >= NAME_HEIGHT)

    def _on_mouse(self, place: QPointF) -> None:
        found = self._distribution
        if found is None:
            return
        point = self.getPlotItem().getViewBox().mapSceneToView(place)
        size = 10 ** min(6.0, max(-6.0, point.x()))
        finer = float(np.interp(size, found.diameters_um, found.cumulative, left=0, right=1))
        of = "of the volume" if found.weighting == "volume" else "of the particles"
        self.setToolTip(f"{100 * finer:.0f} % {of} is finer than {format_micrometres(size)}")

    def _colour(self) -> None:
        colours = theme.current()
        self.setBackground(None)
        self.viewport().setAutoFillBackground(False)
        self.setStyleSheet("background: transparent")
        faint = theme.colour(colours.muted, 0.75)
        accent = theme.colour(colours.accent)
        self._bars.setOpts(
            brush=pg.mkBrush(theme.colour(colours.accent, 0.22)),
            pen=pg.mkPen(theme.colour(colours.panel), width=1),
        )
        self._curve.setPen(pg.mkPen(accent, width=2))
        self._drops.setPen(pg.mkPen(faint, width=1, style=Qt.PenStyle.DotLine))
        self._points.setPen(pg.mkPen(theme.colour(colours.panel), width=2))
        self._points.setBrush(pg.mkBrush(accent))
        self._particle.setPen(pg.mkPen(theme.colour(colours.warning), width=1.5))
        small = QFont(self.font())
        small.setPointSizeF(max(7.0, self.font().pointSizeF() * 0.9))
        for name in self._names:
            name.setColor(theme.colour(colours.text))
            name.setFont(small)
        self._particle_name.setColor(theme.colour(colours.warning))
        self._particle_name.setFont(small)
        self._empty.setColor(theme.colour(colours.muted))
        item = self.getPlotItem()
        for side, text in (
            ("left", "finer than (%)"),
            ("bottom", "equivalent diameter (µm)"),
            ("right", "in size class (%)"),
        ):
            axis = item.getAxis(side)
            axis.setPen(pg.mkPen(theme.colour(colours.border)))
            axis.setTextPen(pg.mkPen(theme.colour(colours.muted)))
            axis.setTickFont(small)
            axis.setStyle(tickLength=4, tickTextOffset=4)
            axis.setLabel(
                text, **{"font-size": f"{small.pointSizeF():.1f}pt", "color": colours.muted}
            )
            axis.enableAutoSIPrefix(False)
        item.getAxis("left").setTicks([[(n, str(n)) for n in (0, 20, 40, 60, 80, 100)]])
