"""What the classical method asks: the grey value of particles, and how touching ones are parted."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QSpinBox

from particleseg_app.errors import UserError
from particleseg_app.gui.formats import format_measure
from particleseg_app.gui.number_field import NumberField
from particleseg_app.gui.style import Card, label, trim_number_box
from particleseg_app.gui.wizard.grey_histogram import GreyHistogram
from particleseg_app.gui.wizard.page import Draft
from particleseg_app.volumes import GreyStatistics


class ClassicalCard(Card):
    changed = Signal()

    def __init__(self, statistics: GreyStatistics, whole: bool) -> None:
        """`whole`: the grey values of the scan are whole numbers."""
        super().__init__()
        proposed = statistics.matrix_and_particle_threshold()
        if whole:
            proposed = math.floor(proposed)  # as many voxels are brighter
        low, high = statistics.minimum, statistics.maximum

        def words(grey: float) -> str:
            return format_measure(grey, 0) if whole and grey == round(grey) else f"{grey:.6g}"

        def inside(value: float) -> None:
            if not low <= value <= high:
                raise UserError(
                    f"No voxel has the grey value {words(value)}.",
                    f"Enter {words(low)} to {words(high)}.",
                )

        self.histogram = GreyHistogram()
        self.histogram.set_statistics(statistics)
        self.histogram.setFixedHeight(120)
        self.threshold = NumberField("grey value", inside, "Threshold")
        self.threshold.edit.setText(words(proposed))
        self.opening, self.erosion = QSpinBox(), QSpinBox()
        for box, value, what in (
            (self.opening, 1, "Opening in voxels"),
            (self.erosion, 2, "Erosion in voxels"),
        ):
            box.setAccessibleName(what)
            box.setRange(0, 50)
            trim_number_box(box)
            box.setValue(value)
            box.setSuffix(" voxels" if value != 1 else " voxel")
            box.setFixedWidth(130)
            box.valueChanged.connect(
                lambda value, box=box: box.setSuffix(" voxels" if value != 1 else " voxel")
            )
            box.valueChanged.connect(lambda _value: self.changed.emit())
        self.opening.setToolTip("Bridges and specks thinner than this are removed first.")
        self.erosion.setToolTip("How far particles are shrunk to find where they touch.")
        form = QGridLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        form.setColumnStretch(1, 1)
        hint = f"Brighter voxels are particles. Proposed by Otsu’s method: {words(proposed)}"
        name = label("Threshold")
        name.setFixedHeight(self.threshold.edit.sizeHint().height())  # on the line of its text
        form.addWidget(name, 0, 0, Qt.AlignmentFlag.AlignTop)
        form.addWidget(self.threshold, 0, 1)
        form.addWidget(label(hint, "muted", wrap=True), 1, 1)
        left = Qt.AlignmentFlag.AlignLeft
        form.addWidget(label("Opening"), 2, 0)
        form.addWidget(self.opening, 2, 1, left)
        form.addWidget(label("Erosion"), 3, 0)
        form.addWidget(self.erosion, 3, 1, left)
        self.body.addWidget(self.histogram)
        self.body.addLayout(form)
        self.threshold.changed.connect(self._on_threshold)
        self._on_threshold()

    def answers(self) -> dict[str, Any]:
        """What the card asks, as keyword arguments of a run's settings."""
        return {
            "threshold": self.threshold.value,
            "opening_radius": self.opening.value(),
            "erosion_radius": self.erosion.value(),
        }

    def draft(self) -> Draft:
        return {
            "threshold": self.threshold.edit.text(),
            "opening": self.opening.value(),
            "erosion": self.erosion.value(),
        }

    def take_draft(self, draft: Draft) -> None:
        self.threshold.edit.setText(draft["threshold"])
        self.opening.setValue(draft["opening"])
        self.erosion.setValue(draft["erosion"])

    def _on_threshold(self) -> None:
        self.histogram.set_threshold(self.threshold.value)
        self.changed.emit()
