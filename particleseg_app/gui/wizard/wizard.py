"""What is asked before a run, on four pages; a step rail shows where one is."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.guide_window import QUESTIONS, show_guide
from particleseg_app.gui.style import button, label, line, row
from particleseg_app.gui.tasks import when_ended
from particleseg_app.gui.wizard.diameter_page import DiameterPage
from particleseg_app.gui.wizard.method_page import MethodPage
from particleseg_app.gui.wizard.page import Answers, Draft, WizardPage, WizardScan
from particleseg_app.gui.wizard.scan_page import ScanPage
from particleseg_app.gui.wizard.voxel_size_page import VoxelSizePage

RAIL_WIDTH = 190


class SegmentationWizard(QDialog):
    """Emits `answered` with the run's settings when the user starts the run.

    `draft` holds what was entered, once it is left without a run.
    """

    answered = Signal(dict)
    scan_released = Signal()  # nothing of the wizard reads the scan any more

    def __init__(
        self,
        wizard_scan: WizardScan,
        parent: QWidget | None = None,
        draft: Draft | None = None,
    ) -> None:
        """`draft`: of a wizard on the same scan that was left before."""
        super().__init__(parent)
        self.setWindowTitle(f"New run – {wizard_scan.name}")
        self.setSizeGripEnabled(True)
        self.answers = Answers(wizard_scan.voxel_size_um, wizard_scan.particle_diameter_um)
        self.scan_page = ScanPage(wizard_scan)
        self.voxel_size_page = VoxelSizePage(wizard_scan, self.answers)
        self.diameter_page = DiameterPage(wizard_scan, self.answers)
        self.method_page = MethodPage(wizard_scan, self.answers)
        self.pages: tuple[WizardPage, ...] = (
            self.scan_page,
            self.voxel_size_page,
            self.diameter_page,
            self.method_page,
        )
        self._rail = _StepRail([page.step for page in self.pages])
        self._title, self._subtitle = label("", "title"), label("", "muted", wrap=True)
        self._stack = QStackedWidget()
        for page in self.pages:
            self._stack.addWidget(page)
            page.changed.connect(self._show_state)
        self._problem = label("", "muted")
        self.cancel_button = button("Cancel", self.reject)
        self.back_button = button("Back", self.back)
        self.next_button = button("Next", self.forward, primary=True)
        for quiet in (self.cancel_button, self.back_button):
            quiet.setAutoDefault(False)
        self.next_button.setDefault(True)
        QShortcut(QKeySequence("F1"), self, lambda: show_guide(self, QUESTIONS))
        head = QVBoxLayout()
        head.setSpacing(4)
        head.addWidget(self._title)
        head.addWidget(self._subtitle)
        right = QVBoxLayout()
        right.setContentsMargins(28, 22, 28, 16)
        right.setSpacing(16)
        right.addLayout(head)
        right.addWidget(self._stack, 1)
        right.addWidget(line())
        footer = row(self._problem, None, self.cancel_button, 12, self.back_button)
        footer.addWidget(self.next_button)
        right.addLayout(footer)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._rail)
        layout.addLayout(right, 1)
        room = self.screen().availableSize() if self.screen() else None
        width, height = 1160, 760
        if room is not None:
            width = min(max(width, room.width() * 6 // 10), room.width() - 40, 1500)
            height = min(max(height, room.height() * 7 // 10), room.height() - 60, 1000)
        self.resize(width, height)
        self.setMinimumSize(1000, 620)  # the last page needs that width
        self._current = -1
        self.draft: Draft = draft or {}
        self.expected_s: float | None = None  # of the run that is asked for
        if draft is not None:
            for page in self.pages:
                page.take_draft(draft)
        self.go_to(0)

    @property
    def current(self) -> int:
        return self._current

    def go_to(self, number: int) -> None:
        if self._current >= 0:
            self.pages[self._current].leave()
        self._current = number
        page = self.pages[number]
        self._rail.set_current(number)
        self._title.setText(page.title)
        self._subtitle.setText(page.subtitle)
        self._stack.setCurrentIndex(number)
        self.next_button.setFocus()
        if page is self.voxel_size_page:
            self.diameter_page.look_for_particles()  # while the user looks for the voxel size
        elif page is self.method_page:
            self.diameter_page.interrupt()  # it measures time: nothing may work beside it
        page.enter()
        self._show_state()

    def back(self) -> None:
        if self._current > 0:
            self.go_to(self._current - 1)

    def forward(self) -> None:
        """Go on when this page's answer is valid; from the last page, start the run."""
        if self.pages[self._current].problem():
            return
        if self._current + 1 < len(self.pages):
            self.go_to(self._current + 1)
            return
        unanswered = next((n for n, page in enumerate(self.pages) if page.problem()), None)
        if unanswered is not None:
            self.go_to(unanswered)
            return
        self.accept()

    def settings(self) -> dict[str, Any]:
        return self.answers.settings()

    def done(self, result: int) -> None:
        self.draft = {key: value for page in self.pages for key, value in page.draft().items()}
        self.expected_s = self.method_page.expected_s
        still_reading = [task for page in self.pages for task in page.stop()]
        when_ended(still_reading, self.scan_released.emit)
        super().done(result)
        if result == QDialog.DialogCode.Accepted:
            self.answered.emit(self.settings())

    def _show_state(self) -> None:
        page = self.pages[self._current]
        problem = page.problem()
        last = self._current + 1 == len(self.pages)
        self._problem.setText(problem)
        self.next_button.setText("Start segmentation" if last else "Next")
        self.next_button.setEnabled(not problem)
        self.back_button.setEnabled(self._current > 0)


class _StepRail(QFrame):
    """The steps by name on the left; those done are ticked."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self.setFixedWidth(RAIL_WIDTH)
        self.setObjectName("rail")
        self._current = 0
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 28, 16, 20)
        layout.setSpacing(18)
        self._labels: list[tuple[QLabel, QLabel]] = []
        for step in steps:
            number, name = QLabel(), QLabel(step)
            number.setFixedSize(26, 26)
            number.setAlignment(Qt.AlignmentFlag.AlignCenter)
            layout.addLayout(row(number, name, None, spacing=10))
            self._labels.append((number, name))
        layout.addStretch(1)
        theme.notifier.changed.connect(self._colour)
        self._colour()

    def set_current(self, number: int) -> None:
        self._current = number
        self._colour()

    def _colour(self) -> None:
        colours = theme.current()
        self.setStyleSheet(
            f"#rail {{background: {colours.panel}; border: none;"
            f" border-right: 1px solid {colours.border}}}"
        )
        for place, (number, name) in enumerate(self._labels):
            done, here = place < self._current, place == self._current
            number.setText("✓" if done else str(place + 1))
            front = colours.accent_text if here else colours.accent if done else colours.muted
            back = colours.accent if here else "transparent"
            edge = colours.accent if here or done else colours.border
            number.setStyleSheet(
                f"color: {front}; background: {back}; border: 1px solid {edge};"
                "border-radius: 13px; font-weight: 600"
            )
            name.setStyleSheet(
                f"color: {colours.text if here or done else colours.muted};"
                f"font-weight: {600 if here else 400}"
            )
