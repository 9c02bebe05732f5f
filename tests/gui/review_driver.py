"""A user at the review page of the true window, with mouse and keys."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import reviewed_run as run
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.review.controller import ReviewController
from particleseg_app.units import Box

LEFT = Qt.MouseButton.LeftButton
LONG_MS = 25_000


class Reviewer:
    """A user at the review page."""

    def __init__(self, qtbot: QtBot, window: MainWindow, project: Path) -> None:
        self.qtbot, self.window = qtbot, window
        self.page = window.review_page
        assert window.session.open_project(project)
        self.wait(
            lambda: window.session.shown is not None and window.session.shown.table is not None
        )

    @property
    def controller(self) -> ReviewController:
        assert self.page.controller is not None
        return self.page.controller

    def wait(self, condition: object) -> None:
        self.qtbot.waitUntil(condition, timeout=LONG_MS)  # type: ignore[arg-type]

    def start(self) -> None:
        self.window.actions_.review_action.trigger()
        self.wait_for_case()

    def wait_for_case(self) -> None:
        self.wait(
            lambda: (
                self.controller.neighbourhood is not None
                and self.page.view.shown is self.controller.neighbourhood
                and self.page.slices.view("xy").picture is not None
                and not self.controller.busy
            )
        )

    def wait_for_number(self, number: int | None) -> None:
        self.wait(lambda: self.controller.number == number)
        self.wait_for_case()

    def wait_for_proposal(self) -> None:
        self.wait_for_case()
        self.wait(lambda: self.controller.changes is not None)

    def key(
        self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
    ) -> None:
        self.qtbot.keyClick(self.page.slices.view("xy"), key, modifier)

    def hold(self, key: Qt.Key) -> None:
        """A key that is held down: pressed once, then repeated by the keyboard."""
        view = self.page.slices.view("xy")
        for repeated in (False, True, True, True):
            kind, none = QEvent.Type.KeyPress, Qt.KeyboardModifier.NoModifier
            QApplication.sendEvent(view, QKeyEvent(kind, key, none, "", repeated))

    def labels(self) -> np.ndarray:
        return self.controller.labels.read(Box.whole(run.SHAPE))

    def labels_stored(self) -> np.ndarray:
        """What the run found, before any mend."""
        return run.found_labels()

    def pixel(self, voxel: tuple[float, float, float]) -> QPoint:
        """Where a voxel of the whole scan is seen in the xy view, once its slice is shown."""
        found = self.controller.neighbourhood
        assert found is not None
        z, y, x = (v - a for v, a in zip(voxel, found.box.start, strict=True))
        view = self.page.slices.view("xy")
        if self.page.slices.position[0] != int(z):
            self.page.slices.go_to(int(z), int(y), int(x))
        self.wait(lambda: view.picture is not None and view.picture.index == int(z))
        return view.pixel_at((z + 0.5, y + 0.5, x + 0.5)).toPoint()

    def click(self, voxel: tuple[float, float, float]) -> None:
        self.qtbot.mouseClick(self.page.slices.view("xy").viewport(), LEFT, pos=self.pixel(voxel))

    def drag(self, *voxels: tuple[float, float, float]) -> None:
        port = self.page.slices.view("xy").viewport()
        places = [self.pixel(voxel) for voxel in voxels]
        self.qtbot.mousePress(port, LEFT, pos=places[0])
        for first, second in itertools.pairwise(places):
            for i in range(1, 5):
                step = QPointF(first) + (QPointF(second) - QPointF(first)) * (i / 4)
                self.qtbot.mouseMove(port, step.toPoint())
        self.qtbot.mouseRelease(port, LEFT, pos=places[-1])

    def choose(self, tool: str) -> None:
        self.qtbot.mouseClick(self.page.tools.buttons[tool], LEFT)
        assert self.page.tools.chosen == tool

    def mends(self) -> int:
        return self.controller.journal.mend_count
