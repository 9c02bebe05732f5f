"""Drives the true window as a user does, and keeps a picture of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.tasks import running_tasks
from particleseg_app.gui.wizard import SegmentationWizard

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts" / "gui"
LONG_MS = 120_000


@contextmanager
def results_of(qtbot: QtBot, project: Path) -> Iterator[MainWindow]:
    """A window of 1280 × 800 that shows the first results of a project; closed in the end."""
    window = MainWindow()
    window.session.failed.connect(lambda error: pytest.fail(f"failed: {error!r}"))
    window.resize(1280, 800)
    window.show()
    assert window.session.open_project(project)
    qtbot.waitUntil(
        lambda: window.session.shown is not None and window.session.shown.table is not None,
        timeout=LONG_MS,
    )
    yield window
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible() and not running_tasks(), timeout=LONG_MS)


def filtered(window: MainWindow, text: str) -> None:
    """Type a filter for the particle table."""
    table = window.project_page.table
    table.filter_box.setText(text)
    table.apply_filter()


class Driver:
    def __init__(self, qtbot: QtBot, window: MainWindow, name: str) -> None:
        self.qtbot = qtbot
        self.window = window
        self._name = name
        self._number = 0

    def picture(self, step: str, widget: QWidget | None = None) -> Path:
        self.qtbot.wait(150)
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{self._name}_{self._number:02d}_{step}.png"
        self._number += 1
        assert (widget or self.window).grab().save(str(path))
        return path

    def drop(self, *paths: Path) -> None:
        """Real drag and drop events, as a file manager causes them."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        copy = Qt.DropAction.CopyAction
        entering = QDragEnterEvent(QPointF(200, 200).toPoint(), copy, mime, left, none)
        self.window.dragEnterEvent(entering)
        assert entering.isAccepted()
        dropping = QDropEvent(QPointF(200, 200), copy, mime, left, none)
        self.window.dropEvent(dropping)
        assert dropping.isAccepted()

    def make_project(self, scan: Path, name: str) -> None:
        """Drop a scan on the start page and agree to make a project for it."""
        self.drop(scan)
        self.wait(lambda: self.window.opening.new_project_dialog is not None)
        dialog = self.window.opening.new_project_dialog
        assert dialog is not None
        dialog.name_edit.setText(name)
        self.picture("new_project", dialog)
        self.qtbot.mouseClick(dialog.create_button, Qt.MouseButton.LeftButton)

    def wizard(self) -> SegmentationWizard:
        self.wait(lambda: self.window.flows.wizard is not None)
        wizard = self.window.flows.wizard
        assert wizard is not None
        return wizard

    def next(self) -> None:
        wizard = self.wizard()
        self.wait(wizard.next_button.isEnabled)
        self.qtbot.mouseClick(wizard.next_button, Qt.MouseButton.LeftButton)

    def answer_wizard(
        self, diameter_um: float = 120.0, classical: bool = True, model: str = ""
    ) -> None:
        """Answer all pages; `model` is a name in the list, the one proposed when empty."""
        wizard = self.wizard()
        self.picture("wizard_scan", wizard)
        self.next()
        self.picture("wizard_voxel_size", wizard)
        self.qtbot.mouseClick(wizard.voxel_size_page.use_button, Qt.MouseButton.LeftButton)
        self.next()
        wizard.diameter_page.field.edit.setText(f"{diameter_um:g}")
        self.picture("wizard_diameter", wizard)
        self.next()
        page = wizard.method_page
        self.wait(lambda: page.models_known)
        if classical:
            page.classical_button.click()
        elif model:
            box = page.model_chooser.box
            box.setCurrentIndex(box.findData(model))
        self.wait(lambda: page.cost.estimate_shown is not None)
        self.picture("wizard_method", wizard)
        self.next()

    def wait_for_result(self) -> None:
        session = self.window.session
        self.wait(lambda: session.shown is not None and session.shown.table is not None)

    def wait(self, condition: Callable[[], bool | None]) -> None:
        self.qtbot.waitUntil(condition, timeout=LONG_MS)

    def close(self) -> None:
        self.window.close()
        self.wait(lambda: not self.window.isVisible())
