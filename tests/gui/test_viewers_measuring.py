"""Measuring particles with lines and circles on the slices."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton, QToolButton
from pytestqt.qtbot import QtBot
from test_viewers_slices import move_mouse, place_of, turn_wheel, wait_for_pictures
from viewer_samples import MemoryScan

from particleseg_app.gui.viewers import (
    Measurement,
    MeasuringPanel,
    MeasuringTool,
    OrthosliceView,
)
from particleseg_app.gui.viewers.slice_view import SliceView


@pytest.fixture
def view(qtbot: QtBot) -> Iterator[OrthosliceView]:
    widget = OrthosliceView()
    qtbot.addWidget(widget)
    widget.resize(900, 700)
    widget.show()
    qtbot.waitExposed(widget)
    values = np.random.default_rng(0).integers(0, 999, (30, 40, 50)).astype(np.uint16)
    widget.set_scan(MemoryScan(values), 10.0)
    wait_for_pictures(qtbot, widget)
    yield widget
    widget.stop()


@pytest.fixture
def tool(view: OrthosliceView) -> MeasuringTool:
    return MeasuringTool(view)


def drag(qtbot: QtBot, view: SliceView, start: tuple, end: tuple) -> None:
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=place_of(view, *start))
    move_mouse(view, place_of(view, *end), Qt.MouseButton.LeftButton)
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=place_of(view, *end))


def test_a_line_gives_its_length(qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool) -> None:
    tool.set_kind("line")
    with qtbot.waitSignal(tool.measured) as measured:
        drag(qtbot, view.view("xy"), (15, 10, 10), (15, 22, 26))
    assert measured.args[0] == pytest.approx(20, abs=0.3)  # type: ignore[index]
    assert view.position == (15, 20, 25)  # the cross-hair stayed
    assert len(tool.measurements) == 1
    assert tool.text_of(tool.measurements[0]).endswith("µm")


def test_the_yz_slice_measures_too(qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool) -> None:
    tool.set_kind("circle")
    with qtbot.waitSignal(tool.measured) as measured:
        drag(qtbot, view.view("yz"), (5, 10, 25), (15, 10, 25))
    assert measured.args[0] == pytest.approx(10, abs=0.3)  # type: ignore[index]


def test_a_circle_through_three_clicks(
    qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool
) -> None:
    tool.set_kind("circle")
    xy = view.view("xy")
    points = [(15, 20 + 8 * math.sin(angle), 25 + 8 * math.cos(angle)) for angle in (0.3, 2.0, 4.4)]
    with qtbot.waitSignal(tool.measured) as measured:
        for point in points:
            qtbot.mouseClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, *point))
    assert measured.args[0] == pytest.approx(16, abs=0.5)  # type: ignore[index]


def test_a_click_is_not_a_line(qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool) -> None:
    tool.set_kind("line")
    xy = view.view("xy")
    with qtbot.assertNotEmitted(tool.measured):
        qtbot.mouseClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, 15, 9, 9))


def test_scrolling_still_works_and_hides_the_line(
    qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool
) -> None:
    tool.set_kind("line")
    xy = view.view("xy")
    drag(qtbot, xy, (15, 10, 10), (15, 10, 30))
    at = place_of(xy, 15, 10, 20)

    def coloured() -> bool:
        return xy.grab().toImage().pixelColor(at).saturation() > 60

    assert coloured()
    turn_wheel(xy, at, -120)
    wait_for_pictures(qtbot, view)
    assert view.position[0] == 16 and not coloured()


def test_without_a_kind_the_left_button_moves_the_cross(
    qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool
) -> None:
    tool.set_kind(None)
    xy = view.view("xy")
    drag(qtbot, xy, (15, 10, 10), (15, 12, 30))
    assert view.position == (15, 12, 30)
    assert not tool.measurements


def test_delete_and_escape(qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool) -> None:
    tool.set_kind("circle")
    xy = view.view("xy")
    drag(qtbot, xy, (15, 10, 10), (15, 10, 30))
    drag(qtbot, xy, (15, 20, 10), (15, 20, 20))
    qtbot.keyClick(xy, Qt.Key.Key_Delete)
    assert [round(m.diameter_voxels) for m in tool.measurements] == [20]
    for point in ((15, 10, 10), (15, 14, 20)):
        qtbot.mouseClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, *point))
    qtbot.keyClick(xy, Qt.Key.Key_Escape)
    qtbot.mouseClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, 15, 30, 8))
    assert len(tool.measurements) == 1


def test_the_panel_lists_averages_and_removes(
    qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool
) -> None:
    panel = MeasuringPanel(tool)
    qtbot.addWidget(panel)
    panel.resize(300, 400)
    panel.show()
    qtbot.mouseClick(panel.findChildren(QPushButton)[0], Qt.MouseButton.LeftButton)
    assert tool.kind == "line"
    for width in (10.0, 20.0, 30.0):
        tool.add(Measurement("line", 0, 15, (15.5, 5.0, 5.0), (15.5, 5.0, 5.0 + width)))
    texts = [label.text() for label in panel.findChildren(QLabel)]
    assert "Mean of 3: 200 µm" in texts
    remove = [
        b for b in panel.findChildren(QToolButton) if b.accessibleName() == "Remove measurement 3"
    ]
    qtbot.mouseClick(remove[0], Qt.MouseButton.LeftButton)
    assert tool.mean_diameter_voxels == pytest.approx(15)
    view.set_voxel_size(20.0)
    texts = [label.text() for label in panel.findChildren(QLabel)]
    assert "Mean of 2: 300 µm" in texts
    clear = next(b for b in panel.findChildren(QPushButton) if b.text() == "Clear")
    qtbot.mouseClick(clear, Qt.MouseButton.LeftButton)
    assert not tool.measurements and tool.mean_diameter_voxels is None


def test_going_to_a_measurement(qtbot: QtBot, view: OrthosliceView, tool: MeasuringTool) -> None:
    tool.add(Measurement("line", 1, 7, (3.5, 7.5, 10.0), (3.5, 7.5, 20.0)))
    tool.show_measurement(0)
    assert view.position == (3, 7, 15)
