"""The particle table for Qt: straight on the columns' arrays, arranged by numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap

from particleseg_app.gui.formats import format_measure
from particleseg_app.gui.panels.table_filter import TableFilter
from particleseg_app.gui.viewers.phase_colours import phase_colour
from particleseg_app.particles import Column
from particleseg_app.particles.phases import columns_of

if TYPE_CHECKING:
    import pandas as pd

Index = QModelIndex | QPersistentModelIndex
RATIO_DECIMALS = 3
MARK = 20  # pixels of the picture of a phase, of which a row shows half


class ParticleTableModel(QAbstractTableModel):
    """Shows `table` (one row a particle, ascending labels) in the order of a row index array.

    Sorting and filtering only rebuild that array, so 50 000 rows take milliseconds.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table: pd.DataFrame | None = None
        self._columns: tuple[Column, ...] = ()
        self._values: list[np.ndarray] = []  # of names their places among the names
        self._names: dict[int, list[str]] = {}  # of the columns that hold names
        self._decimals: list[int] = []
        self._labels = np.zeros(0, dtype=np.int64)
        self._filter = TableFilter()
        self._sort: tuple[int, Qt.SortOrder] | None = None
        self._rows = np.zeros(0, dtype=np.intp)
        self._position = np.zeros(0, dtype=np.intp)

    @property
    def table(self) -> pd.DataFrame | None:
        return self._table

    @property
    def columns(self) -> Sequence[Column]:
        return self._columns

    @property
    def total_count(self) -> int:
        return len(self._labels)

    @property
    def shown_count(self) -> int:
        return len(self._rows)

    def shown_labels(self) -> np.ndarray:
        """Labels of the rows that pass the filter, in the order shown."""
        return self._labels[self._rows]

    def set_table(self, table: pd.DataFrame | None) -> None:
        self.beginResetModel()
        self._table = table
        if table is None:
            self._columns, self._values, self._names = (), [], {}
            self._labels = np.zeros(0, dtype=np.int64)
            self._decimals = []
        else:
            self._columns = columns_of(table)
            self._names = {
                place: [str(name) for name in table[column.name].cat.categories]
                for place, column in enumerate(self._columns)
                if column.kind == "name"
            }
            self._values = [
                table[column.name].cat.codes.to_numpy()
                if place in self._names
                else table[column.name].to_numpy()
                for place, column in enumerate(self._columns)
            ]
            self._labels = table["label"].to_numpy(dtype=np.int64)
            step_um, greys = _voxel_size(table), table["grey_mean"].abs()
            brightest = float(greys.max()) if greys.notna().any() else 0.0
            self._decimals = [_decimals(column, step_um, brightest) for column in self._columns]
        self._arrange()
        self.endResetModel()

    def set_filter(self, table_filter: TableFilter) -> None:
        if table_filter == self._filter:
            return
        self.beginResetModel()
        self._filter = table_filter
        self._arrange()
        self.endResetModel()

    def row_of_label(self, label: int) -> int | None:
        """The row that shows this particle, or None when it is filtered out or not there."""
        source = int(np.searchsorted(self._labels, label))
        if source >= len(self._labels) or self._labels[source] != label:
            return None
        row = int(self._position[source])
        return row if row >= 0 else None

    def label_of_row(self, row: int) -> int:
        return int(self._labels[self._rows[row]])

    def _arrange(self) -> None:
        rows = np.zeros(0, dtype=np.intp)
        if self._table is not None:
            rows = self._filter.rows(self._table)
        if self._sort is not None and self._sort[0] < len(self._values):
            column, order = self._sort
            rows = rows[_sorting(self._values[column][rows], order)]
        self._rows = rows
        self._position = np.full(len(self._labels), -1, dtype=np.intp)
        self._position[rows] = np.arange(len(rows))

    # Qt's own names from here on.

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        sources = [self._rows[index.row()] for index in before]
        self._sort = (column, order) if column >= 0 else None
        self._arrange()
        after = [
            self.index(int(self._position[source]), index.column())
            for source, index in zip(sources, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self._columns) - 1)

    @property
    def sorted_by(self) -> tuple[int, Qt.SortOrder] | None:
        """Column and order of the rows; None while they are in the order of their labels."""
        return self._sort

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            value = self._values[index.column()][self._rows[index.row()]]
            if index.column() in self._names:
                return self._names[index.column()][value]
            return _text(value, self._decimals[index.column()])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            names = index.column() in self._names
            side = Qt.AlignmentFlag.AlignLeft if names else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.DecorationRole and index.column() in self._names:
            number = int(self._values[index.column()][self._rows[index.row()]])
            return phase_mark(number)
        if role == Qt.ItemDataRole.UserRole:
            return self._values[index.column()][self._rows[index.row()]].item()
        return None

    def headerData(  # noqa: N802
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        if orientation == Qt.Orientation.Vertical or section >= len(self._columns):
            return None
        column = self._columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            title = _two_lines(column)
            if self._sort is not None and self._sort[0] == section:
                up = self._sort[1] == Qt.SortOrder.AscendingOrder
                return f"{title.strip()} {'▲' if up else '▼'}"
            return title
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{column.description} Click to sort."
        if role == Qt.ItemDataRole.TextAlignmentRole:
            names = section in self._names
            side = Qt.AlignmentFlag.AlignLeft if names else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        return None


@cache
def phase_mark(number: int) -> QIcon:
    """A small square in the colour of a phase, with a gap before it."""
    picture = QPixmap(2 * MARK, MARK)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(*phase_colour(number)))
    painter.drawRoundedRect(MARK, 0, MARK, MARK, MARK / 5, MARK / 5)
    painter.end()
    return QIcon(picture)


