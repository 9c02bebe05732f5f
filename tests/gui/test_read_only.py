"""The true window on a project that it may not change: open elsewhere, or nowhere to write to."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import reviewed_run
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot
from review_driver import LONG_MS, Reviewer
from window_driver import Driver

from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.tasks import running_tasks
from particleseg_app.projects import Project

LEFT = Qt.MouseButton.LeftButton
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return reviewed_run.make_project(tmp_path)[0]


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    made = MainWindow()
    made.resize(1280, 800)
    made.show()
    yield made
    made.close()
    qtbot.waitUntil(lambda: not made.isVisible() and not running_tasks(), timeout=LONG_MS)


@pytest.fixture
def held(folder: Path) -> Iterator[Path]:
    """The project, with a lock as another computer leaves it."""
    lock = {
        "pid": 77,
        "host": "lab-pc-3",
        "user": "anna",
        "time": "2026-11-26T12:03:00",
        "process_started": 0.0,
    }
    (folder / ".lock").write_text(json.dumps(lock))
    yield folder


@pytest.fixture
def unwritable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, as on a disk that is read only (for whoever runs the tests)."""

    def refused(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(str(folder))

    def guarded(real: Callable, writes: Callable[..., bool]) -> Callable:
        def call(path: object, *args: object, **options: object) -> object:
            if refused(path) and writes(*args, **options):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, *args, **options)

        return call

    def for_writing(mode: object = "r", *args: object, **options: object) -> bool:
        return any(letter in str(mode) for letter in "wax+")

    monkeypatch.setattr(os, "open", guarded(os.open, lambda flags, *a, **o: bool(flags & WRITING)))
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", guarded(open, for_writing))
    for name in ("mkdir", "unlink", "rmdir", "rename", "replace"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name), lambda *a, **o: True))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def agree(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    window.open_paths([folder])
    question = window.opening.read_only_question
    assert question is not None
    qtbot.mouseClick(question.agree_button, LEFT)
    assert window.opening.read_only_question is None


def wait_for_result(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(
        lambda: window.session.shown is not None and window.session.shown.table is not None,
        timeout=LONG_MS,
    )


def refuses(widget: QWidget) -> bool:
    return not widget.isEnabled() and widget.toolTip() == READ_ONLY


def test_a_project_open_elsewhere_is_asked_about(
    qtbot: QtBot, window: MainWindow, held: Path
) -> None:
    window.open_paths([held])
    question = window.opening.read_only_question
    assert question is not None and question.isVisible()
    assert question.title.text() == "Open the project for reading only?"
    who, _, remedy = question.text.text().partition("12:03. ")
    assert who == "anna has “project” open on lab-pc-3 since 26 November, "
    assert ".lock" in remedy
    qtbot.keyClick(question, Qt.Key.Key_Escape)
    assert window.opening.read_only_question is None and window.session.project is None
    assert window.pages.currentWidget() is window.start_page
    agree(qtbot, window, held)
    wait_for_result(qtbot, window)
    assert window.session.project is not None and window.session.project.read_only
    assert window.read_only_line.text == (
        "Open for reading only: anna has it open on lab-pc-3 since 26 November, 12:03."
    )
    assert "reading only" in window.windowTitle()


def test_it_is_opened_for_changes_once_it_is_closed_elsewhere(
    qtbot: QtBot, window: MainWindow, held: Path
) -> None:
    agree(qtbot, window, held)
    wait_for_result(qtbot, window)
    button = window.read_only_line.changes_button
    qtbot.mouseClick(button, LEFT)
    assert window.opening.read_only_question is None and "lab-pc-3" in window.banner.text
    assert window.session.read_only
    (held / ".lock").unlink()
    qtbot.mouseClick(button, LEFT)
    assert not window.session.read_only and not window.read_only_line.isVisible()
    wait_for_result(qtbot, window)
    assert window.project_page.projects.add_button.isEnabled()
    assert window.project_page.projects.add_button.toolTip() == ""
    assert window.actions_.new_run_action.isEnabled()
    assert "Ctrl" in window.actions_.new_run_action.toolTip()


def test_a_folder_that_cannot_be_written_to_is_opened_without_a_question(
    qtbot: QtBot, window: MainWindow, unwritable: Path
) -> None:
    before = contents(unwritable)
    with pytest.raises(OSError, match="Read-only"):
        (unwritable / "something").write_text("")
    window.open_paths([unwritable])
    assert window.opening.read_only_question is None and not window.banner.isVisible()
    assert window.read_only_line.text.endswith("the project’s folder cannot be written to.")
    wait_for_result(qtbot, window)
    window.review.start()
    qtbot.waitUntil(lambda: window.review_page.controller is not None, timeout=LONG_MS)
    controller = window.review_page.controller
    assert controller is not None and len(controller.cases) == 3
    qtbot.waitUntil(lambda: controller.changes is not None, timeout=LONG_MS)
    window.review.leave()
    assert contents(unwritable) == before


def test_whatever_changes_the_project_is_refused_and_says_why(
    qtbot: QtBot, window: MainWindow, held: Path
) -> None:
    agree(qtbot, window, held)
    wait_for_result(qtbot, window)
    before = contents(held)
    panel, actions = window.project_page.projects, window.actions_
    assert refuses(panel.new_run_button) and refuses(panel.add_button)
    window.project_page.select(reviewed_run.RIGHT)
    for action in (
        actions.new_run_action, actions.open_folder_action, actions.open_file_action,
        actions.mend_action,
    ):  # fmt: skip
        assert not action.isEnabled() and action.toolTip() == READ_ONLY
    for action in (actions.export_action, actions.review_action, actions.close_project_action):
        assert action.isEnabled()
    scan = panel.tree.topLevelItem(0)
    assert scan is not None
    menus = [panel.menu_for(scan), panel.menu_for(scan.child(0)), panel.project_menu()]
    allowed = {a.text() for menu in menus for a in menu.actions() if a.isEnabled() and a.text()}
    refused = {a.text() for menu in menus for a in menu.actions() if not a.isEnabled()}
    assert refused == {
        "New run…", "Rename…", "Remove this scan…", "Remove this run…", "Rename project…",
    }  # fmt: skip
    assert {"Export…", "Close project"} <= allowed
    assert all(a.toolTip() == READ_ONLY for m in menus for a in m.actions() if not a.isEnabled())
    for menu in menus:
        menu.deleteLater()
    for key in (Qt.Key.Key_N, Qt.Key.Key_M, Qt.Key.Key_O):
        qtbot.keyClick(window, key, Qt.KeyboardModifier.ControlModifier)
    assert window.flows.wizard is None and not window.review.active
    assert contents(held) == before


def test_a_scan_dropped_on_it_is_not_taken(qtbot: QtBot, window: MainWindow, held: Path) -> None:
    agree(qtbot, window, held)
    wait_for_result(qtbot, window)
    Driver(qtbot, window, "read_only").drop(held.parent / "slices")
    qtbot.waitUntil(lambda: bool(window.banner.text), timeout=LONG_MS)
    assert "open for reading only, so no scan can be added" in window.banner.text
    assert not any(task.title == "Checking the files" for task in running_tasks())


def test_the_queue_is_looked_through_but_nothing_is_mended(
    qtbot: QtBot, window: MainWindow, folder: Path
) -> None:
    with Project.open(folder) as project:
        run_id = project.runs[0].id
        cases = project.review_paths(run_id).cases
    _lock_by_other(folder)
    agree(qtbot, window, folder)
    wait_for_result(qtbot, window)
    before = contents(folder)
    reviewer = _Reading(qtbot, window)
    reviewer.start()
    reviewer.wait_for_proposal()
    page = reviewer.page
    assert page.card.accept_button.isVisible()
    for widget in (page.card.accept_button, page.card.reject_button, *page.tools.buttons.values()):
        assert refuses(widget)
    queue = page.queue
    assert (
        refuses(queue.undo_button) and refuses(queue.redo_button) and refuses(queue.revert_button)
    )
    for key in (Qt.Key.Key_Return, Qt.Key.Key_R, Qt.Key.Key_Delete, Qt.Key.Key_S):
        reviewer.key(key)
    reviewer.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert reviewer.controller.number == 0 and reviewer.controller.tool is None
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait_for_number(1)
    assert contents(folder) == before
    # Looked for anew, the queue is kept in memory only.
    qtbot.mouseClick(page.find_button, LEFT)
    qtbot.waitUntil(lambda: run_id in window.review.finding.kept, timeout=LONG_MS)
    qtbot.waitUntil(lambda: len(reviewer.controller.cases) > 3, timeout=LONG_MS)
    assert cases.read_bytes() == before[str(cases.relative_to(folder))]
    assert contents(folder) == before


def test_phases_are_looked_at_but_not_applied(qtbot: QtBot, window: MainWindow, held: Path) -> None:
    agree(qtbot, window, held)
    wait_for_result(qtbot, window)
    window.actions_.phases_action.trigger()
    dialog = window.flows.phases_dialog
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.task is None, timeout=LONG_MS)
    assert dialog.proposal is not None
    assert refuses(dialog.apply_button)
    dialog.apply()  # as the Enter key would
    assert dialog.task is None
    dialog.reject()


def test_results_are_exported_elsewhere(
    qtbot: QtBot, window: MainWindow, held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    agree(qtbot, window, held)
    wait_for_result(qtbot, window)
    before = contents(held)
    window.actions_.export_action.trigger()
    dialog = window.flows.export_dialog
    assert dialog is not None and Path(dialog.folder_edit.text()) == home
    qtbot.mouseClick(dialog.export_button, LEFT)
    qtbot.waitUntil(lambda: bool(dialog.files), timeout=LONG_MS)
    assert any(path.suffix == ".csv" for path in home.iterdir())
    dialog.accept()
    assert contents(held) == before
    shutil.rmtree(home)


class _Reading(Reviewer):
    """A user at the review page of a project that is open already."""

    def __init__(self, qtbot: QtBot, window: MainWindow) -> None:
        self.qtbot, self.window = qtbot, window
        self.page = window.review_page


def _lock_by_other(folder: Path) -> None:
    lock = {"pid": 1, "host": "elsewhere", "user": "ben", "time": "", "process_started": 0.0}
    (folder / ".lock").write_text(json.dumps(lock))
