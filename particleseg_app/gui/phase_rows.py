"""One row for each phase: its colour, name, grey values and share."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QLabel,
    QLineEdit,
    QWidget,
)

from particleseg_app.gui.formats import format_measure
from particleseg_app.gui.number_field import GreyBox
from particleseg_app.gui.style import label
from particleseg_app.gui.viewers.phase_colours import phase_colour
from particleseg_app.particles.interior_histogram import InteriorHistogram
from particleseg_app.particles.phases import MOST_PHASES

HEADINGS = ("", "Name", "Grey values", "", "Share")


class PhaseRows(QWidget):
    """Signal `changed` when a name or a limit was typed."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._histogram: InteriorHistogram | None = None
        self._decimals = 0
        self._count = 1
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)
        for column, text in enumerate(HEADINGS):
            heading = label(text, "muted")
            if text == HEADINGS[-1]:
                heading.setAlignment(Qt.AlignmentFlag.AlignRight)
            self._grid.addWidget(heading, 0, column)
        self.name_edits: list[QLineEdit] = []
        self.limit_boxes: list[GreyBox] = []  # above each phase but the brightest
        self._limit_words: list[QLabel] = []
        self._share_labels: list[QLabel] = []
        self._parts: list[list[QWidget]] = []
        for number in range(MOST_PHASES):
            self._add_row(number)

    def _add_row(self, number: int) -> None:
        swatch = QFrame()
        swatch.setFixedSize(16, 16)
        red, green, blue = phase_colour(number)
        swatch.setStyleSheet(f"background: rgb({red}, {green}, {blue}); border-radius: 4px")
        name = QLineEdit()
        name.setMaxLength(40)
        name.setAccessibleName(f"Name of phase {number + 1}")
        name.textEdited.connect(lambda _text: self.changed.emit())
        words = label("", "muted")
        words.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        box = GreyBox(f"Highest grey value of phase {number + 1}")
        box.setFixedWidth(96)
        box.valueChanged.connect(self._on_limit)
        share = label("")
        share.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        share.setMinimumWidth(64)
        parts: list[QWidget] = [swatch, name, words, box, share]
        for column, part in enumerate(parts):
            self._grid.addWidget(part, number + 1, column)
        self.name_edits.append(name)
        self.limit_boxes.append(box)
        self._limit_words.append(words)
        self._share_labels.append(share)
        self._parts.append(parts)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(edit.text().strip() for edit in self.name_edits[: self._count])

    @property
    def thresholds(self) -> tuple[float, ...]:
        return tuple(box.value() for box in self.limit_boxes[: self._count - 1])

    def set_histogram(self, histogram: InteriorHistogram) -> None:
        """Of what the shares are, and how finely limits are given."""
        self._histogram = histogram
        low, high = float(histogram.edges[0]), float(histogram.edges[-1])
        span = max(high - low, 1e-9)
        self._decimals = 0 if span > 1000 else 1 if span > 30 else 3 if span > 0.3 else 6
        for box in self.limit_boxes:
            with QSignalBlocker(box):
                box.setDecimals(self._decimals)
                box.setRange(low - 100 * span, high + 100 * span)
                box.setSingleStep(span / 200)

    def set_phases(self, names: Sequence[str], thresholds: Sequence[float]) -> None:
        """Show these phases; nothing is emitted."""
        self._count = len(names)
        for edit, name in zip(self.name_edits, names, strict=False):
            edit.setText(name)
        for number, parts in enumerate(self._parts):
            for part in parts:
                part.setVisible(number < self._count)
        last = self._count - 1
        self.limit_boxes[last].setVisible(False)
        self.set_thresholds(thresholds)

    def set_thresholds(self, thresholds: Sequence[float]) -> None:
        """Show these limits between the phases; nothing is emitted."""
        for box, value in zip(self.limit_boxes, thresholds, strict=False):
            with QSignalBlocker(box):
                box.setValue(value)
        self._show_figures()

    def _on_limit(self) -> None:
        self._show_figures()
        self.changed.emit()

    def _show_figures(self) -> None:
        limits = self.thresholds
        for number, words in enumerate(self._limit_words[: self._count]):
            if self._count == 1:
                words.setText("all")
            elif number == 0:
                words.setText("up to")
            else:
                below = format_measure(limits[number - 1], self._decimals)
                words.setText(f"{below} to" if number < len(limits) else f"above {below}")
            place = (number + 1, 2, 1, 2 if number == self._count - 1 else 1)
            self._grid.addWidget(words, *place)  # the brightest has no limit beside it
        if self._histogram is not None:
            for text, share in zip(
                self._share_labels, self._histogram.shares(limits), strict=False
            ):
                text.setText(f"{100 * share:.1f} %")
