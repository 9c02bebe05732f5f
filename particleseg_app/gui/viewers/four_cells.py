"""The grid of four cells: three slices and a free one; one of them can fill the place of all."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from particleseg_app.gui.viewers.slice_cell import SliceCell, ViewBar
from particleseg_app.gui.viewers.slice_geometry import XY, XZ, YZ, Plane

PLACES = {XY: (0, 0), YZ: (0, 1), XZ: (1, 0)}
FREE_PLACE = (1, 1)


class FourCells(QWidget):
    """`rearranged` when other cells are seen than before."""

    rearranged = Signal()

    def __init__(self, cells: Mapping[Plane, SliceCell], empty: QWidget) -> None:
        """`empty` stands in the free cell as long as nothing else does."""
        super().__init__()
        self._cells = cells
        self._empty = empty
        self._fourth: QWidget | None = None
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        for plane, (row, column) in PLACES.items():
            cell = cells[plane]
            self._grid.addWidget(cell, row, column)
            cell.bar.size_toggled.connect(lambda on, cell=cell: self._enlarge(cell, on))
        self._grid.addWidget(empty, *FREE_PLACE)
        for place in (0, 1):
            self._grid.setRowStretch(place, 1)
            self._grid.setColumnStretch(place, 1)

    def set_fourth(self, widget: QWidget | None) -> None:
        """Put a widget into the free cell; it may carry a `ViewBar` named `bar`."""
        if self._fourth is not None:
            self._grid.removeWidget(self._fourth)
            self._fourth.setParent(None)
        self._fourth = widget
        self._empty.setVisible(widget is None)
        if widget is not None:
            self._grid.addWidget(widget, *FREE_PLACE)
            bar = getattr(widget, "bar", None)
            if isinstance(bar, ViewBar):
                bar.size_toggled.connect(lambda on, widget=widget: self._enlarge(widget, on))

    @property
    def fourth_seen(self) -> bool:
        """Whether the widget in the free cell has its place now."""
        return self._fourth is not None and not self._fourth.isHidden()

    def _enlarge(self, widget: QWidget, on: bool) -> None:
        for other in (*self._cells.values(), self._fourth or self._empty):
            other.setVisible(not on or other is widget)
        row, column = PLACES[widget.plane] if isinstance(widget, SliceCell) else FREE_PLACE
        for place in (0, 1):
            self._grid.setRowStretch(place, 0 if on and place != row else 1)
            self._grid.setColumnStretch(place, 0 if on and place != column else 1)
        self.rearranged.emit()
