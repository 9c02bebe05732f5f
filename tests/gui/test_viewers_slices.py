"""The linked slices: what they show, what mouse and keys do, and who reads the scan."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot
from viewer_samples import MemoryLabels, MemoryScan

from particleseg_app.gui import theme
from particleseg_app.gui.viewers import OrthosliceView
from particleseg_app.gui.viewers.slice_view import SliceView
from particleseg_app.units import Box

SHAPE = (30, 40, 50)


def grey_values() -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (1000 * z + 20 * y + x).astype(np.uint16)


def two_particles() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint32)
    labels[10:20, 15:25, 20:30] = 1
    labels[10:20, 15:25, 30:44] = 70000
    return labels


@pytest.fixture
def scan() -> MemoryScan:
    return MemoryScan(grey_values())


@pytest.fixture
def view(qtbot: QtBot, scan: MemoryScan) -> Iterator[OrthosliceView]:
    theme.apply_theme(QApplication.instance(), dark=False)  # type: ignore[arg-type]
    widget = OrthosliceView()
    qtbot.addWidget(widget)
    widget.resize(900, 700)
    widget.show()
    qtbot.waitExposed(widget)
    widget.set_scan(scan, 10.0)
    wait_for_pictures(qtbot, widget)
    yield widget
    widget.stop()


def wait_for_pictures(qtbot: QtBot, view: OrthosliceView) -> None:
    def all_shown() -> None:
        for name in ("xy", "xz", "yz"):
            slice_view = view.view(name)
            assert slice_view.picture is not None
            assert slice_view.picture_is_enough()
            assert slice_view.picture.index == view.position[slice_view.plane.axis]

    qtbot.waitUntil(all_shown, timeout=10_000)


def place_of(view: SliceView, z: float, y: float, x: float) -> QPoint:
    return view.pixel_at((z + 0.5, y + 0.5, x + 0.5)).toPoint()


def marked_in(view: SliceView) -> int:
    """The particle that the slice shows as the selected one; 0 is none."""
    assert view.picture is not None
    return view.picture.request.selected


def turn_wheel(
    view: SliceView,
    at: QPoint,
    delta: int,
    keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    viewport = view.viewport()
    event = QWheelEvent(
        QPointF(at),
        QPointF(viewport.mapToGlobal(at)),
        QPoint(),
        QPoint(0, delta),
        Qt.MouseButton.NoButton,
        keys,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(viewport, event)


def move_mouse(
    view: SliceView, at: QPoint, button: Qt.MouseButton = Qt.MouseButton.NoButton
) -> None:
    viewport = view.viewport()
    event = QMouseEvent(
        QMouseEvent.Type.MouseMove,
        QPointF(at),
        QPointF(viewport.mapToGlobal(at)),
        button,
        button,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(viewport, event)


def test_starts_in_the_middle_with_all_three_slices(view: OrthosliceView, scan: MemoryScan) -> None:
    assert view.position == (15, 20, 25)
    for name, raw in (
        ("xy", scan.values[15]),
        ("xz", scan.values[:, 20]),
        ("yz", scan.values[:, :, 25]),
    ):
        picture = view.view(name).picture
        assert picture is not None
        np.testing.assert_array_equal(picture.grey, raw)


def test_the_window_never_reads(view: OrthosliceView, scan: MemoryScan, qtbot: QtBot) -> None:
    view.set_labels(labels := MemoryLabels(two_particles()))
    wait_for_pictures(qtbot, view)
    middle = view.view("xy").viewport().rect().center()
    for name in ("xy", "xz", "yz"):
        for _ in range(5):
            turn_wheel(view.view(name), middle, -120)
    wait_for_pictures(qtbot, view)
    here = threading.get_ident()
    assert scan.reading_threads and here not in scan.reading_threads
    assert labels.reading_threads and here not in labels.reading_threads


def test_a_slow_disk_does_not_hold_up_the_window(qtbot: QtBot, view: OrthosliceView) -> None:
    class SlowScan(MemoryScan):
        def read(self, box: Box) -> np.ndarray:
            time.sleep(0.3)
            return super().read(box)

        def read_slice(self, axis: int, index: int) -> np.ndarray:
            time.sleep(0.3)
            return super().read_slice(axis, index)

    slow = SlowScan(grey_values())
    began = time.perf_counter()
    view.set_scan(slow, 10.0)
    for index in range(5):
        view.go_to(index, 0, 0)
    assert time.perf_counter() - began < 0.25  # less than one single reading takes
    qtbot.waitUntil(lambda: view.view("xy").picture is not None, timeout=10_000)


def test_wheel_scrolls_the_slice_under_the_mouse(view: OrthosliceView, qtbot: QtBot) -> None:
    xy = view.view("xy")
    middle = xy.viewport().rect().center()
    turn_wheel(xy, middle, -120)
    assert view.position == (16, 20, 25)
    turn_wheel(xy, middle, 240)
    assert view.position == (14, 20, 25)
    turn_wheel(xy, middle, 40)  # a touch pad sends small turns
    turn_wheel(xy, middle, 40)
    assert view.position == (14, 20, 25)
    turn_wheel(xy, middle, 40)
    assert view.position == (13, 20, 25)
    turn_wheel(xy, middle, -120, Qt.KeyboardModifier.ShiftModifier)
    assert view.position == (23, 20, 25)
    turn_wheel(view.view("yz"), middle, -120)
    assert view.position == (23, 20, 26)
    for _ in range(60):
        turn_wheel(xy, middle, -120)
    assert view.position == (29, 20, 26)
    wait_for_pictures(qtbot, view)


def test_ctrl_wheel_zooms_all_views_about_the_mouse(view: OrthosliceView) -> None:
    xy, xz = view.view("xy"), view.view("xz")
    at = place_of(xy, 15, 5, 40)
    before = xy.point_at(QPointF(at))
    zoom = xy.camera.zoom
    turn_wheel(xy, at, 120, Qt.KeyboardModifier.ControlModifier)
    assert xy.camera.zoom > zoom
    assert xz.camera.zoom == xy.camera.zoom
    assert view.position == (15, 20, 25)
    np.testing.assert_allclose(xy.point_at(QPointF(at)), before, atol=1e-6)


def test_dragging_the_cross_moves_the_other_slices(view: OrthosliceView, qtbot: QtBot) -> None:
    xz = view.view("xz")
    seen: list[tuple[int, int, int]] = []
    view.position_changed.connect(seen.append)
    qtbot.mousePress(xz.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xz, 15, 20, 25))
    move_mouse(xz, place_of(xz, 8, 20, 40), Qt.MouseButton.LeftButton)
    qtbot.mouseRelease(xz.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xz, 8, 20, 40))
    assert view.position == (8, 20, 40)
    assert seen[-1] == (8, 20, 40)
    wait_for_pictures(qtbot, view)
    picture = view.view("xy").picture
    assert picture is not None and picture.index == 8


def test_the_yz_slice_has_y_down_and_z_to_the_right(view: OrthosliceView, qtbot: QtBot) -> None:
    yz = view.view("yz")
    qtbot.mouseClick(yz.viewport(), Qt.MouseButton.LeftButton, pos=place_of(yz, 3, 31, 25))
    assert view.position == (3, 31, 25)
    a, b = place_of(yz, 3, 10, 25), place_of(yz, 9, 30, 25)
    assert b.x() > a.x() and b.y() > a.y()


@pytest.mark.parametrize("button", [Qt.MouseButton.MiddleButton, Qt.MouseButton.RightButton])
def test_right_and_middle_drag_move_the_picture(
    view: OrthosliceView, qtbot: QtBot, button: Qt.MouseButton
) -> None:
    xy = view.view("xy")
    start, end = QPoint(200, 150), QPoint(240, 130)
    before = xy.point_at(QPointF(start))
    qtbot.mousePress(xy.viewport(), button, pos=start)
    move_mouse(xy, end, button)
    qtbot.mouseRelease(xy.viewport(), button, pos=end)
    np.testing.assert_allclose(xy.point_at(QPointF(end)), before, atol=1e-6)
    assert view.position == (15, 20, 25)


def test_double_click_brings_a_place_to_the_middle(view: OrthosliceView, qtbot: QtBot) -> None:
    xy = view.view("xy")
    qtbot.mouseDClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, 15, 8, 44))
    assert view.position == (15, 8, 44)
    for name in ("xy", "xz", "yz"):
        slice_view = view.view(name)
        centre = slice_view.viewport().rect().center()
        at = place_of(slice_view, 15, 8, 44)
        assert abs(at.x() - centre.x()) <= 2 and abs(at.y() - centre.y()) <= 2


def test_keys(view: OrthosliceView, qtbot: QtBot) -> None:
    xy = view.view("xy")
    for key, position in (
        (Qt.Key.Key_PageDown, (16, 20, 25)),
        (Qt.Key.Key_PageUp, (15, 20, 25)),
        (Qt.Key.Key_Left, (15, 20, 24)),
        (Qt.Key.Key_Down, (15, 21, 24)),
    ):
        qtbot.keyClick(xy, key)
        assert view.position == position
    qtbot.keyClick(xy, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert view.position == (15, 21, 34)
    zoom = xy.camera.zoom
    qtbot.keyClick(xy, Qt.Key.Key_Plus)
    assert xy.camera.zoom > zoom
    qtbot.keyClick(xy, Qt.Key.Key_Home)
    assert xy.camera.zoom == pytest.approx(zoom)


def test_clicking_names_and_selects_a_particle(view: OrthosliceView, qtbot: QtBot) -> None:
    view.set_labels(MemoryLabels(two_particles()))
    wait_for_pictures(qtbot, view)
    qtbot.waitUntil(lambda: view.view("xy").picture.labels is not None)  # type: ignore[union-attr]
    xy = view.view("xy")
    with qtbot.waitSignal(view.label_clicked) as clicked:
        qtbot.mouseClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, 15, 20, 40))
    assert clicked.args == [70000]
    qtbot.waitUntil(lambda: marked_in(xy) == 70000)
    with qtbot.waitSignal(view.label_clicked) as clicked:
        qtbot.mouseClick(xy.viewport(), Qt.MouseButton.LeftButton, pos=place_of(xy, 15, 3, 3))
    assert clicked.args == [0]
    qtbot.waitUntil(lambda: marked_in(xy) == 0)


def test_the_particle_under_the_mouse_is_named(view: OrthosliceView, qtbot: QtBot) -> None:
    view.set_labels(MemoryLabels(two_particles()))
    wait_for_pictures(qtbot, view)
    qtbot.waitUntil(lambda: view.view("xz").picture.labels is not None)  # type: ignore[union-attr]
    xz = view.view("xz")
    with qtbot.waitSignal(view.hovered) as hovered:
        move_mouse(xz, place_of(xz, 12, 20, 41))
    said = hovered.args[0]  # type: ignore[index]
    assert said["position"] == (12, 20, 41)
    assert said["label"] == 70000
    assert said["grey"] == 1000 * 12 + 20 * 20 + 41
    text = said["text"].replace("\u202f", " ")
    assert text == "Particle 70 000 · grey 12 441 · (x, y, z) = (415, 205, 125) µm"
    shown = [label.text() for label in view.findChildren(QLabel)]
    assert said["text"] in shown
    with qtbot.waitSignal(view.hovered) as hovered:
        QApplication.sendEvent(xz, QEvent(QEvent.Type.Leave))
    assert hovered.args[0]["position"] is None  # type: ignore[index]


def test_bars_say_slice_number_and_place(view: OrthosliceView) -> None:
    view.go_to(4, 20, 25)
    texts = [label.text() for label in view.findChildren(QLabel)]
    assert "slice 5 of 30 · z 45 µm" in texts
    view.set_voxel_size(None)
    texts = [label.text() for label in view.findChildren(QLabel)]
    assert "slice 5 of 30" in texts


def test_going_to_a_particle_shows_it_large_enough(view: OrthosliceView, qtbot: QtBot) -> None:
    view.go_to(12, 18, 33, size_voxels=3)
    assert view.position == (12, 18, 33)
    xy = view.view("xy")
    assert 3 * xy.camera.zoom > 0.1 * min(xy.width(), xy.height())
    at = place_of(xy, 12, 18, 33)
    assert xy.viewport().rect().contains(at)
    wait_for_pictures(qtbot, view)
    picture = xy.picture
    assert picture is not None and picture.region != (0, 40, 0, 50)  # only what is visible


def test_overlay_is_drawn_with_its_opacity_and_mode(view: OrthosliceView, qtbot: QtBot) -> None:
    view.set_labels(MemoryLabels(two_particles()))
    wait_for_pictures(qtbot, view)
    qtbot.waitUntil(lambda: view.view("xy").picture.labels is not None)  # type: ignore[union-attr]
    xy = view.view("xy")
    inside = place_of(xy, 15, 17, 37)  # beside the cross-hair

    def saturation() -> int:
        return xy.grab().toImage().pixelColor(inside).saturation()

    assert saturation() > 30
    view.set_overlay_opacity(0.0)
    assert saturation() < 5
    view.set_overlay_opacity(0.6)
    assert saturation() > 30
    view.set_overlay_mode("contours")
    assert saturation() < 5
    with pytest.raises(ValueError, match="mode"):
        view.set_overlay_mode("stripes")


def test_window_changes_the_greys(view: OrthosliceView, qtbot: QtBot) -> None:
    xy = view.view("xy")
    at = place_of(xy, 15, 17, 40)  # beside the cross-hair
    view.set_window(0, 15000)
    qtbot.waitUntil(lambda: xy.grab().toImage().pixelColor(at).value() == 255, timeout=5000)
    view.set_window(20000, 30000)
    qtbot.waitUntil(lambda: xy.grab().toImage().pixelColor(at).value() == 0, timeout=5000)


def test_labels_must_fit_the_scan(view: OrthosliceView) -> None:
    with pytest.raises(ValueError, match="fit"):
        view.set_labels(MemoryLabels(np.ones((3, 4, 5), np.uint32)))


def test_enlarging_one_view_and_back(view: OrthosliceView, qtbot: QtBot) -> None:
    cell = view.view("xz").parentWidget()
    small = cell.width()
    cell.bar.size_button.click()  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: cell.width() > 1.8 * small)
    assert not view.view("xy").isVisible()
    cell.bar.size_button.click()  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: view.view("xy").isVisible() and cell.width() < 1.2 * small)
    wait_for_pictures(qtbot, view)


def test_an_unreadable_slice_is_told_in_the_view(qtbot: QtBot, view: OrthosliceView) -> None:
    class Damaged(MemoryScan):
        def read(self, box: Box) -> np.ndarray:
            raise OSError("checksum")

        def read_slice(self, axis: int, index: int) -> np.ndarray:
            raise OSError("checksum")

    view.set_scan(Damaged(grey_values()), 10.0)
    qtbot.waitUntil(lambda: "could not be read" in view.view("xy").remark, timeout=5000)


def test_clear_and_stop_end_all_reading(
    view: OrthosliceView, scan: MemoryScan, qtbot: QtBot
) -> None:
    view.clear()
    assert view.view("xy").picture is None
    view.set_scan(scan, None)
    wait_for_pictures(qtbot, view)
    view.stop()
    assert not view.loader.running


def test_threads_end_with_the_widget_even_without_stop(qtbot: QtBot, scan: MemoryScan) -> None:
    widget = OrthosliceView()
    widget.show()
    widget.set_scan(scan, 10.0)
    reader = widget.loader._reader
    widget.close()
    widget.deleteLater()
    del widget
    gc.collect()
    qtbot.waitUntil(lambda: not reader.running, timeout=5000)
