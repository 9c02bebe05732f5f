"""The size distribution as process engineers read it: what is finer than which size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QLabel,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.formats import plural
from particleseg_app.gui.panels.size_plot import SizePlot
from particleseg_app.gui.style import button, label, row, tool_button
from particleseg_app.particles import SizeDistribution, size_distribution
from particleseg_app.units import format_micrometres

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (
    ("D10", "d10", "10 % is finer than this size."),
    ("D50", "d50", "Half is finer than this size."),
    ("P80", "p80", "80 % is finer than this size."),
    ("D90", "d90", "90 % is finer than this size."),
)


class SizeDistributionPanel(QWidget):
    """Plot and figures of the particles that pass the table's filter."""

    weighting_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table: pd.DataFrame | None = None
        self._labels: np.ndarray | None = None
        self._selected: int | None = None
        self._weighting = "volume"
        self.distribution: SizeDistribution | None = None
        self.plot = SizePlot()
        self._count = label("", "muted")
        self._choice = QButtonGroup(self)
        buttons = []
        for text, weighting, tip in (
            ("Volume", "volume", "By volume: large particles count for as much as they hold."),
            ("Number", "number", "By number: every particle counts the same."),
        ):
            choice = button(text, quiet=True)
            choice.setCheckable(True)
            choice.setStyleSheet("padding: 3px 8px")
            choice.setChecked(weighting == self._weighting)
            choice.setToolTip(tip)
            choice.setProperty("weighting", weighting)
            self._choice.addButton(choice)
            buttons.append(choice)
        self._choice.buttonClicked.connect(
            lambda clicked: self.set_weighting(str(clicked.property("weighting")))
        )
        self._figures: dict[str, QLabel] = {}
        figures = QGridLayout()
        figures.setContentsMargins(0, 0, 0, 0)
        figures.setHorizontalSpacing(8)
        figures.setVerticalSpacing(0)
        for column, (name, key, tip) in enumerate(FIGURES):
            head, value = label(name, "muted"), label("–")
            value.setStyleSheet("font-weight: 600; font-size: 11pt")
            for part in (head, value):
                part.setToolTip(tip)
                part.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            figures.addWidget(head, 0, column)
            figures.addWidget(value, 1, column)
            figures.setColumnStretch(column, 1)
            self._figures[key] = value
        self.copy_button = tool_button(
            "copy", "Copy the distribution for a spreadsheet", self._copy
        )
        self.copy_button.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.setSpacing(8)
        layout.addLayout(
            row(
                label("Size distribution", "heading"),
                None,
                *buttons,
                4,
                self.copy_button,
                spacing=2,
            )
        )
        layout.addWidget(self.plot, 1)
        layout.addLayout(figures)
        layout.addWidget(self._count)
        self._count.setAlignment(Qt.AlignmentFlag.AlignHCenter)

    @property
    def weighting(self) -> str:
        return self._weighting

    def set_table(self, table: pd.DataFrame | None) -> None:
        self._table, self._labels, self._selected = table, None, None
        self._update()

    def set_shown(self, labels: np.ndarray) -> None:
        """Take in only these particles (those that pass the table's filter)."""
        self._labels = labels
        self._update()

    def set_weighting(self, weighting: str) -> None:
        for choice in self._choice.buttons():
            choice.setChecked(choice.property("weighting") == weighting)
        if weighting != self._weighting:
            self._weighting = weighting
            self._update()
            self.weighting_changed.emit(weighting)

    def select_label(self, label: int | None) -> None:
        """Mark the size of one particle on the plot."""
        self._selected = label
        self._mark()

    def _update(self) -> None:
        table = self._table
        if table is not None and self._labels is not None and len(self._labels) < len(table):
            table = table[np.isin(table["label"].to_numpy(), self._labels)]
        self.distribution = None
        if table is not None:
            self.distribution = size_distribution(table, self._weighting)  # type: ignore[arg-type]
        self.plot.set_distribution(self.distribution)
        self.copy_button.setEnabled(self.distribution is not None)
        found = self.distribution
        for key, text in self._figures.items():
            text.setText(format_micrometres(getattr(found, key)) if found else "–")
        by = "by volume" if self._weighting == "volume" else "by number"
        self._count.setText(
            f"{plural(found.particle_count, 'particle')} shown in the table, {by}" if found else ""
        )
        self._mark()

    def _copy(self) -> None:
        """Copy figures and size classes as shown, tab-separated, for a spreadsheet."""
        if self.distribution is not None:
            QGuiApplication.clipboard().setText(distribution_text(self.distribution))
            below = self.copy_button.mapToGlobal(self.copy_button.rect().bottomLeft())
            QToolTip.showText(below, "Copied; paste it into a spreadsheet.", self.copy_button)

    def _mark(self) -> None:
        diameter = None
        if self._table is not None and self._selected is not None:
            labels = self._table["label"].to_numpy()
            place = int(np.searchsorted(labels, self._selected))
            if place < len(labels) and labels[place] == self._selected:
                diameter = float(self._table["equivalent_diameter_um"].to_numpy()[place])
        self.plot.mark_particle(self._selected, diameter)


def distribution_text(found: SizeDistribution) -> str:
    """A size distribution as tab-separated lines: its figures, then its size classes.

    A class holds its lower size but not its upper one; what is finer is read off at the upper one.
    """
    by = "volume" if found.weighting == "volume" else "number"
    lines = [[name, f"{getattr(found, key):.6g}", "µm"] for name, key, _ in FIGURES]
    lines += [["Particles", str(found.particle_count)], []]
    lines.append(["From (µm)", "To (µm)", f"In class (% by {by})", f"Finer (% by {by})"])
    edges, finer = found.bin_edges_um, 0.0
    for low, high, share in zip(edges[:-1], edges[1:], found.bin_shares, strict=True):
        finer += 100 * float(share)
        lines.append([f"{low:.6g}", f"{high:.6g}", f"{100 * share:.4f}", f"{finer:.4f}"])
    return "\n".join("\t".join(cells) for cells in lines) + "\n"
