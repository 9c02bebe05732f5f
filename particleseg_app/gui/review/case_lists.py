"""The cases to look at: the doubtful ones, and below them the less doubtful, folded at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

from particleseg_app.gui.formats import format_count
from particleseg_app.gui.review.case_texts import (
    STATES,
    least_doubtful,
    likelihood_text,
    particles_text,
)
from particleseg_app.gui.review.row_list import Row, RowList
from particleseg_app.gui.style import label

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

SHORT_NAMES = {
    "merger": "Joined?",
    "splitter": "Cut in two?",
    "false particle": "No particle?",
    "missed particle": "Missed?",
}
ORDER = "Most expected errors per particle first"
ORDER_TIP = (
    "Next comes the particle at which the most errors are expected, all doubts about it taken "
    "together. A percentage is that of one doubt, so the figures go up and down."
)


class CaseLists(QWidget):
    """Tells `case_chosen` with a number in the queue."""

    case_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._doubtful = 0  # how many cases are in the first list
        self._shown: int | None = None
        self._order = label(ORDER, "muted", wrap=True)
        self._order.setToolTip(ORDER_TIP)
        self._order.setContentsMargins(12, 2, 12, 4)
        self.doubtful = RowList("Doubtful cases")
        self.less = RowList("Less doubtful cases")
        self.fold_button = QToolButton()
        self.fold_button.setCheckable(True)
        self.fold_button.setAutoRaise(True)
        self.fold_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold_button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        # Unfolded it is a heading, not a choice like the buttons of the theme that are pressed.
        self.fold_button.setStyleSheet(
            "QToolButton:checked:!focus:!hover {background: transparent; border-color: transparent}"
        )
        self.fold_button.toggled.connect(self._on_folded)
        self.doubtful.clicked.connect(lambda index: self.case_chosen.emit(index.row()))
        self.less.clicked.connect(lambda index: self.case_chosen.emit(self._doubtful + index.row()))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._order)
        layout.addWidget(self.doubtful, 100)
        layout.addWidget(self.fold_button)
        layout.addWidget(self.less, 100)
        layout.addStretch(1)
        self._on_folded(False)
        self.show_cases((), {}, 0)

    def show_cases(
        self, cases: Sequence[ReviewCase], states: dict[str, str], doubtful: int
    ) -> None:
        """Show cases of which so many, the first ones, are doubtful."""
        self._doubtful = doubtful
        rows = [_row(case, states.get(case.id, "")) for case in cases]
        self.doubtful.set_rows(rows[:doubtful])
        self.less.set_rows(rows[doubtful:])
        self.doubtful.setVisible(doubtful > 0)
        self.doubtful.setMaximumHeight(self.doubtful.needed_height)
        self._order.setVisible(bool(rows))
        less = len(rows) - doubtful
        self.fold_button.setVisible(less > 0)
        text = f"{format_count(less)} less doubtful (below {likelihood_text(least_doubtful())})"
        self.fold_button.setText(text)
        self._on_folded(self.fold_button.isChecked())
        self._choose()

    def choose(self, number: int | None) -> None:
        """Mark one case without telling anybody; the less doubtful unfold on the way into them."""
        before, self._shown = self._shown, number
        among_less = number is not None and number >= self._doubtful
        if among_less and (before is None or before < self._doubtful):
            self.fold_button.setChecked(True)
        self._choose()

    def _choose(self) -> None:
        number = self._shown
        doubtful = number is not None and number < self._doubtful
        self.doubtful.choose(number if doubtful else None)
        self.less.choose(None if number is None or doubtful else number - self._doubtful)

    def _on_folded(self, unfolded: bool) -> None:
        self.fold_button.setArrowType(
            Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow
        )
        self.fold_button.setToolTip("Hide them" if unfolded else "Show them")
        self.less.setVisible(unfolded and bool(self.less.rows.rows))
        self._choose()


def _row(case: ReviewCase, state: str) -> Row:
    place = particles_text(case.labels) if case.labels else "In the background"
    return (
        SHORT_NAMES[case.kind],
        STATES.get(state, "") or place,
        "" if state else likelihood_text(case.probability),
        case.probability,
        bool(state),
    )
