"""The review in the true window, with mouse and keys: answers, tools, history, results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reviewed_run as run
import tifffile
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from review_driver import LEFT, LONG_MS, Reviewer

from particleseg_app.evaluation import evaluate
from particleseg_app.gui.main_window import MainWindow
from particleseg_app.review.cases import ReviewCase, case_id, read_cases, write_cases
from particleseg_app.review.missed import pack_region
from particleseg_app.units import Box


def test_three_answers_by_key_mend_everything(reviewer: Reviewer) -> None:
    reviewer.start()
    for answers in range(3):
        assert reviewer.controller.number == answers
        reviewer.wait_for_proposal()
        reviewer.key(Qt.Key.Key_Return)
        reviewer.wait(lambda answers=answers: reviewer.mends() == answers + 1)
        if answers < 2:
            reviewer.wait(lambda answers=answers: reviewer.controller.number == answers + 1)
    score = evaluate(run.true_labels(), reviewer.labels())
    assert score.f1_match == 1.0
    assert score.f1_instance > 0.97
    assert list(reviewer.controller.states.values()) == ["accepted"] * 3
    assert not reviewer.controller.has_next


def test_the_project_panel_counts_the_particles_with_their_mends(reviewer: Reviewer) -> None:
    session, page = reviewer.window.session, reviewer.window.project_page
    reviewer.start()
    assert session.shown is not None and session.shown.table is not None
    before = len(session.shown.table)
    reviewer.wait(lambda: "Of 100 particles" in reviewer.page.queue._estimate.text())
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    reviewer.wait(lambda: session.shown is not None and len(session.shown.table) != before)
    reviewer.window.review.leave()
    (run_shown,) = session.items()[0].runs
    assert run_shown.detail == f"{len(session.shown.table)} particles"
    assert f"{before} particles before the mends" in run_shown.tip
    scan = page.projects.tree.topLevelItem(0)
    assert scan is not None and scan.child(0).text(1) == run_shown.detail


def test_a_missed_particle_is_added_with_a_key(reviewer: Reviewer, tmp_path: Path) -> None:
    there = run.ball((24, 24, 66), 6)
    box = Box((18, 18, 60), (31, 31, 73))
    centre = (24.0, 24.0, 66.0)
    kind = "missed particle"
    missed = ReviewCase(
        case_id(kind, (), centre), kind, (), 0.9, 0.25, {}, "It is bright.", box, centre,
        region=pack_region(there[box.slices]),
    )  # fmt: skip
    shown = reviewer.window.session.shown
    assert shown is not None and shown.review is not None
    merger = read_cases(shown.review.paths.cases)[0]
    write_cases(shown.review.paths.cases, [missed, merger])
    before = reviewer.labels_stored()
    reviewer.start()
    reviewer.wait_for_proposal()
    card = reviewer.page.card
    assert card.question.text() == "A particle missed?" and card.accept_button.text() == "Add it"
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    after = reviewer.labels()
    assert np.array_equal(after != before, there)
    assert set(np.unique(after[there])) == {6}
    assert reviewer.controller.journal.entries()[-1].text == "Missed particle added"
    reviewer.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    reviewer.wait(lambda: reviewer.mends() == 0)
    assert np.array_equal(reviewer.labels(), before)


def test_other_doubts_about_the_same_particles_are_named(reviewer: Reviewer) -> None:
    shown = reviewer.window.session.shown
    assert shown is not None and shown.review is not None
    merger, *others = read_cases(shown.review.paths.cases)
    pair = replace(
        merger, id=case_id("splitter", (run.MERGED, run.FALSE)), kind="splitter",
        labels=(run.MERGED, run.FALSE), probability=0.23, focus=run.MERGED,
    )  # fmt: skip
    merger = replace(merger, focus=run.MERGED)
    write_cases(shown.review.paths.cases, [merger, pair, *others])
    reviewer.start()
    reviewer.wait_for_proposal()
    text = reviewer.page.card.beside.text()
    assert text.startswith("Also here: 1 and 4 one particle? (23 %)")
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait(lambda: reviewer.controller.number == 1)
    assert "1 joined? (90 %)" in reviewer.page.card.beside.text()
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait(lambda: reviewer.controller.number == 2)
    assert not reviewer.page.card.beside.isVisible()


def test_a_case_rejected_is_left_as_it_is_and_the_place_is_kept(reviewer: Reviewer) -> None:
    reviewer.start()
    before = reviewer.labels()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_R)
    reviewer.wait(lambda: reviewer.controller.number == 1)
    assert np.array_equal(reviewer.labels(), before)
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait(lambda: reviewer.controller.number == 2)
    reviewer.wait_for_case()
    reviewer.page.left_wanted.emit()
    assert reviewer.window.pages.currentWidget() is reviewer.window.project_page
    reviewer.start()
    assert reviewer.controller.number == 2  # where one left off
    reviewer.key(Qt.Key.Key_P)
    reviewer.wait(lambda: reviewer.controller.number == 1)
    states = reviewer.controller.states
    assert states[reviewer.controller.cases[0].id] == "rejected"


def test_undo_and_redo_with_the_keyboard(reviewer: Reviewer) -> None:
    reviewer.start()
    before = reviewer.labels()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.controller.number == 1)
    mended = reviewer.labels()
    assert not np.array_equal(mended, before)
    reviewer.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    reviewer.wait(lambda: reviewer.mends() == 0)
    assert np.array_equal(reviewer.labels(), before)
    reviewer.wait_for_case()
    control_shift = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    reviewer.key(Qt.Key.Key_Z, control_shift)
    reviewer.wait(lambda: reviewer.mends() == 1)
    assert np.array_equal(reviewer.labels(), mended)


def test_split_by_markers_set_with_the_mouse(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.choose("split")
    reviewer.click(run.FIRST)
    assert reviewer.controller.changes is None
    reviewer.click(run.SECOND)
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    assert reviewer.mends() == 0  # only previewed
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    labels = reviewer.labels()
    first, second = labels[run.FIRST], labels[run.SECOND]
    assert first and second and first != second
    assert run.MERGED in (first, second)


def test_split_along_a_drawn_border(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.choose("split")
    z, y, x = run.FIRST
    border = x + 3  # not where the neck is
    reviewer.drag((z, y - 12, border), (z, y + 12, border))
    reviewer.click((z, y, x - 5))
    reviewer.click(run.SECOND)
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.qtbot.mouseClick(reviewer.page.tools.apply_button, LEFT)
    reviewer.wait(lambda: reviewer.mends() == 1)
    row = reviewer.labels()[z, y]
    assert row[border - 3] != row[border + 3]
    assert row[border + 3] == row[run.SECOND[2]]


def test_join_by_clicking_the_other_half(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.controller.show_case(1)
    reviewer.wait_for_proposal()
    reviewer.controller.show_particles((run.LEFT_HALF,), reviewer.controller.cases[1].box)
    reviewer.wait_for_case()
    reviewer.choose("join")
    z, y, x = run.HALVED
    reviewer.click((z, y, x + 4))
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    labels = reviewer.labels()
    assert labels[z, y, x - 4] == labels[z, y, x + 4] != 0


def test_paint_and_erase_with_a_brush(reviewer: Reviewer) -> None:
    reviewer.start()
    case = reviewer.controller.cases[0]
    reviewer.wait_for_case()
    z, y, x = run.FIRST
    before = int((reviewer.labels() == run.MERGED).sum())
    reviewer.choose("paint")
    reviewer.drag((z, y - 10, x - 2), (z, y - 10, x + 2))
    reviewer.wait(lambda: reviewer.mends() == 1)
    painted = int((reviewer.labels() == run.MERGED).sum())
    assert painted > before
    reviewer.wait_for_case()
    assert reviewer.page.tools.chosen == "paint"  # the brush stays in the hand
    reviewer.qtbot.mouseClick(reviewer.page.tools.buttons["erase"], LEFT)
    reviewer.drag((z, y, x - 4), (z, y, x))
    reviewer.wait(lambda: reviewer.mends() == 2)
    assert reviewer.labels()[z, y, x - 2] == 0
    assert reviewer.controller.states[case.id] == "mended"


@pytest.mark.parametrize("tool", ["smooth", "grow", "delete"])
def test_tools_that_need_no_drawing(reviewer: Reviewer, tool: str) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    before = reviewer.labels()
    reviewer.choose(tool)
    reviewer.wait(
        lambda: reviewer.controller.changes is not None or bool(reviewer.controller.remark)
    )
    assert np.array_equal(reviewer.labels(), before)
    if reviewer.controller.changes is None:
        assert "not change" in reviewer.controller.remark
        return
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    after = reviewer.labels()
    assert not np.array_equal(after, before)
    others = (before != run.MERGED) & (before != 0)
    assert np.array_equal(after[others], before[others])  # neighbours are never touched
    if tool == "delete":
        assert not (after == run.MERGED).any()


def test_escape_drops_the_drawing_then_the_tool_then_leaves(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.choose("split")
    reviewer.click(run.FIRST)
    assert len(reviewer.page.drawing.markers) == 1
    reviewer.key(Qt.Key.Key_Escape)
    assert not reviewer.page.drawing.markers and reviewer.page.tools.chosen == "split"
    reviewer.key(Qt.Key.Key_Escape)
    assert reviewer.page.tools.chosen is None
    reviewer.key(Qt.Key.Key_Escape)
    assert reviewer.window.pages.currentWidget() is reviewer.window.project_page


def test_results_show_the_mend_at_once_and_after_opening_again(
    reviewer: Reviewer, qtbot: QtBot, tmp_path: Path
) -> None:
    window = reviewer.window
    window.project_page.select(run.FALSE)
    window.actions_.mend_action.trigger()
    reviewer.wait_for_case()
    assert reviewer.controller.case is None
    reviewer.choose("delete")
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    shown = window.session.shown
    assert shown is not None
    reviewer.wait(
        lambda: run.FALSE not in window.session.shown.table["label"].tolist()  # type: ignore[union-attr]
    )
    reviewer.page.left_wanted.emit()
    assert window.project_page.table.model.total_count == 4
    assert window.project_page.selected is None
    folder = window.session.project.folder  # type: ignore[union-attr]
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG_MS)
    again = MainWindow()
    again.show()
    second = Reviewer(qtbot, again, folder)
    assert run.FALSE not in again.session.shown.table["label"].tolist()  # type: ignore[union-attr]
    second.start()
    assert second.mends() == 1 and second.controller.journal.can_undo
    again.close()
    qtbot.waitUntil(lambda: not again.isVisible(), timeout=LONG_MS)


def test_back_to_the_segmentation_is_asked_and_can_be_undone(reviewer: Reviewer) -> None:
    reviewer.start()
    before = reviewer.labels()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1 and reviewer.controller.number == 1)
    mended = reviewer.labels()
    reviewer.wait_for_case()
    reviewer.page.queue.revert_wanted.emit()
    question = reviewer.page.revert_question
    assert question is not None
    assert question.keep_button.isDefault() and question.agree_button.text() == "Go back"
    reviewer.qtbot.mouseClick(question.agree_button, LEFT)
    reviewer.wait(lambda: reviewer.mends() == 0)
    assert np.array_equal(reviewer.labels(), before)
    reviewer.controller.undo()
    reviewer.wait(lambda: reviewer.mends() == 1)
    assert np.array_equal(reviewer.labels(), mended)


def test_a_group_marked_in_the_table_is_mended_together(reviewer: Reviewer) -> None:
    window = reviewer.window
    table = window.project_page.table
    for label in (run.LEFT_HALF, run.RIGHT_HALF):
        index = table.model.index(table.model.row_of_label(label), 0)
        flags = table.view.selectionModel().SelectionFlag
        table.view.selectionModel().setCurrentIndex(index, flags.Select | flags.Rows)
    assert window.project_page.chosen_particles() == (run.LEFT_HALF, run.RIGHT_HALF)
    window.actions_.mend_action.trigger()
    reviewer.wait_for_case()
    reviewer.choose("join")
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    labels = reviewer.labels()
    z, y, x = run.HALVED
    assert labels[z, y, x - 4] == labels[z, y, x + 4]


def test_what_is_shown_becomes_a_training_patch(reviewer: Reviewer, tmp_path: Path) -> None:
    from particleseg_app.training.lab_source import LabPatchSource

    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1 and reviewer.controller.number == 1)
    reviewer.controller.show_case(0)
    reviewer.wait_for_case()
    task = reviewer.window.review.save_patch(tmp_path / "patches")
    assert task is not None
    reviewer.wait(lambda: not reviewer.page.side.patch_text.isHidden())
    image, labels = (sorted((tmp_path / "patches").glob(f"*_{n}.tif")) for n in ("image", "labels"))
    assert len(image) == len(labels) == 1
    found = reviewer.controller.neighbourhood
    assert found is not None
    stored = tifffile.imread(labels[0])
    assert np.array_equal(tifffile.imread(image[0]), found.grey)
    assert np.array_equal(stored > 0, found.labels > 0)
    z, y, x = (a - b for a, b in zip(run.FIRST, found.box.start, strict=True))
    assert stored[z, y, x] != stored[z, y, x + run.SECOND[2] - run.FIRST[2]]  # as mended
    source = LabPatchSource(tmp_path / "patches", 20.0, 2.0, seed=1, edge=32)
    assert source.scene_count == 1
