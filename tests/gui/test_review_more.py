"""The review: more of its tools, what it shows, and what comes in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reviewed_run as run
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from review_driver import LONG_MS, Reviewer

from particleseg_app.gui import theme
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.review.review_flow import estimate_text
from particleseg_app.projects import Project
from particleseg_app.projects.review_files import open_review
from particleseg_app.review.cases import ReviewCase, case_id, read_cases, write_cases
from particleseg_app.review.error_rates import EstimatedErrorRates, EstimatedRate
from particleseg_app.review.missed import pack_region
from particleseg_app.units import Box

CONTROL = Qt.KeyboardModifier.ControlModifier


def cases_of(reviewer: Reviewer) -> tuple[Path, list[ReviewCase]]:
    shown = reviewer.window.session.shown
    assert shown is not None and shown.review is not None
    return shown.review.paths.cases, list(read_cases(shown.review.paths.cases))


def test_a_new_particle_is_painted_where_none_was_found(reviewer: Reviewer) -> None:
    centre = (24.0, 24.0, 66.0)
    there = run.ball((24, 24, 66), 6)
    box = Box((18, 18, 60), (31, 31, 73))
    kind = "missed particle"
    missed = ReviewCase(
        case_id(kind, (), centre), kind, (), 0.9, 0.25, {}, "It is bright.", box, centre,
        region=pack_region(there[box.slices]),
    )  # fmt: skip
    path, cases = cases_of(reviewer)
    write_cases(path, [missed, *cases])
    reviewer.start()
    reviewer.wait_for_case()
    assert not reviewer.page.tools.buttons["smooth"].isEnabled()
    reviewer.choose("paint")
    assert reviewer.page.tools.as_new.isChecked()
    z, y, x = (24, 24, 66)
    reviewer.drag((z, y, x - 3), (z, y, x + 3))
    reviewer.wait(lambda: reviewer.mends() == 1)
    reviewer.wait_for_case()
    number = int(reviewer.labels()[z, y, x])
    assert number == 6 and reviewer.controller.particles == (number,)
    assert not reviewer.page.tools.as_new.isChecked()  # the next stroke adds to it
    reviewer.drag((z, y - 4, x), (z, y + 4, x))
    reviewer.wait(lambda: reviewer.mends() == 2)
    assert reviewer.labels()[z, y + 4, x] == number
    assert reviewer.controller.journal.entries()[0].text == "New particle painted"
    assert reviewer.controller.states[missed.id] == "mended"


def test_a_split_follows_the_grey_values_if_wanted(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.choose("split")
    reviewer.click(run.FIRST)
    reviewer.click(run.SECOND)
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    by_shape = reviewer.controller.changes
    reviewer.page.tools.by_grey.click()
    reviewer.wait(lambda: reviewer.controller.changes not in (None, by_shape))
    assert len(reviewer.page.drawing.markers) == 2
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    labels = reviewer.labels()
    assert labels[run.FIRST] != labels[run.SECOND]


def test_markers_are_set_in_3d(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    view = reviewer.page.view.particles_3d
    assert view is not None
    if not view.available:
        pytest.skip("no OpenGL here")
    reviewer.choose("split")
    reviewer.wait(lambda: view.ready)
    found, scene = reviewer.controller.neighbourhood, view._scene
    assert found is not None and scene is not None
    for number, centre in enumerate((run.FIRST, run.SECOND), start=1):
        z, y, x = (c - a + 0.5 for c, a in zip(centre, found.box.start, strict=True))
        column, row = scene.camera.project(np.array([[x, y, z]]))[0].tolist()
        view._clicked((column, row))
        assert len(reviewer.page.drawing.markers) == number
        voxel = tuple(int(m) for m in reviewer.page.drawing.markers[-1])
        assert found.labels[voxel] == run.MERGED
        assert reviewer.page.slices.position == voxel
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    labels = reviewer.labels()
    assert labels[run.FIRST] != labels[run.SECOND]


def test_slices_are_numbered_as_in_the_whole_scan(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_case()
    found = reviewer.controller.neighbourhood
    assert found is not None
    # The speck's neighbourhood does not begin at the scan's first voxel.
    reviewer.controller.show_case(1)
    reviewer.wait_for_case()
    found = reviewer.controller.neighbourhood
    assert found is not None and found.box.start[1] > 0
    reviewer.pixel(run.HALVED)
    z, y, x = run.HALVED
    slices = reviewer.page.slices
    cells = {plane.name: cell for plane, cell in slices._cells.items()}
    assert cells["xy"].place.toolTip() == f"slice {z + 1} of {run.SHAPE[0]} · z 245 µm"
    assert cells["xz"].place.toolTip() == f"slice {y + 1} of {run.SHAPE[1]} · y 565 µm"
    inside = tuple(v - a for v, a in zip((z, y, x), found.box.start, strict=True))
    slices._pointed(cells["xy"].view, inside)  # type: ignore[arg-type]
    assert "(x, y, z) = (265, 565, 245) µm" in slices._pointed_text.text()


def test_parts_of_a_proposed_cut_never_look_alike(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    look = reviewer.page.slices._feed.look
    asked, made, beside = look.tints(np.array([run.MERGED, 6, run.RIGHT]))
    assert np.abs(asked - made).max() > 0.3
    assert np.ptp(beside[:3]) < 0.4 < np.ptp(asked[:3])  # neighbours are greyed


def test_the_neighbours_of_a_particle_that_goes_stay_in_3d(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.controller.show_case(1)
    reviewer.wait_for_proposal()
    box = reviewer.controller.cases[1].box
    reviewer.controller.show_particles((run.LEFT_HALF,), box)
    reviewer.wait_for_case()
    reviewer.choose("delete")
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    view = reviewer.page.view.particles_3d
    assert view is not None
    labels = view._preparation.labels
    assert labels is not None
    assert set(np.unique(labels.read(Box.whole(labels.shape)))) == {0, run.RIGHT_HALF}


def test_the_list_takes_the_colours_of_the_theme(reviewer: Reviewer, qapp: QApplication) -> None:
    theme.apply_theme(qapp, True)
    reviewer.start()
    reviewer.wait_for_case()
    theme.apply_theme(qapp, False)
    reviewer.qtbot.wait(50)
    picture = reviewer.page.queue.cases.doubtful.viewport().grab().toImage()
    mark = [
        picture.pixelColor(column, row)
        for column in range(picture.width() - 60, picture.width())
        for row in range(20)
    ]
    # The strong red made for white, not the pale one made for black.
    assert max(c.red() - c.blue() for c in mark) > 100


def test_another_run_is_shown_while_a_preview_is_computed(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_case()
    session = reviewer.window.session
    assert session.shown is not None and session.shown.run is not None
    run_id, scan_id = session.shown.run.id, session.shown.entry.id
    reviewer.choose("grow")
    session.show_scan(scan_id)
    reviewer.wait(lambda: session.shown is not None and session.shown.run is None)
    assert reviewer.page.controller is None
    session.show_run(run_id)
    reviewer.wait(lambda: session.shown is not None and session.shown.table is not None)
    reviewer.start()
    reviewer.wait_for_proposal()
    assert reviewer.mends() == 0


def test_the_window_closed_amid_a_mend_keeps_it(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    project = reviewer.window.session.project
    assert project is not None
    folder, run_id = project.folder, project.runs[0].id
    reviewer.key(Qt.Key.Key_Return)
    reviewer.window.close()
    reviewer.wait(lambda: not reviewer.window.isVisible())
    with Project.open(folder) as again, open_review(again, run_id) as review:
        assert review.journal.mend_count == 1


def test_a_project_that_can_only_be_read_is_only_looked_at(reviewer: Reviewer) -> None:
    shown = reviewer.window.session.shown
    assert shown is not None and shown.review is not None
    shown.review.journal.read_only = True
    reviewer.start()
    reviewer.wait_for_proposal()  # the cut is drawn all the same
    page = reviewer.page
    assert page.card.accept_button.toolTip() == READ_ONLY
    assert not page.card.accept_button.isEnabled() and not page.card.reject_button.isEnabled()
    assert not any(button.isEnabled() for button in page.tools.buttons.values())
    for key in (Qt.Key.Key_Return, Qt.Key.Key_R, Qt.Key.Key_S, Qt.Key.Key_N, Qt.Key.Key_P):
        reviewer.key(key)
    reviewer.key(Qt.Key.Key_Z, CONTROL)
    reviewer.qtbot.wait(150)
    assert reviewer.mends() == 0 and not reviewer.controller.states


def test_doubts_about_a_particle_that_was_split_are_about_what_is_left(
    reviewer: Reviewer,
) -> None:
    path, (merger, *others) = cases_of(reviewer)
    twin = replace(
        merger, id=case_id("false particle", (run.MERGED,)), kind="false particle", markers=()
    )
    write_cases(path, [merger, twin, *others])
    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait_for_number(1)
    reviewer.wait_for_proposal()
    found = reviewer.controller.neighbourhood
    assert found is not None
    assert np.array_equal(found.labels, reviewer.labels()[found.box.slices])  # as mended
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 2)
    labels = reviewer.labels()
    assert sorted((labels[run.FIRST] == 0, labels[run.SECOND] == 0)) == [False, True]


def test_the_estimate_is_told_in_sensible_figures() -> None:
    def rates(joined: EstimatedRate, cut: EstimatedRate) -> EstimatedErrorRates:
        return EstimatedErrorRates(joined, cut, joined, joined)

    few = EstimatedRate(0.0319, 0.0, 0.1684)
    assert estimate_text(rates(few, EstimatedRate(0.112, 0.014, 1.05))) == (
        "Of 100 particles, about 3 (0 to 17) are joined and about 11 (1 to more than 100) "
        "cut in pieces."
    )
    assert "will help more" in estimate_text(rates(few, EstimatedRate(1.4, 0.2, 27.0)))
    fewer, none = EstimatedRate(0.0044, 0.0, 0.02), EstimatedRate(0.0001, 0.0, 0.01)
    assert estimate_text(rates(fewer, none)) == (
        "Of 100 particles, about 0.4 (0 to 2) are joined and about 0 (0 to 1) cut in pieces."
    )


def test_nothing_is_asked_while_cases_are_looked_for(
    reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cases = cases_of(reviewer)
    path.unlink()
    go_on = threading.Event()

    def find(*_arguments: object, **_named: object) -> list[ReviewCase]:
        go_on.wait(LONG_MS / 1000)
        return cases

    monkeypatch.setattr("particleseg_app.review.queue.find_cases", find)
    reviewer.window.actions_.review_action.trigger()
    page = reviewer.page
    reviewer.wait(lambda: page.card.question.text() == "Looking for doubtful particles")
    assert not page.card.next_button.isVisible() and not page.tools.isVisible()
    page.left_wanted.emit()  # and back, amid the search
    reviewer.window.actions_.review_action.trigger()
    assert page.card.question.text() == "Looking for doubtful particles"
    assert not page.find_button.isEnabled()
    go_on.set()
    reviewer.wait(lambda: reviewer.controller.number == 0)
    reviewer.wait_for_proposal()
    assert page.tools.isVisible() and page.find_button.isEnabled()


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
import reviewed_run
from pathlib import Path
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from particleseg_app.gui.main_window import MainWindow

app = QApplication([])
window = MainWindow()
window.show()
assert window.session.open_project(Path({project!r}))
def wait(condition):
    while not condition():
        QTest.qWait(5)
wait(lambda: window.session.shown is not None and window.session.shown.table is not None)
window.actions_.review_action.trigger()
page = window.review_page
for mends in (1, 2, 3):
    wait(lambda: page.controller.changes is not None and not page.controller.busy)
    QTest.keyClick(page.slices.view("xy"), Qt.Key.Key_Return)
    wait(lambda: page.queue._tabs.button(1).text() == f"History ({{mends}})")
    print(mends, flush=True)
wait(lambda: False)
"""


@pytest.mark.parametrize("shown", [1, 3])
def test_what_the_window_showed_as_done_outlives_a_kill(
    tmp_path: Path, own_settings: Path, shown: int
) -> None:
    project, run_id = run.make_project(tmp_path)
    script = KILLED.format(paths=[str(Path(__file__).parent)], project=str(project))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == str(shown):
                process.send_signal(signal.SIGKILL)
        process.wait(20)
    with Project.open(project) as again, open_review(again, run_id) as review:
        assert review.journal.mend_count in (shown, shown + 1)  # the gesture in progress may count
        states = list(review.journal.case_states().values())
        assert states == ["accepted"] * review.journal.mend_count
        for _ in range(review.journal.mend_count):
            assert review.journal.undo() is not None
        assert np.array_equal(review.labels.read(Box.whole(run.SHAPE)), run.found_labels())
