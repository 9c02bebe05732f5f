"""Fixtures of the window's tests: own settings, no leaked threads, small made-up results."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import reviewed_run
from made_up_results import made_up_table
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from review_driver import LONG_MS, Reviewer
from window_driver import results_of

from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.tasks import running_tasks, stop_all_tasks


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own settings and models are never touched."""
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "user data"))
    folder = tmp_path / "settings"
    monkeypatch.setenv("PARTICLESEG_CONFIG_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    leaked = running_tasks()
    stop_all_tasks(20_000)
    assert not leaked, f"tasks left running: {[task.title for task in leaked]}"
    after = [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.daemon and thread.is_alive()
    ]
    assert not after, f"threads left running: {after}"


@pytest.fixture(autouse=True)
def no_windows_kept(no_leaked_threads: None) -> Iterator[None]:
    """A window of an earlier test would be restyled whenever a later one changes the theme."""
    yield
    for widget in QApplication.topLevelWidgets():
        if isinstance(widget, MainWindow) and not widget.isVisible():
            widget.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    """The window with the results of a small made-up run."""
    project, _ = reviewed_run.make_project(tmp_path)
    with results_of(qtbot, project) as shown:
        yield shown


@pytest.fixture
def table() -> pd.DataFrame:
    return made_up_table(340)


@pytest.fixture
def reviewer(qtbot: QtBot, tmp_path: Path) -> Iterator[Reviewer]:
    project, _ = reviewed_run.make_project(tmp_path)
    window = MainWindow()
    window.session.failed.connect(lambda error: pytest.fail(f"failed: {error!r}"))
    window.resize(1280, 800)
    window.show()
    yield Reviewer(qtbot, window, project)
    window.close()
    # What a mend has set going (the table, the colours) is part of it.
    qtbot.waitUntil(lambda: not window.isVisible() and not running_tasks(), timeout=LONG_MS)
