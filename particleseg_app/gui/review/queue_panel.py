"""How far one has come, the cases to look at, and what was done so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QProgressBar,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.formats import format_count
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.review.case_lists import CaseLists
from particleseg_app.gui.review.case_queue import DECIDED
from particleseg_app.gui.review.case_texts import done_text
from particleseg_app.gui.review.row_list import Row, RowList
from particleseg_app.gui.style import button, label, row, tool_button

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.entries import JournalEntry

UNDO, REDO = "Undo (Ctrl+Z)", "Redo (Ctrl+Shift+Z)"
HISTORY_STATES = {
    "applied": "",
    "undone": "undone",
    "dropped": "undone, then replaced",
    "reverted": "taken back",
}


class QueuePanel(QWidget):
    """Tells `case_chosen` with a number in the queue, and what is wanted of the history."""

    case_chosen = Signal(int)
    undo_wanted = Signal()
    redo_wanted = Signal()
    revert_wanted = Signal()
    entry_chosen = Signal(object)  # JournalEntry

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[JournalEntry] = []
        self._estimate = label("", "muted", wrap=True)
        self._done = label("", "muted", wrap=True)
        self._finding = label("Looking for doubtful particles …", "muted")
        self._finding.hide()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self.cases = CaseLists()
        self.history = RowList("What was done")
        self.cases.case_chosen.connect(self.case_chosen)
        self.history.clicked.connect(lambda index: self._choose_entry(index.row()))
        self.undo_button = tool_button("undo", UNDO, self.undo_wanted.emit)
        self.redo_button = tool_button("redo", REDO, self.redo_wanted.emit)
        self.revert_button = button(
            "Back to the segmentation…", self.revert_wanted.emit, quiet=True
        )
        self._no_history = label(
            "Nothing has been mended yet. Every mend is kept here and can be undone.",
            "muted",
            wrap=True,
        )
        tabs = QHBoxLayout()
        tabs.setContentsMargins(12, 0, 8, 4)
        tabs.setSpacing(2)
        self._tabs = QButtonGroup(self)
        self._pages = QStackedWidget()
        for number, text in enumerate(("To look at", "History")):
            tab = QToolButton()
            tab.setText(text)
            tab.setCheckable(True)
            tab.setAutoRaise(True)
            self._tabs.addButton(tab, number)
            tabs.addWidget(tab)
        tabs.addStretch(1)
        tabs.addWidget(self.undo_button)
        tabs.addWidget(self.redo_button)
        self._tabs.idClicked.connect(self._pages.setCurrentIndex)
        first = self._tabs.button(0)
        assert first is not None
        first.setChecked(True)
        past = QWidget()
        past_layout = QVBoxLayout(past)
        past_layout.setContentsMargins(0, 0, 0, 8)
        self._no_history.setContentsMargins(12, 8, 12, 0)
        past_layout.addWidget(self._no_history)
        past_layout.addWidget(self.history, 1)
        past_layout.addLayout(row(8, self.revert_button, None))
        self._pages.addWidget(self.cases)
        self._pages.addWidget(past)
        head = QVBoxLayout()
        head.setContentsMargins(12, 12, 12, 8)
        head.setSpacing(6)
        head.addWidget(label("Review", "heading"))
        head.addWidget(self._estimate)
        head.addWidget(self._bar)
        head.addWidget(self._done)
        head.addWidget(self._finding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addLayout(tabs)
        layout.addWidget(self._pages, 1)

    def show_cases(
        self,
        cases: Sequence[ReviewCase],
        states: dict[str, str],
        shown: int | None,
        doubtful: int,
    ) -> None:
        """Show cases of which so many, the first ones, are doubtful, and the one `shown`."""
        self.cases.show_cases(cases, states, doubtful)
        self.cases.choose(shown)
        answered = sum(1 for case in cases[:doubtful] if states.get(case.id, "") in DECIDED)
        self._bar.setRange(0, max(1, doubtful))
        self._bar.setValue(answered)
        self._bar.setVisible(doubtful > 0)
        self._done.setText(done_text(answered, doubtful))
        self._done.setVisible(bool(cases))

    def show_finding(self, finding: bool) -> None:
        """Say that the cases are being looked for."""
        self._finding.setVisible(finding)

    def show_estimate(self, text: str) -> None:
        self._estimate.setText(text)
        self._estimate.setToolTip(
            "Estimated from the scores. The range holds the truth nine times out of ten."
        )
        self._estimate.setVisible(bool(text))

    def show_history(
        self,
        entries: Sequence[JournalEntry],
        can_undo: bool,
        can_redo: bool,
        mends: int,
        read_only: bool = False,
    ) -> None:
        """Show what was done, the latest first; nothing can be taken back in `read_only`."""
        self._entries = list(reversed(entries))
        rows: list[Row] = []
        for entry in self._entries:
            when = entry.made_at[:16].replace("T", " ")
            state = HISTORY_STATES.get(entry.state, "")
            rows.append((entry.text, f"{when} · {entry.user}", state, None, bool(state)))
        self.history.set_rows(rows)
        self._no_history.setVisible(not rows)
        self.undo_button.setEnabled(can_undo)
        self.redo_button.setEnabled(can_redo)
        self.revert_button.setEnabled(mends > 0 and not read_only)
        for step, tip in (
            (self.undo_button, UNDO),
            (self.redo_button, REDO),
            (self.revert_button, ""),
        ):
            step.setToolTip(READ_ONLY if read_only else tip)
        second = self._tabs.button(1)
        assert second is not None
        second.setText(f"History ({format_count(mends)})" if mends else "History")

    def _choose_entry(self, number: int) -> None:
        if 0 <= number < len(self._entries):
            self.entry_chosen.emit(self._entries[number])
