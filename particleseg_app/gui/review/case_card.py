"""What is asked about one case: the question, how sure it is, the evidence, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.formats import format_count
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.style import Card, button, label, row

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

QUESTIONS = {
    "merger": "Two particles joined?",
    "splitter": "One particle cut in two?",
    "false particle": "Not a particle?",
    "missed particle": "A particle missed?",
}
ANSWERS = {
    "merger": "Split as drawn",
    "splitter": "Join them",
    "false particle": "Remove it",
    "missed particle": "Add it",
}
STATES = {
    "": "",
    "accepted": "Mended as proposed",
    "rejected": "Right as it is",
    "mended": "Mended by hand",
    "skipped": "Skipped",
}
_ALSO = {"merger": "joined?", "splitter": "one particle?", "false particle": "no particle?"}
STRONG, MEDIUM = 0.6, 0.25


def likelihood_colour(probability: float) -> QColor:
    """Colour of how probable an error is, in the present theme."""
    colours = theme.current()
    if probability >= STRONG:
        return QColor(colours.error)
    return QColor(colours.warning if probability >= MEDIUM else colours.muted)


def likelihood_text(probability: float) -> str:
    """A probability for people: 83 %, and no more than is known at the ends."""
    percent = 100 * probability
    if percent > 99:
        return "> 99 %"
    return "< 1 %" if percent < 1 else f"{percent:.0f} %"


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
        self.accept_button = button("", self.accepted.emit, primary=True)
        self.reject_button = button("Right as it is", self.rejected.emit)
        self.previous_button = button("Previous", self.previous_wanted.emit, quiet=True)
        self.next_button = button("Next", self.next_wanted.emit, quiet=True)
        self.accept_button.setToolTip("Enter")
        self.reject_button.setToolTip("R")
        self.previous_button.setToolTip("P")
        self.next_button.setToolTip("N")
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
        self.body.addLayout(answers)
        self.body.addLayout(steps)

    def show_case(
        self,
        case: ReviewCase | None,
        who: str,
        state: str,
        *,
        proposal: bool,
        beside: Sequence[ReviewCase] = (),
        read_only: bool = False,
        nothing: str = "",
    ) -> None:
        """Show a case, `who` it is about, and what was decided; None when there is none.

        `proposal`: whether there is something that can be accepted. `beside`: other doubts about
        the same particles, to be judged in the same picture. `nothing`: what to say where there
        is neither case nor particle.
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
            self.question.setText("Mend a particle" if who else nothing)
            self.accept_button.hide()
            return
        self.question.setText(QUESTIONS[case.kind])
        self._bar.set_probability(case.probability)
        self._likelihood.setText(likelihood_text(case.probability))
        self._likelihood.setToolTip("How probable an error is here")
        self._evidence.setText(case.text)
        self.accept_button.setToolTip(READ_ONLY if read_only else "Enter")
        self.reject_button.setToolTip(READ_ONLY if read_only else "R")
        self.accept_button.setText(ANSWERS[case.kind])
        self.accept_button.setVisible(True)
        self.accept_button.setEnabled(proposal)

    def show_steps(self, previous: bool, following: bool) -> None:
        self.previous_button.setEnabled(previous)
        self.next_button.setEnabled(following)


def beside_text(cases: Sequence[ReviewCase]) -> str:
    """Other doubts about the particles shown: “Also here: 12 and 47 one particle? (23 %)”."""
    named = [
        f"{' and '.join(format_count(n) for n in case.labels)} {_ALSO[case.kind]} "
        f"({likelihood_text(case.probability)})"
        for case in cases
    ]
    return f"Also here: {', '.join(named)}" if named else ""


def who_text(particles: tuple[int, ...], diameters_um: dict[int, float]) -> str:
    """Numbers and sizes of the particles of a case: “Particle 512, 214 µm”."""
    from particleseg_app.units import format_micrometres

    names = []
    for particle in particles:
        size = diameters_um.get(particle)
        text = format_count(particle)
        names.append(text if size is None else f"{text} ({format_micrometres(size)})")
    noun = "Particle" if len(particles) == 1 else "Particles"
    return f"{noun} {' and '.join(names)}"
