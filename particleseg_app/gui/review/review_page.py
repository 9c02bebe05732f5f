"""The review of a run: the queue on the left, the case in the middle, answers and tools right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.review.case_card import CaseCard, who_text
from particleseg_app.gui.review.case_view import CaseView
from particleseg_app.gui.review.controller import ReviewController
from particleseg_app.gui.review.drawing_tool import DrawingTool
from particleseg_app.gui.review.queue_panel import QueuePanel
from particleseg_app.gui.review.revert_question import RevertQuestion
from particleseg_app.gui.review.tool_panel import TOOLS, ToolPanel
from particleseg_app.gui.review.tool_use import ToolUse
from particleseg_app.gui.style import button, label, line
from particleseg_app.gui.viewers import OrthosliceView
from particleseg_app.units import Box

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.slice_reader import GreyStatisticsLike
    from particleseg_app.review.entries import JournalEntry

LEFT_WIDTH, RIGHT_WIDTH = 280, 364
REPEATED_KEYS = (Qt.Key.Key_N, Qt.Key.Key_P, Qt.Key.Key_Space)


class ReviewPage(QWidget):
    """Shows what a `ReviewController` knows, and tells it what the user wants.

    `left_wanted` when the review is to be left; `mended` with box and labels after each change.
    """

    left_wanted = Signal()
    mended = Signal(object, object)
    failed = Signal(object)
    queue_wanted = Signal()  # the cases are to be found (again)
    patch_wanted = Signal()  # what is shown is to be kept for training

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller: ReviewController | None = None
        self._diameters: dict[int, float] = {}
        self._finding = False
        self.queue = QueuePanel()
        self.view = CaseView()
        self.card = CaseCard()
        self.tools = ToolPanel()
        self._tool_use = ToolUse(self.tools, self.drawing, self)
        self.revert_question: RevertQuestion | None = None
        self._build()
        self._connect()
        self._keys = self._actions_of_keys()

    @property
    def slices(self) -> OrthosliceView:
        return self.view.slices

    @property
    def drawing(self) -> DrawingTool:
        return self.view.drawing

    def _build(self) -> None:
        self.back_button = button("Back to the results", self.left_wanted.emit, icon_name="undo")
        self.back_button.setToolTip("Esc")
        self.find_button = button("Look for doubtful particles", self.queue_wanted.emit)
        left = QFrame()
        left.setProperty("role", "bar")
        left_layout = QVBoxLayout(left)
        left_layout.setContentsMargins(0, 0, 0, 0)
        left_layout.setSpacing(0)
        left_layout.addWidget(self.queue, 1)
        left_layout.addWidget(line())
        foot = QVBoxLayout()
        foot.setContentsMargins(12, 10, 12, 12)
        foot.setSpacing(6)
        foot.addWidget(self.find_button)
        foot.addWidget(self.back_button)
        left_layout.addLayout(foot)
        left.setMinimumWidth(240)
        right = QFrame()
        right.setProperty("role", "bar")
        inside = QWidget()
        inside_layout = QVBoxLayout(inside)
        inside_layout.setContentsMargins(10, 10, 10, 10)
        inside_layout.setSpacing(10)
        inside_layout.addWidget(self.card)
        inside_layout.addWidget(self.tools)
        self.keys_text = label(
            "Enter accept · R right as it is · N next · P previous · Ctrl+Z undo",
            "muted",
            wrap=True,
        )
        inside_layout.addWidget(self.keys_text)
        self.patch_button = button("Save as training patch…", self.patch_wanted.emit, quiet=True)
        self.patch_button.setToolTip(
            "Keep what is shown, with its labels, for training a model of your own"
        )
        self.patch_text = label("", "success", wrap=True)
        self.patch_text.hide()
        inside_layout.addWidget(self.patch_button)
        inside_layout.addWidget(self.patch_text)
        inside_layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        scroll.setStyleSheet(
            "QScrollArea, QScrollArea > QWidget > QWidget {background: transparent}"
        )
        right_layout = QVBoxLayout(right)
        right_layout.setContentsMargins(0, 0, 0, 0)
        right_layout.addWidget(scroll)
        right.setMinimumWidth(364)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        for part in (left, self.view, right):
            self.splitter.addWidget(part)
        for place, stretch in enumerate((0, 1, 0)):
            self.splitter.setStretchFactor(place, stretch)
            self.splitter.setCollapsible(place, False)
        self.splitter.setSizes([LEFT_WIDTH, 800, RIGHT_WIDTH])
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.splitter)

    def _connect(self) -> None:
        self.card.accepted.connect(lambda: self._tell(lambda c: c.accept()))
        self.card.rejected.connect(lambda: self._tell(lambda c: c.reject()))
        self.card.next_wanted.connect(lambda: self._tell(lambda c: c.next()))
        self.card.previous_wanted.connect(lambda: self._tell(lambda c: c.previous()))
        self.queue.case_chosen.connect(lambda number: self._tell(lambda c: c.show_case(number)))
        self.queue.undo_wanted.connect(lambda: self._tell(lambda c: c.undo()))
        self.queue.redo_wanted.connect(lambda: self._tell(lambda c: c.redo()))
        self.queue.revert_wanted.connect(self._ask_before_revert)
        self.queue.entry_chosen.connect(self._show_entry)

    def _actions_of_keys(self) -> dict[Qt.Key, Callable[[], object]]:
        keys: dict[Qt.Key, Callable[[], object]] = {
            Qt.Key.Key_R: lambda: self._tell(lambda c: c.reject()),
            Qt.Key.Key_P: lambda: self._tell(lambda c: c.previous()),
            Qt.Key.Key_Escape: self.step_back,
            Qt.Key.Key_Delete: self._tool_use.take_back_or_delete,
        }
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_A):
            keys[key] = self.confirm
        for key in (Qt.Key.Key_N, Qt.Key.Key_Space):
            keys[key] = lambda: self._tell(lambda c: c.next())
        for spec in TOOLS:
            if len(spec.key) == 1:
                key = Qt.Key(ord(spec.key))
                keys[key] = lambda name=spec.name: self._tool_use.toggle(name)  # type: ignore[misc]
        return keys

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Keys that nothing inside the page wanted for itself.

        A key that is held down answers once only, or it would answer what nobody looked at.
        """
        if event.isAutoRepeat() and event.key() not in REPEATED_KEYS:
            event.accept()
            return
        act = self._keys.get(Qt.Key(event.key()))
        plain = event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )
        if event.matches(QKeySequence.StandardKey.Undo):
            self._tell(lambda c: c.undo())
        elif event.matches(QKeySequence.StandardKey.Redo):
            self._tell(lambda c: c.redo())
        elif act is not None and plain:
            act()
        else:
            super().keyPressEvent(event)

    # --- beginning and end ---------------------------------------------------------------------

    def begin(
        self,
        controller: ReviewController,
        statistics: GreyStatisticsLike,
        voxel_size_um: float | None,
        diameters_um: dict[int, float],
        window: tuple[float, float] | None = None,
    ) -> None:
        """Show this review; `diameters_um` are the particles' sizes, `statistics` the scan's."""
        self.end()
        self.controller = self._tool_use.controller = controller
        self.view.set_scan(statistics, voxel_size_um, window, controller.labels.shape)
        self._diameters = diameters_um
        self.tools.set_voxel_size(voxel_size_um)
        controller.case_changed.connect(self._show_case)
        controller.neighbourhood_changed.connect(self._show_neighbourhood)
        controller.preview_changed.connect(self._show_preview)
        controller.cases_changed.connect(self._show_queue)
        controller.journal_changed.connect(self._on_journal)
        controller.journal_stepped.connect(self._show_history)
        controller.failed.connect(self.failed)
        self._show_queue()
        self._show_history()
        self._show_case()
        self.slices.setFocus()

    def end(self) -> None:
        """Let go of the review; its files may be closed afterwards."""
        if self.controller is not None:
            self.controller.stop()
            self.controller.deleteLater()
        self.controller = self._tool_use.controller = None
        self.view.clear()

    def stop(self) -> None:
        """End the views' own threads; before the program ends."""
        self.end()
        self.view.stop()

    def set_diameters(self, diameters_um: dict[int, float]) -> None:
        self._diameters = diameters_um
        self._show_case()

    def set_finding(self, finding: bool) -> None:
        """Whether doubtful particles are being looked for."""
        self._finding = finding
        self.find_button.setEnabled(not finding)
        self.queue.show_finding(finding)
        self._show_case()

    def say_saved(self, text: str) -> None:
        """Where a training patch was saved; empty for nothing."""
        self.patch_text.setText(text)
        self.patch_text.setVisible(bool(text))

    def set_estimate(self, text: str) -> None:
        self.queue.show_estimate(text)

    # --- what is shown -------------------------------------------------------------------------

    def _show_queue(self) -> None:
        controller = self.controller
        if controller is not None:
            self.queue.show_cases(controller.cases, controller.states, controller.number)
            found = bool(controller.cases)
            self.find_button.setText(
                "Look for doubtful particles again" if found else "Look for doubtful particles"
            )
            self._show_steps()

    def _show_history(self) -> None:
        controller = self.controller
        if controller is not None:
            journal = controller.journal
            self.queue.show_history(
                journal.entries(),
                controller.can_undo,
                controller.can_redo,
                journal.mend_count,
                journal.read_only,
            )

    def _show_steps(self) -> None:
        controller = self.controller
        if controller is not None:
            self.card.show_steps(controller.has_previous, controller.has_next)

    def _show_case(self) -> None:
        controller = self.controller
        if controller is None:
            return
        case, particles = controller.case, controller.particles
        who = who_text(particles, self._diameters) if particles else ""
        self.card.show_case(
            case,
            who,
            controller.state,
            proposal=self._has_proposal() and controller.answerable,
            beside=controller.doubts_beside,
            read_only=controller.journal.read_only,
            nothing=self._nothing_text(controller),
        )
        self.card.reject_button.setEnabled(controller.answerable and controller.state != "rejected")
        self._show_steps()
        self.queue.queue.choose(controller.number)
        self._tool_use.show_case()
        for widget in (self.keys_text, self.patch_button):
            widget.setVisible(case is not None or bool(particles))
        if case is None and not particles:
            self.view.clear()

    def _nothing_text(self, controller: ReviewController) -> str:
        if self._finding:
            return "Looking for doubtful particles"
        return "Nothing left to look at" if controller.cases else "No doubtful particles yet"

    def _has_proposal(self) -> bool:
        controller = self.controller
        return controller is not None and controller.tool is None and bool(controller.changes)

    def _show_neighbourhood(self) -> None:
        controller = self.controller
        if controller is not None and controller.neighbourhood is not None:
            self.say_saved("")
            case = controller.case
            self.view.show_place(
                controller.neighbourhood,
                controller.particles,
                None if case is None else case.centre,
            )

    def _show_preview(self) -> None:
        controller = self.controller
        if controller is None:
            return
        self.view.show_changes(controller.neighbourhood, controller.changes, controller.particles)
        self._tool_use.show_preview()
        self.card.accept_button.setEnabled(self._has_proposal() and controller.answerable)

    # --- what the user does --------------------------------------------------------------------

    def confirm(self) -> None:
        """Enter: apply the tool's preview, else accept what the case proposes."""
        if self.controller is not None:
            if self.controller.tool is not None:
                self.controller.apply()
            else:
                self.controller.accept()

    def step_back(self) -> None:
        """Escape: drop the drawing, then the tool, then leave the review."""
        if not self._tool_use.put_down():
            self.left_wanted.emit()

    def _show_entry(self, entry: JournalEntry) -> None:
        """Go to the place of an earlier mend."""
        labels = entry.labels_after or entry.labels_before
        if labels:
            self._tell(lambda c: c.show_particles(labels, entry.box))

    def _ask_before_revert(self) -> None:
        if self.controller is None or self.revert_question is not None:
            return
        box = RevertQuestion(self)
        self.revert_question = box

        def on_answer() -> None:
            self.revert_question = None
            if box.clickedButton() is box.agree_button:
                self._tell(lambda c: c.revert())
            box.deleteLater()

        box.finished.connect(lambda _result: on_answer())
        box.open()

    def _on_journal(self, box: Box, labels: frozenset[int]) -> None:
        self._show_history()
        self.mended.emit(box, labels)

    def _tell(self, act: Callable[[ReviewController], object]) -> None:
        if self.controller is not None:
            act(self.controller)
