"""The review of a run: the queue on the left, the case in the middle, answers and tools right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPushButton,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.question import Question
from particleseg_app.gui.review.case_texts import gone_texts, mending_text, who_text
from particleseg_app.gui.review.case_view import CaseView
from particleseg_app.gui.review.controller import ReviewController
from particleseg_app.gui.review.drawing_tool import DrawingTool
from particleseg_app.gui.review.mending_work import proposed_parts
from particleseg_app.gui.review.queue_panel import QueuePanel
from particleseg_app.gui.review.side_column import SIDE_WIDTH, SideColumn
from particleseg_app.gui.review.tool_panel import TOOLS
from particleseg_app.gui.review.tool_use import ToolUse
from particleseg_app.gui.style import button, line
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.viewers import OrthosliceView
from particleseg_app.units import Box

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.slice_reader import GreyStatisticsLike
    from particleseg_app.review.entries import JournalEntry

LEFT_WIDTH = 280
WORTH_A_WORD_MS = 700
AT_ONCE_S = 0.02
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
        self._finding = self._searched = False
        self.queue = QueuePanel()
        self.view = CaseView()
        self.side = SideColumn()
        self.card, self.end_card, self.tools = self.side.card, self.side.end_card, self.side.tools
        self._tool_use = ToolUse(self.tools, self.drawing, self)
        self.revert_question: Question | None = None
        self._slow = QTimer(self)  # a proposal that is there at once is not announced
        self._slow.setSingleShot(True)
        self._slow.setInterval(WORTH_A_WORD_MS)
        self._slow.timeout.connect(self._show_waiting)
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
        self.back_button = button("Back to the results", self.left_wanted.emit)
        self.back_button.setToolTip("Esc")
        self.find_button = button("Look for doubtful particles", self.queue_wanted.emit)
        for each in (self.back_button, self.find_button):
            each.setFocusPolicy(Qt.FocusPolicy.TabFocus)
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
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        for part in (left, self.view, self.side):
            self.splitter.addWidget(part)
        for place, stretch in enumerate((0, 1, 0)):
            self.splitter.setStretchFactor(place, stretch)
            self.splitter.setCollapsible(place, False)
        self.splitter.setSizes([LEFT_WIDTH, 800, SIDE_WIDTH])
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.splitter)

    def _connect(self) -> None:
        self.card.accepted.connect(lambda: self._tell(lambda c: c.accept()))
        self.card.rejected.connect(lambda: self._tell(lambda c: c.reject()))
        self.card.next_wanted.connect(lambda: self._tell(lambda c: c.next()))
        self.card.previous_wanted.connect(lambda: self._tell(lambda c: c.previous()))
        self.end_card.left_wanted.connect(self.left_wanted)
        self.end_card.next_wanted.connect(lambda: self._tell(lambda c: c.next()))
        self.side.patch_button.clicked.connect(lambda _checked: self.patch_wanted.emit())
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
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            keys[key] = self._press_or_confirm
        keys[Qt.Key.Key_A] = self.confirm
        for key in (Qt.Key.Key_N, Qt.Key.Key_Space):
            keys[key] = lambda: self._tell(lambda c: c.next())
        for spec in TOOLS:
            if len(spec.key) == 1:
                key = Qt.Key(ord(spec.key))
                keys[key] = lambda name=spec.name: self._tool_use.toggle(name)  # type: ignore[misc]
        return keys

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Keys that nothing inside the page wanted for itself.

        A key that is held down answers once only, or it would answer what nobody looked at; and
        one that leads on stops where the doubtful cases end.
        """
        at_end = self.controller is not None and bool(self.controller.end)
        if event.isAutoRepeat() and (at_end or event.key() not in REPEATED_KEYS):
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

    def focusNextPrevChild(self, following: bool) -> bool:  # noqa: N802
        """Where the keyboard goes from a button that is switched off or hidden while it has it: to
        the pictures, never to the answer beside it, which Enter would give next."""
        focused = self.window().focusWidget()
        here = focused is not None and self.isAncestorOf(focused)
        if focused is not None and here and not (focused.isEnabled() and focused.isVisible()):
            self.slices.setFocus()
            return True
        return super().focusNextPrevChild(following)

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
        self.queue.cases.fold_button.setChecked(False)
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

    def end(self) -> Task | None:
        """Let go of the review. Its files may be closed when the task returned has ended, at once
        where there is none: what was asked for last may take long."""
        controller = self.controller
        self.controller = self._tool_use.controller = None
        self.view.clear()
        if controller is None:
            return None
        controller.stop()
        if controller.wait(AT_ONCE_S):
            controller.deleteLater()
            return None
        task = Task("Ending the review", lambda _progress, _cancel: controller.wait())
        task.ended.connect(controller.deleteLater)
        return task.start()

    def stop(self) -> None:
        """End the views' own threads; before the program ends."""
        self.end()
        self.view.stop()

    def set_diameters(self, diameters_um: dict[int, float]) -> None:
        self._diameters = diameters_um
        self._show_case()

    def set_finding(self, finding: bool, searched: bool = False) -> None:
        """Whether doubtful particles are being looked for, and whether they were before."""
        self._finding, self._searched = finding, searched
        self.find_button.setEnabled(not finding)
        self.queue.show_finding(finding)
        self._show_case()

    def say_saved(self, text: str) -> None:
        """Where a training patch was saved; empty for nothing."""
        self.side.patch_text.setText(text)
        self.side.patch_text.setVisible(bool(text))

    def set_estimate(self, text: str) -> None:
        self.queue.show_estimate(text)

    # --- what is shown -------------------------------------------------------------------------

    def _show_queue(self) -> None:
        controller = self.controller
        if controller is not None:
            self.queue.show_cases(
                controller.cases, controller.states, controller.number, controller.doubtful
            )
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
            self.card.show_steps(controller.has_previous)

    def _show_case(self) -> None:
        controller = self.controller
        if controller is None:
            return
        case, particles = controller.case, controller.particles
        title, who = self._texts(controller)
        self.card.show_case(
            case,
            who,
            controller.state,
            proposal=self._has_proposal() and controller.answerable,
            parts=self._parts(controller),
            beside=controller.doubts_beside,
            read_only=controller.journal.read_only,
            title=title,
        )
        self._show_end(controller)
        self.card.reject_button.setEnabled(controller.answerable and controller.state != "rejected")
        self._show_steps()
        self.queue.cases.choose(controller.number)
        self._tool_use.show_case()
        self.side.keys_text.setVisible(case is not None and not controller.end)
        self.side.patch_button.setVisible(case is not None or bool(particles))
        if case is None and not particles:
            self.view.clear()

    def _show_end(self, controller: ReviewController) -> None:
        """Say that the doubtful cases, or all, have been seen, in place of a case."""
        ended = bool(controller.end)
        if ended:
            self.end_card.show_end(
                controller.end,
                controller.doubtful,
                len(controller.cases) - controller.doubtful,
                0 if controller.journal.read_only else controller.unanswered,
            )
        self.end_card.setVisible(ended)
        self.card.setVisible(not ended)

    def _texts(self, controller: ReviewController) -> tuple[str, str]:
        """What is said in place of a question where there is no case, and of the particles."""
        particles = controller.particles
        if not particles:
            if self._finding:
                return "Looking for doubtful particles", ""
            none = "No doubtful particles were found" if self._searched else "Not looked for yet"
            return none, ""
        if controller.gone and controller.case is None:
            return gone_texts(particles, controller.can_redo)
        who = who_text(particles, self._diameters)
        return mending_text(particles), f"{who}, not there any more" if controller.gone else who

    def _has_proposal(self) -> bool:
        controller = self.controller
        return controller is not None and controller.tool is None and bool(controller.changes)

    def _parts(self, controller: ReviewController) -> int:
        """How many parts the proposal makes of the particle of the case shown."""
        if controller.case is None:
            return 0
        proposed = controller.changes if controller.tool is None else None
        return proposed_parts(controller.case, proposed)

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
            self._show_case()  # it is known now whether the particles are there
            self._slow.start()

    def _show_waiting(self) -> None:
        """Say that a proposal is being worked out, which may take long on first use."""
        controller = self.controller
        case = None if controller is None or controller.tool else controller.case
        waits = case is not None and controller is not None and controller.pending
        self.card.waiting.setVisible(waits and not self._slow.isActive())

    def _show_preview(self) -> None:
        controller = self.controller
        self._show_waiting()
        if controller is None:
            return
        self.view.show_changes(controller.neighbourhood, controller.changes, controller.particles)
        self._tool_use.show_preview()
        case = controller.case
        if case is not None:
            proposal = self._has_proposal() and controller.answerable
            self.card.show_proposal(case, proposal, self._parts(controller))

    # --- what the user does --------------------------------------------------------------------

    def _press_or_confirm(self) -> None:
        """Enter: press the button that has the keyboard, else `confirm`."""
        focused = self.window().focusWidget()
        if isinstance(focused, QPushButton | QToolButton) and self.isAncestorOf(focused):
            focused.click()
        else:
            self.confirm()

    def confirm(self) -> None:
        """Apply the tool's preview, else accept what the case proposes."""
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
        self.revert_question = Question(
            "Go back to the segmentation as it was before any mend?",
            "This is one more step of the history and can be undone.",
            "Go back",
            self,
        )
        self.revert_question.ask(
            lambda: self._tell(lambda c: c.revert()),
            lambda: setattr(self, "revert_question", None),
        )

    def _on_journal(self, box: Box, labels: frozenset[int]) -> None:
        self._show_history()
        self.mended.emit(box, labels)

    def _tell(self, act: Callable[[ReviewController], object]) -> None:
        if self.controller is not None:
            act(self.controller)
