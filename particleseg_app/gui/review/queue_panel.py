"""The list of cases, most doubtful first, how far one has come, and what was done so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QHBoxLayout,
    QListView,
    QProgressBar,
    QStackedWidget,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.formats import format_count
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.review.case_card import STATES, likelihood_colour, likelihood_text
from particleseg_app.gui.style import button, label, row, tool_button

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase
    from particleseg_app.review.entries import JournalEntry

ROW_HEIGHT = 40
SHORT_NAMES = {
    "merger": "Joined?",
    "splitter": "Cut in two?",
    "false particle": "No particle?",
    "missed particle": "Missed?",
}
UNDO, REDO = "Undo (Ctrl+Z)", "Redo (Ctrl+Shift+Z)"
HISTORY_STATES = {
    "applied": "",
    "undone": "undone",
    "dropped": "undone, then replaced",
    "reverted": "taken back",
}
Row = tuple[str, str, str, float | None, bool]
Index = QModelIndex | QPersistentModelIndex


class _Rows(QAbstractListModel):
    """Rows of a title, a remark, a mark on the right, how probable an error is (which colours the
    mark), and whether the row is faint."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def set_rows(self, rows: list[Row]) -> None:
        if len(rows) == len(self.rows):
            self.rows = rows
            if rows:
                self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))
            return
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        title, remark, mark, _, _ = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return title
        if role in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            return " · ".join(text for text in (title, remark, mark) if text)
        return None


class _Painter(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802
        return QSize(100, ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        assert isinstance(model, _Rows)
        title, remark, mark, probability, faint = model.rows[index.row()]
        colours = theme.current()
        area: QRect = option.rect
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, QColor(colours.selection))
        inner = area.adjusted(12, 4, -12, -4)
        metrics = painter.fontMetrics()
        width = metrics.horizontalAdvance(mark) + 8 if mark else 0
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        painter.setPen(QColor(colours.muted if faint else colours.text))
        upper = QRect(inner.left(), inner.top(), inner.width() - width, inner.height() // 2)
        lower = QRect(inner.left(), upper.bottom() + 1, inner.width(), inner.height() // 2)
        elide = Qt.TextElideMode.ElideRight
        painter.drawText(upper, left, metrics.elidedText(title, elide, upper.width()))
        painter.setPen(QColor(colours.muted))
        painter.drawText(lower, left, metrics.elidedText(remark, elide, lower.width()))
        if mark:
            muted = QColor(colours.muted)
            painter.setPen(muted if probability is None else likelihood_colour(probability))
            right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
            painter.drawText(inner, right, mark)
        painter.restore()


class _List(QListView):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.rows = _Rows()
        self.setModel(self.rows)
        self.setItemDelegate(_Painter(self))
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setStyleSheet("QListView {border: none; background: transparent}")
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # letters are keys of the page

    def choose(self, number: int | None) -> None:
        """Mark one row without telling anybody."""
        selection = self.selectionModel()
        selection.blockSignals(True)
        if number is None or not 0 <= number < len(self.rows.rows):
            self.clearSelection()
        else:
            self.setCurrentIndex(self.rows.index(number))
            self.scrollTo(self.rows.index(number))
        selection.blockSignals(False)
        self.viewport().update()


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
        self._done = label("", "muted")
        self._finding = label("Looking for doubtful particles …", "muted")
        self._finding.hide()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self.queue = _List("Cases, most doubtful first")
        self.history = _List("What was done")
        theme.notifier.changed.connect(self.queue.viewport().update)
        self.queue.clicked.connect(lambda index: self.case_chosen.emit(index.row()))
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
        self._pages.addWidget(self.queue)
        self._pages.addWidget(past)
        head = QVBoxLayout()
        head.setContentsMargins(12, 12, 12, 8)
        head.setSpacing(6)
        head.addWidget(label("Review", "heading"))
        head.addWidget(self._estimate)
        head.addLayout(row(self._bar, self._done, spacing=10))
        head.addWidget(self._finding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addLayout(tabs)
        layout.addWidget(self._pages, 1)

    def show_cases(
        self, cases: Sequence[ReviewCase], states: dict[str, str], shown: int | None
    ) -> None:
        rows: list[Row] = []
        for case in cases:
            state = states.get(case.id, "")
            names = " and ".join(format_count(particle) for particle in case.labels)
            one = "Particle" if len(case.labels) == 1 else "Particles"
            place = f"{one} {names}" if case.labels else "In the background"
            remark = STATES.get(state, "") or place
            rows.append(
                (
                    SHORT_NAMES[case.kind],
                    remark,
                    "" if state else likelihood_text(case.probability),
                    case.probability,
                    bool(state),
                )
            )
        self.queue.rows.set_rows(rows)
        self.queue.choose(shown)
        done = sum(1 for case in cases if states.get(case.id, "") not in ("", "skipped"))
        self._bar.setRange(0, max(1, len(cases)))
        self._bar.setValue(done)
        self._done.setText(f"{format_count(done)} of {format_count(len(cases))}")
        for widget in (self._bar, self._done):
            widget.setVisible(bool(cases))

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
        self.history.rows.set_rows(rows)
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
