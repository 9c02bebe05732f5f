"""What is asked about one case: the question, how sure it is, the evidence, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.review.case_texts import (
    STATES,
    answer_text,
    beside_text,
    likelihood_text,
    question_text,
)
from particleseg_app.gui.style import Card, button, label, row

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

STRONG, MEDIUM = 0.6, 0.25
LIKELY = 0.5  # from here on the proposal is the answer that is offered first


def likelihood_colour(probability: float) -> QColor:
    """Colour of how probable an error is, in the present theme."""
    colours = theme.current()
    if probability >= STRONG:
        return QColor(colours.error)
    return QColor(colours.warning if probability >= MEDIUM else colours.muted)


class LikelihoodBar(QWidget):
    """A thin bar, filled as far as an error is probable."""

    def __init__(self) -> None:
        super().__init__()
        self._probability = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.notifier.changed.connect(self.update)

    def set_probability(self, probability: float) -> None:
        self._probability = probability
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(80, 6)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        whole = QRectF(0, 0, self.width(), self.height())
        painter.setBrush(QColor(theme.current().raised))
        painter.drawRoundedRect(whole, 3, 3)
        painter.setBrush(likelihood_colour(self._probability))
        filled = QRectF(0, 0, max(6.0, self.width() * self._probability), self.height())
        painter.drawRoundedRect(filled, 3, 3)


class CaseCard(Card):
    """Signals say which answer was given: `accepted`, `rejected`, `next_wanted`, …"""

    accepted = Signal()
    rejected = Signal()
    next_wanted = Signal()
    previous_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(margin=14)
        self.question = label("", "heading", wrap=True)
        self._who = label("", "muted", wrap=True)
        self._bar = LikelihoodBar()
        self._likelihood = label("", "muted")
        self._evidence = label("", wrap=True)
        self.beside = label("", "muted", wrap=True)
        self.state = label("", "success", wrap=True)
        self.waiting = label("Working out the proposal…", "muted")
        self.waiting.hide()
        self.accept_button = button("", self.accepted.emit, primary=True)
        self.reject_button = button("Right as it is", self.rejected.emit)
        self.previous_button = button("Previous", self.previous_wanted.emit, quiet=True)
        self.next_button = button("Next", self.next_wanted.emit, quiet=True)
        self.accept_button.setToolTip("Enter")
        self.reject_button.setToolTip("R")
        self.previous_button.setToolTip("P")
        self.next_button.setToolTip("N")
        for each in (
            self.accept_button, self.reject_button, self.previous_button, self.next_button,
        ):  # fmt: skip
            # A click leaves the keyboard where it was, so that Enter goes on accepting.
            each.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        answers = QVBoxLayout()
        answers.setSpacing(6)
        answers.addWidget(self.accept_button)
        answers.addWidget(self.reject_button)
        steps = QHBoxLayout()
        steps.addWidget(self.previous_button)
        steps.addStretch(1)
        steps.addWidget(self.next_button)
        self.body.addWidget(self.question)
        self.body.addWidget(self._who)
        self.body.addLayout(row(self._bar, self._likelihood, spacing=10))
        self.body.addWidget(self._evidence)
        self.body.addWidget(self.beside)
        self.body.addWidget(self.state)
        self.body.addWidget(self.waiting)
        self.body.addLayout(answers)
        self.body.addLayout(steps)

    def show_case(
        self,
        case: ReviewCase | None,
        who: str,
        state: str,
        *,
        proposal: bool,
        parts: int = 0,
        beside: Sequence[ReviewCase] = (),
        read_only: bool = False,
        title: str = "",
    ) -> None:
        """Show a case, `who` it is about, and what was decided; None when there is none.

        `proposal`: whether there is something that can be accepted, `parts`: how many it makes
        of a particle. `beside`: other doubts about the same particles, to be judged in the same
        picture. `title`: what to say instead of a question where there is no case.
        """
        for step in (self.previous_button, self.next_button):
            step.setVisible(case is not None)
        self.beside.setText(beside_text(beside))
        self.beside.setVisible(bool(beside) and case is not None)
        for widget in (self._bar, self._likelihood, self._evidence, self.reject_button):
            widget.setVisible(case is not None)
        self._who.setText(who)
        self._who.setVisible(bool(who))
        said = STATES.get(state, "")
        self.state.setText(said)
        self.state.setVisible(bool(said))
        if case is None:
            self.question.setText(title)
            self.accept_button.hide()
            return
        self._bar.set_probability(case.probability)
        self._likelihood.setText(likelihood_text(case.probability))
        self._likelihood.setToolTip("How probable an error is here")
        self._evidence.setText(case.text)
        self.accept_button.setToolTip(READ_ONLY if read_only else "Enter")
        self.reject_button.setToolTip(READ_ONLY if read_only else "R")
        self.show_proposal(case, proposal, parts)
        self.accept_button.setVisible(True)

    def show_proposal(self, case: ReviewCase, proposal: bool, parts: int) -> None:
        """Whether the case's proposal can be accepted, and how many parts it makes."""
        self.question.setText(question_text(case, parts))
        self.accept_button.setText(answer_text(case, parts))
        self.accept_button.setEnabled(proposal)
        # What is improbable is not urged on anybody.
        likely = case.probability >= LIKELY
        if self.accept_button.property("primary") != likely:
            self.accept_button.setProperty("primary", likely)
            self.accept_button.style().unpolish(self.accept_button)
            self.accept_button.style().polish(self.accept_button)

    def show_steps(self, previous: bool) -> None:
        self.previous_button.setEnabled(previous)
