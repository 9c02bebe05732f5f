"""Colours, hiding and mends in the true window: every view follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import reviewed_run as run
from PySide6.QtCore import QItemSelectionModel, Qt
from pytestqt.qtbot import QtBot
from window_driver import results_of

from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.viewers.appearance import BY_SCORE
from particleseg_app.gui.viewers.particle_picking import first_hit_on_ray
from particleseg_app.gui.viewers.slice_geometry import XZ
from particleseg_app.units import Box

LONG_MS = 25_000
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    project, _ = run.make_project(tmp_path)
    with results_of(qtbot, project) as window:
        page = window.project_page
        qtbot.waitUntil(lambda: len(page.appearance.choices()) > 2, timeout=LONG_MS)
        page.slices.go_to(*run.HALVED)
        yield window


def press(qtbot: QtBot, window: MainWindow, key: Qt.Key, modifier: Qt.KeyboardModifier) -> None:
    window.activateWindow()
    view = window.project_page.slices.view("xy")
    view.setFocus()
    qtbot.waitUntil(lambda: view.hasFocus(), timeout=LONG_MS)
    qtbot.keyClick(view, key, modifier)


def coloured(window: MainWindow) -> set[int]:
    """Particles that are coloured in the xy slice now."""
    picture = window.project_page.slices.view("xy").picture
    assert picture is not None and picture.labels is not None and picture.overlay is not None
    request = picture.request
    labels = picture.labels[
        slice(*picture.region[:2], request.overlay_step),
        slice(*picture.region[2:], request.overlay_step),
    ]
    if request.overlay_zoom > 1:
        labels = labels.repeat(request.overlay_zoom, 0).repeat(request.overlay_zoom, 1)
    shown = labels[picture.overlay > 0]
    return set(np.unique(shown).tolist()) - {0}


def mark(window: MainWindow, *particles: int) -> None:
    table = window.project_page.table
    selection = table.view.selectionModel()
    selection.clear()
    flags = QItemSelectionModel.SelectionFlag
    for particle in particles:
        row = table.model.row_of_label(particle)
        selection.select(table.model.index(row, 0), flags.Select | flags.Rows)


def test_keys_hide_isolate_and_show_again(qtbot: QtBot, window: MainWindow) -> None:
    page = window.project_page
    # Particles 1 (two balls), 2 and 3 (halves of one) and 5 reach into the middle slice.
    qtbot.waitUntil(lambda: coloured(window) == {1, 2, 3, 5}, timeout=LONG_MS)
    mark(window, run.LEFT_HALF, run.RIGHT)
    press(qtbot, window, Qt.Key.Key_H, NONE)
    qtbot.waitUntil(lambda: coloured(window) == {1, 3}, timeout=LONG_MS)
    assert page.selected is None and page.appearance_bar.button.text() == "2 hidden"
    press(qtbot, window, Qt.Key.Key_H, SHIFT)
    qtbot.waitUntil(lambda: coloured(window) == {1, 2, 3, 5}, timeout=LONG_MS)
    page.select(run.LEFT_HALF)
    press(qtbot, window, Qt.Key.Key_I, NONE)
    qtbot.waitUntil(lambda: coloured(window) == {2, 3}, timeout=LONG_MS)  # 3 touches it
    press(qtbot, window, Qt.Key.Key_H, SHIFT)
    # The keys are letters where letters are typed.
    page.table.filter_box.setFocus()
    qtbot.keyClicks(page.table.filter_box, "hi")
    assert page.table.filter_box.text() == "hi" and page.appearance.hidden_count == 0
    page.table.filter_box.setText("1")
    page.table.apply_filter()
    page.appearance_bar.only_table_action.trigger()
    qtbot.waitUntil(lambda: coloured(window) == {1}, timeout=LONG_MS)


def test_colours_by_measure_and_by_score_reach_the_slices(qtbot: QtBot, window: MainWindow) -> None:
    page = window.project_page
    qtbot.waitUntil(  # the scores are read in the background
        lambda: BY_SCORE in [choice.key for choice in page.appearance.choices()], timeout=LONG_MS
    )
    for key, largest in (("volume_um3", run.MERGED), (BY_SCORE, run.MERGED)):
        page.appearance.colour_by(key)
        look = page.appearance.look
        qtbot.waitUntil(
            lambda look=look: page.slices.view("xy").picture.request.look is look,
            timeout=LONG_MS,
        )
        places = look.colouring.places(np.arange(1, 6, dtype=np.uint32))
        assert int(np.argmax(places)) + 1 == largest
    window.actions_.review_action.trigger()
    assert not page.appearance_bar.isEnabled()
    window.actions_.review_action.trigger()
    assert page.appearance_bar.isEnabled()


def legends_in_slices(window: MainWindow) -> list[str]:
    """The planes of the slices that say what the colours mean."""
    legends = window.project_page.slices._legends
    return [plane.name for plane, legend in legends.items() if not legend.isHidden()]


def test_the_scale_stands_in_a_slice_where_3d_does_not_show_it(
    qtbot: QtBot, window: MainWindow
) -> None:
    page = window.project_page
    assert legends_in_slices(window) == []  # each particle has its own colour
    page.appearance.colour_by("volume_um3")
    for in_3d in (False, True):
        page.slices.set_scale_elsewhere(in_3d)
        assert legends_in_slices(window) == ([] if in_3d and page.particles_3d else ["xy"])
    size_button = page.slices._cells[XZ].bar.size_button
    size_button.click()
    qtbot.waitUntil(lambda: legends_in_slices(window) == ["xz"], timeout=LONG_MS)
    shown = page.slices._legends[XZ]
    assert shown.scale is page.appearance.look.colouring.scale
    size_button.click()
    wanted = [] if page.particles_3d else ["xy"]
    qtbot.waitUntil(lambda: legends_in_slices(window) == wanted, timeout=LONG_MS)


def test_the_3d_view_tells_whether_it_shows_the_scale(qtbot: QtBot, window: MainWindow) -> None:
    view = window.project_page.particles_3d
    if view is None or not view.available:
        pytest.skip("no OpenGL on this platform: the 3D view cannot be drawn")
    qtbot.waitUntil(lambda: view.ready, timeout=LONG_MS)
    window.project_page.appearance.colour_by("volume_um3")
    assert legends_in_slices(window) == []
    view.set_mode("scan")
    assert legends_in_slices(window) == ["xy"]
    view.set_mode("both")
    assert legends_in_slices(window) == []


def test_a_mend_reaches_every_view_and_hidden_ones_stay_hidden(
    qtbot: QtBot, window: MainWindow
) -> None:
    page = window.project_page
    shown = window.session.shown
    assert shown is not None and shown.review is not None
    page.select(run.RIGHT)
    page.appearance.hide([run.MERGED])
    mending = shown.review.mending(shown.scan)
    change = mending.preview_merge([run.LEFT_HALF, run.RIGHT_HALF])
    mending.apply(change, "merge", "two halves")
    place = page.slices.position
    page.show_mended(shown)
    left = {int(n) for n in np.unique(shown.labels.read(Box.whole(run.SHAPE)))}  # type: ignore[union-attr]
    assert len(left & {run.LEFT_HALF, run.RIGHT_HALF}) == 1
    middle = (left & {run.LEFT_HALF, run.RIGHT_HALF}) | {run.RIGHT}
    qtbot.waitUntil(lambda: coloured(window) == middle, timeout=LONG_MS)
    assert page.slices.position == place and page.selected == run.RIGHT
    view = page.particles_3d
    if view is not None and view.available:
        qtbot.waitUntil(lambda: view.ready, timeout=LONG_MS)
        scene = view._preparation.particles
        assert scene is not None
        assert {int(n) for n in np.unique(scene.surfaces.labels)} == left - {0}


def test_a_ray_gives_a_point_well_inside_what_it_meets() -> None:
    labels = np.zeros((20, 20, 20), np.uint32)
    labels[5:11, 8:12, 8:12] = 3
    labels[11:15, 8:12, 8:12] = 4  # right behind it
    down = np.array([0.0, 0.0, 1.0])
    label, point = first_hit_on_ray(labels, 2.0, np.array([20.0, 20.0, -30.0]), down)
    assert label == 3 and point == pytest.approx((16.0, 20.0, 20.0), abs=1.0)
    assert first_hit_on_ray(labels, 2.0, np.array([2.0, 2.0, -30.0]), down) == (0, None)