def _sorting(values: np.ndarray, order: Qt.SortOrder) -> np.ndarray:
    """Indices that sort `values` stably; what is not a number comes last either way."""
    if order == Qt.SortOrder.AscendingOrder:
        return np.argsort(values, kind="stable")
    keys = -values.astype(np.float64)
    return np.argsort(keys, kind="stable")


def _two_lines(column: Column) -> str:
    """Title and unit on two lines, so that columns need not be wider than their numbers."""
    if column.unit and len(column.heading) <= 12:
        return f"{column.title}\n({column.unit})"
    first, _, last = column.heading.rpartition(" (")[0].rpartition(" ")
    if not column.unit:
        first, _, last = column.title.rpartition(" ")
    unit = f" ({column.unit})" if column.unit else ""
    return f"{first}\n{last}{unit}" if first else f"{column.title}\n{unit.strip()}"


def _decimals(column: Column, step_um: float, brightest: float) -> int:
    """Decimals of a column, the same for every run of a scan.

    Lengths are told to a tenth of a voxel, areas to one face of it and volumes to one voxel, whose
    edge is `step_um`; shares and other ratios have three. Grey values follow the `brightest` one.
    """
    if column.kind != "real":
        return 0
    if column.group == "Grey value":
        return 1 if brightest > 30 else 3 if brightest > 0.3 else 6
    steps = {"µm": step_um / 10, "µm²": step_um**2, "µm³": step_um**3}
    step = steps.get(column.unit)
    return RATIO_DECIMALS if step is None else max(0, math.ceil(-math.log10(step) - 1e-6))


def _voxel_size(table: pd.DataFrame) -> float:
    """Edge of a voxel in µm, from a particle's two volumes; 1 for a table without particles."""
    if not len(table):
        return 1.0
    voxels, volumes = table["volume_voxels"].to_numpy(), table["volume_um3"].to_numpy()
    largest = int(voxels.argmax())
    return float(volumes[largest] / voxels[largest]) ** (1 / 3)


def _text(value: Any, decimals: int) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    return format_measure(float(value), decimals)
