"""The histogram and its movable range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot
from test_viewers_slices import move_mouse
from viewer_samples import statistics_of

from particleseg_app.gui.viewers import HistogramWindow
from particleseg_app.gui.viewers.histogram import rebinned
from particleseg_app.volumes.grey_statistics import GreyStatistics


@pytest.fixture
def statistics() -> GreyStatistics:
    random = np.random.default_rng(1)
    grey = np.concatenate([random.normal(9000, 900, 40000), random.normal(30000, 2500, 30000)])
    return statistics_of(grey.clip(0, 65535).astype(np.uint16))


@pytest.fixture
def histogram(qtbot: QtBot, statistics: GreyStatistics) -> HistogramWindow:
    widget = HistogramWindow()
    qtbot.addWidget(widget)
    widget.resize(420, 220)
    widget.show()
    qtbot.waitExposed(widget)
    widget.set_statistics(statistics)
    return widget


def button(widget: HistogramWindow, text: str) -> QPushButton:
    return next(b for b in widget.findChildren(QPushButton) if b.text() == text)


def test_starts_with_the_range_of_the_scan(
    histogram: HistogramWindow, statistics: GreyStatistics
) -> None:
    assert histogram.window_range == pytest.approx(statistics.display_range())


def test_full_and_auto(
    qtbot: QtBot, histogram: HistogramWindow, statistics: GreyStatistics
) -> None:
    with qtbot.waitSignal(histogram.window_changed) as changed:
        qtbot.mouseClick(button(histogram, "Full"), Qt.MouseButton.LeftButton)
    assert changed.args == [statistics.minimum, statistics.maximum]
    with qtbot.waitSignal(histogram.window_changed) as changed:
        qtbot.mouseClick(button(histogram, "Auto"), Qt.MouseButton.LeftButton)
    assert changed.args == pytest.approx(statistics.display_range())


def test_dragging_a_handle_changes_the_range(qtbot: QtBot, histogram: HistogramWindow) -> None:
    plot = histogram._plot
    low, high = histogram.window_range
    viewbox = plot.getPlotItem().getViewBox()

    def pixel(grey: float) -> QPoint:
        height = viewbox.viewRect().center().y()
        return plot.mapFromScene(viewbox.mapViewToScene(QPointF(grey, height)))

    seen: list[tuple[float, float]] = []
    histogram.window_changed.connect(lambda a, b: seen.append((a, b)))
    target = low + 0.4 * (high - low)
    qtbot.mouseMove(plot.viewport(), pixel(low))
    qtbot.mousePress(plot.viewport(), Qt.MouseButton.LeftButton, pos=pixel(low))
    for share in (0.2, 0.5, 0.8, 1.0):
        qtbot.wait(25)  # pyqtgraph looks at the mouse a hundred times a second
        move_mouse(plot, pixel(low + share * (target - low)), Qt.MouseButton.LeftButton)
    qtbot.mouseRelease(plot.viewport(), Qt.MouseButton.LeftButton, pos=pixel(target))
    assert seen
    assert histogram.window_range[0] == pytest.approx(target, abs=0.03 * (high - low))
    assert histogram.window_range[1] == pytest.approx(high)


def test_typing_a_value(qtbot: QtBot, histogram: HistogramWindow) -> None:
    _, high = histogram.window_range
    box = histogram._low
    box.selectAll()
    qtbot.keyClicks(box, "12000")
    with qtbot.waitSignal(histogram.window_changed) as changed:
        qtbot.keyClick(box, Qt.Key.Key_Return)
    assert changed.args is not None
    assert changed.args[0] == pytest.approx(12000)
    assert changed.args[1] == pytest.approx(high, abs=1)


def test_set_window_does_not_emit(qtbot: QtBot, histogram: HistogramWindow) -> None:
    with qtbot.assertNotEmitted(histogram.window_changed):
        histogram.set_window(10000, 20000)
    assert histogram.window_range == (10000, 20000)


def test_without_a_scan_it_is_disabled(histogram: HistogramWindow) -> None:
    histogram.set_statistics(None)
    assert not histogram.isEnabled()


def test_a_scan_of_one_grey_value_can_be_shown(histogram: HistogramWindow) -> None:
    histogram.set_statistics(statistics_of(np.full(100, 7, np.uint16)))
    low, high = histogram.window_range
    assert low <= 7 < high


def test_floats_can_be_shown(histogram: HistogramWindow) -> None:
    values = np.random.default_rng(0).normal(0.02, 0.005, 5000)
    counts, edges = np.histogram(values, 2000)
    histogram.set_statistics(
        GreyStatistics(values.min(), values.max(), values.mean(), values.std(), counts, edges)
    )
    low, high = histogram.window_range
    assert values.min() <= low < high <= values.max()
    assert histogram._low.value() == pytest.approx(low, abs=1e-4)


@given(st.integers(1, 3000), st.integers(1, 400), st.floats(0.1, 10))
def test_rebinning_loses_nothing_inside(bins: int, most: int, width: float) -> None:
    counts = np.arange(1, bins + 1)
    edges = 5 + width * np.arange(bins + 1)
    new_counts, new_edges = rebinned(counts, edges, edges[0], edges[-1], most)
    assert new_counts.sum() == counts.sum()
    assert new_counts.size <= most + 1
    assert np.all(np.diff(new_edges) > 0)


def test_black_above_white_is_put_back(histogram: HistogramWindow) -> None:
    low, high = histogram.window_range
    histogram._low.setValue(high + 500)
    histogram._typed()
    assert histogram.window_range == pytest.approx((low, high))
    assert histogram._low.value() == pytest.approx(low, abs=1)
