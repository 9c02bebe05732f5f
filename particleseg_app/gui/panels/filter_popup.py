"""A small form for the particle filter: least and greatest value of the columns that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QGridLayout, QLineEdit, QVBoxLayout, QWidget

from particleseg_app.gui.formats import parse_length, parse_number
from particleseg_app.gui.panels.table_filter import Condition
from particleseg_app.gui.style import button, label, row
from particleseg_app.particles import Column
from particleseg_app.particles.phases import MAIN_PHASE, phase_names

if TYPE_CHECKING:
    import pandas as pd

FILTERED = (
    "equivalent_diameter_um",
    "volume_um3",
    "volume_voxels",
    "sphericity",
    "surface_area_um2",
    "grey_mean",
)
# The words that the typed filter understands, so that form and text say the same.
WORDS = {
    "equivalent_diameter_um": "diameter",
    "volume_um3": "volume",
    "volume_voxels": "voxels",
    "surface_area_um2": "surface",
    "grey_mean": "grey",
}


class FilterPopup(QFrame):
    """Emits the filter as text while the limits are typed."""

    text_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setProperty("role", "card")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._fields: dict[str, tuple[QLineEdit, QLineEdit]] = {}
        self._lengths: set[str] = set()  # columns in µm, for which a unit may be typed
        self.phase_box: QComboBox | None = None
        self._typed: tuple[Condition, ...] = ()  # in the box, when the form was filled
        self._filled: dict[str, tuple[str, str]] = {}
        self._phase_filled = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 12)
        layout.setSpacing(10)
        layout.addWidget(label("Show only particles between", "heading"))
        layout.addLayout(self._grid)
        clear = button("Clear", self.clear)
        layout.addLayout(row(None, clear, button("Done", self.hide, primary=True)))

    def set_table(self, table: pd.DataFrame, columns: Sequence[Column]) -> None:
        """Offer the columns of `table`, with their present range as a hint."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self._fields, self._lengths = {}, set()
        shown = [column for column in columns if column.name in FILTERED]
        shown.sort(key=lambda column: FILTERED.index(column.name))
        for number, column in enumerate(shown):
            values = table[column.name].to_numpy(dtype=np.float64)
            values = values[np.isfinite(values)]
            low, high = QLineEdit(), QLineEdit()
            for field, limit in ((low, "min"), (high, "max")):
                if len(values):
                    edge = values.min() if limit == "min" else values.max()
                    field.setPlaceholderText(column.text(edge))
                field.setFixedWidth(96)
                field.setAccessibleName(f"{column.title}, {limit}")
                field.textEdited.connect(self._tell)
            self._grid.addWidget(label(column.title), number, 0)
            self._grid.addWidget(low, number, 1)
            self._grid.addWidget(label("to", "muted"), number, 2)
            self._grid.addWidget(high, number, 3)
            self._grid.addWidget(label(column.unit, "muted"), number, 4)
            self._fields[column.name] = (low, high)
            if column.unit == "µm":
                self._lengths.add(column.name)
        self.phase_box = None
        names = phase_names(table)
        if names:
            box = QComboBox()
            box.setAccessibleName("Main phase")
            box.addItem("Any", "")
            for name in names:
                box.addItem(name, name)
            box.activated.connect(self._tell)
            self._grid.addWidget(label("Main phase"), len(shown), 0)
            self._grid.addWidget(box, len(shown), 1, 1, 3)
            self.phase_box = box

    def set_conditions(self, conditions: Sequence[Condition]) -> None:
        """Show limits that were typed elsewhere."""
        for name, (low, high) in self._fields.items():
            least = [c.minimum for c in conditions if c.column == name and c.minimum is not None]
            most = [c.maximum for c in conditions if c.column == name and c.maximum is not None]
            low.setText(f"{max(least):.12g}" if least else "")
            high.setText(f"{min(most):.12g}" if most else "")
        if self.phase_box is not None:
            names = [c.name for c in conditions if c.column == MAIN_PHASE]
            self.phase_box.setCurrentIndex(self.phase_box.findData(names[-1] if names else ""))
        self._phase_filled = self._phase()
        self._typed = tuple(conditions)
        self._filled = {name: (a.text(), b.text()) for name, (a, b) in self._fields.items()}

    def _kept(self) -> list[str]:
        """Conditions that were typed and that the form does not offer, or leaves as they were."""
        parts = []
        for condition in self._typed:
            name = condition.column
            if name in self._fields:
                low, high = self._fields[name]
                if (low.text(), high.text()) != self._filled.get(name):
                    continue
            elif name == MAIN_PHASE and self._phase() != self._phase_filled:
                continue
            parts.append(condition.text(WORDS.get(name, name)))
        return parts

    def clear(self) -> None:
        self._typed = ()
        for low, high in self._fields.values():
            low.clear()
            high.clear()
        if self.phase_box is not None:
            self.phase_box.setCurrentIndex(0)
        self._tell()

    def text(self) -> str:
        """The limits as the text that the filter box would hold."""
        parts = self._kept()
        for name, (low_field, high_field) in self._fields.items():
            if self._typed and (low_field.text(), high_field.text()) == self._filled.get(name):
                continue  # as it was typed
            low, high = self._limit(name, low_field), self._limit(name, high_field)
            word = WORDS.get(name, name)
            if low is not None and high is not None:
                parts.append(f"{word} {low:.12g}..{high:.12g}")
            elif low is not None:
                parts.append(f"{word} >= {low:.12g}")
            elif high is not None:
                parts.append(f"{word} <= {high:.12g}")
        phase = self._phase()
        if phase and not (self._typed and phase == self._phase_filled):
            parts.append(f"phase = {phase}")
        return ", ".join(parts)

    def _phase(self) -> str:
        """The main phase that is chosen; "" for any."""
        return "" if self.phase_box is None else self.phase_box.currentData() or ""

    def _limit(self, name: str, field: QLineEdit) -> float | None:
        """What is typed into a field; a text that is no number is marked and does not count."""
        typed = field.text().strip()
        value = parse_length(typed) if name in self._lengths else parse_number(typed)
        wrong = bool(typed) and value is None
        if bool(field.property("invalid")) != wrong:
            field.setProperty("invalid", wrong)
            field.style().unpolish(field)
            field.style().polish(field)
        return value

    def _tell(self) -> None:
        self.text_changed.emit(self.text())
