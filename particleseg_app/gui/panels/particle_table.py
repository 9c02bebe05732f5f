"""The particle table: filter, sort, and choose a particle to be shown in the views."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHeaderView,
    QLineEdit,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.errors import InvalidValueError
from particleseg_app.gui.formats import format_count, plural
from particleseg_app.gui.panels.filter_popup import FilterPopup
from particleseg_app.gui.panels.particle_table_model import MARK, ParticleTableModel
from particleseg_app.gui.panels.table_filter import TableFilter, parse_conditions
from particleseg_app.gui.style import label, row, tool_button
from particleseg_app.particles.phases import MAIN_PHASE, phase_columns, phase_names

if TYPE_CHECKING:
    import pandas as pd

# What people look at first stands on the left; the rest follows in the table's own order.
FIRST_COLUMNS = (
    "label",
    "equivalent_diameter_um",
    MAIN_PHASE,
    "volume_um3",
    "sphericity",
    "surface_area_um2",
    "touches_scan_edge",
    "grey_mean",
    "grey_std",
    "volume_voxels",
)
ROW_HEIGHT = 26
TYPING_MS = 250


@dataclass(frozen=True, eq=False)
class TableContent:
    """What the table shows of a run: these `labels` of `total` particles, by a filter in words."""

    labels: np.ndarray
    total: int
    filter: str

    @property
    def filtered(self) -> bool:
        return len(self.labels) < self.total


class ParticleTablePanel(QWidget):
    particle_chosen = Signal(int)
    shown_changed = Signal(object)  # labels that pass the filter
    marked_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = ParticleTableModel(self)
        self._label: int | None = None
        self._quiet = False
        self._filter_text = ""  # that was understood last
        self.filter_box = QLineEdit()
        self.filter_box.setPlaceholderText("Filter, for example: diameter > 150")
        self.filter_box.setClearButtonEnabled(True)
        self.filter_box.setAccessibleName("Filter of the particle table")
        self.filter_box.setToolTip(
            "Examples: diameter > 150 · volume 1000..5000 · sphericity < 0.8 · 17 (that particle). "
            "Join several with a comma."
        )
        self._popup = FilterPopup(self)
        self._popup.text_changed.connect(self._on_popup_text)
        self.popup_button = tool_button("filter", "Filter by column", self._show_popup)
        self.hide_edge_box = QCheckBox("Hide particles at the scan’s edge")
        self.hide_edge_box.setToolTip("The scan’s edge cuts them, so their sizes are too small.")
        self.problem_label = label("", "error", wrap=True)
        self.problem_label.hide()
        self.count_label = label("", "muted")
        self.view = _make_view(self.model)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.setSpacing(8)
        title = label("Particles", "heading")
        layout.addLayout(row(title, None, self.count_label))
        layout.addLayout(row(self.filter_box, self.popup_button, spacing=4))
        layout.addWidget(self.problem_label)
        layout.addWidget(self.hide_edge_box)
        layout.addWidget(self.view, 1)

        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self.apply_filter)
        self.filter_box.textChanged.connect(lambda _text: self._typing.start())
        self.filter_box.returnPressed.connect(self.apply_filter)
        self.hide_edge_box.toggled.connect(self.apply_filter)
        self.view.selectionModel().currentRowChanged.connect(self._on_row)
        self.view.selectionModel().selectionChanged.connect(lambda *_: self.marked_changed.emit())
        self.view.horizontalHeader().sectionClicked.connect(self.sort_by)
        copy = QShortcut(QKeySequence.StandardKey.Copy, self.view, self._copy)
        copy.setContext(Qt.ShortcutContext.WidgetShortcut)
        # Tab leads from the filter to the table, as the eye does.
        for before, after in pairwise(
            (self.filter_box, self.popup_button, self.hide_edge_box, self.view)
        ):
            self.setTabOrder(before, after)

    def set_table(self, table: pd.DataFrame | None) -> None:
        """Show the particles of a run; None empties the table."""
        self._label = None
        names = [column.name for column in self.model.columns]
        self.model.set_table(table)
        first = names != [column.name for column in self.model.columns]
        if table is not None:
            self._popup.set_table(table, self.model.columns)
            if first:
                self._arrange_columns(table)
            self.apply_filter()
        self._show_count()

    def select_label(self, label: int | None) -> None:
        """Mark a particle and scroll to it, without telling it was chosen."""
        self._label = label
        row_number = None if label is None else self.model.row_of_label(label)
        selection = self.view.selectionModel()
        self._quiet = True
        if row_number is None:
            selection.clear()
        elif row_number == selection.currentIndex().row() and label in self.marked_labels():
            pass  # a group stays marked when one of its rows is clicked
        else:
            column = max(0, self.view.columnAt(0))
            index = self.model.index(row_number, column)
            flags = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.view.scrollTo(index, QAbstractItemView.ScrollHint.EnsureVisible)
        self._quiet = False
        self._show_count()

    def marked_labels(self) -> tuple[int, ...]:
        """The particles of all marked rows, in the order of their numbers."""
        return tuple(np.sort(self.model.shown_labels()[self._marked_rows()]).tolist())

    def _marked_rows(self) -> np.ndarray:
        """All marked rows, ascending; many thousands of them lie in a few ranges."""
        selection = self.view.selectionModel().selection()
        if selection.isEmpty():
            return np.zeros(0, np.intp)
        ranges = [selection.at(number) for number in range(selection.count())]
        rows = [np.arange(part.top(), part.bottom() + 1) for part in ranges]
        return np.unique(np.concatenate(rows))

    def content(self) -> TableContent:
        """The particles that the table shows now."""
        edge = "edge = no" if self.hide_edge_box.isChecked() else ""
        words = ", ".join(text for text in (self._filter_text, edge) if text)
        return TableContent(self.model.shown_labels(), self.model.total_count, words)

    def apply_filter(self) -> None:
        """Filter by what is typed; a text that is not understood keeps the last filter."""
        self._typing.stop()
        try:
            table = self.model.table
            phases = () if table is None else phase_names(table)
            conditions = parse_conditions(self.filter_box.text(), self.model.columns, phases)
        except InvalidValueError as error:
            self.problem_label.setText(f"{error.sentence} {error.remedy}")
            self.problem_label.show()
            return
        self.problem_label.hide()
        self._filter_text = self.filter_box.text().strip()
        if not self._popup.isVisible():
            self._popup.set_conditions(conditions)
        self.model.set_filter(TableFilter(conditions, self.hide_edge_box.isChecked()))
        self.select_label(self._label)
        self.shown_changed.emit(self.model.shown_labels())

    def sort_by(self, column: int) -> None:
        """Sort by a column, or turn its order round; measures show their largest value first."""
        ascending = Qt.SortOrder.AscendingOrder
        descending = Qt.SortOrder.DescendingOrder
        small_first = self.model.columns[column].name in ("label", MAIN_PHASE)
        first = ascending if small_first else descending
        now = self.model.sorted_by
        if now is not None and now[0] == column:
            first = descending if now[1] == ascending else ascending
        self.model.sort(column, first)
        self.select_label(self._label)

    def _arrange_columns(self, table: pd.DataFrame) -> None:
        header = self.view.horizontalHeader()
        names = [column.name for column in self.model.columns]
        shares = [column.name for column in phase_columns(phase_names(table))[1:]]
        place_of_shares = FIRST_COLUMNS.index("touches_scan_edge")
        wanted = [*FIRST_COLUMNS[:place_of_shares], *shares, *FIRST_COLUMNS[place_of_shares:]]
        wanted = [name for name in wanted if name in names]
        for place, name in enumerate(wanted):
            header.moveSection(header.visualIndex(names.index(name)), place)
        if self.model.sorted_by is None or self.model.sorted_by[0] >= len(names):
            self.model.sort(names.index("label"), Qt.SortOrder.AscendingOrder)
        self.view.resizeColumnsToContents()

    def _show_count(self) -> None:
        shown, total = self.model.shown_count, self.model.total_count
        text = plural(total, "particle")
        if shown != total:
            text = f"{format_count(shown)} of {text}"
        if self._label is not None and self.model.row_of_label(self._label) is None:
            text += f"  ·  {self._label} is filtered out"
        self.count_label.setText(text if self.model.table is not None else "")

    def _on_row(self, current: QModelIndex, previous: QModelIndex) -> None:
        if current.isValid() and not self._quiet:
            self._label = self.model.label_of_row(current.row())
            self._show_count()
            self.particle_chosen.emit(self._label)

    def _show_popup(self) -> None:
        self._popup.adjustSize()
        corner = self.popup_button.mapToGlobal(QPoint(self.popup_button.width(), 0))
        below = self.popup_button.height() + 4
        self._popup.move(corner + QPoint(-self._popup.width(), below))
        self._popup.show()

    def _on_popup_text(self, text: str) -> None:
        self.filter_box.setText(text)
        self.apply_filter()

    def _copy(self) -> None:
        """Copy the marked rows, in the order shown, tab-separated under the columns' names."""
        rows = self._marked_rows()
        if not rows.size or self.model.table is None:
            return
        columns = self.model.columns
        labels = self.model.shown_labels()[rows]
        table = self.model.table
        lines = table.iloc[np.searchsorted(table["label"].to_numpy(), labels)]
        values = [lines[column.name].astype(str) for column in columns]
        head = [column.heading for column in columns]
        text = "\n".join("\t".join(cells) for cells in (head, *zip(*values, strict=True)))
        QGuiApplication.clipboard().setText(f"{text}\n")


def _make_view(model: ParticleTableModel) -> QTableView:
    view = QTableView()
    view.setModel(model)
    view.setAccessibleName("Particle table")
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    view.setTabKeyNavigation(False)  # the arrow keys go from row to row, Tab leads out
    view.setAlternatingRowColors(True)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setCornerButtonEnabled(False)
    view.setStyleSheet(
        "QAbstractScrollArea::corner {background: transparent; border: none}"
        "QHeaderView::section {font-weight: 500; padding: 4px 6px}"
    )
    view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    vertical = view.verticalHeader()
    vertical.hide()
    vertical.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    vertical.setDefaultSectionSize(ROW_HEIGHT)
    header = view.horizontalHeader()
    header.setResizeContentsPrecision(50)
    view.setIconSize(QSize(MARK, MARK // 2))
    header.setSectionsMovable(True)
    header.setSectionsClickable(True)
    header.setHighlightSections(False)
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return view
