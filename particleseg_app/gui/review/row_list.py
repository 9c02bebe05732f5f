"""A list of rows with a title, a remark and a mark, as the review shows cases and history."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
)
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from particleseg_app.gui import theme
from particleseg_app.gui.review.case_card import likelihood_colour

ROW_HEIGHT = 40
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


class RowList(QListView):
    """Shows rows; the keyboard stays with the page, to which letters belong."""

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
        theme.notifier.changed.connect(self.viewport().update)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    @property
    def needed_height(self) -> int:
        """The height at which nothing has to be scrolled."""
        return ROW_HEIGHT * len(self.rows.rows)

    def set_rows(self, rows: list[Row]) -> None:
        self.rows.set_rows(rows)

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
