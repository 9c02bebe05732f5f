"""Page 4: method, model, preset and device, and what the run will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.errors import UserError
from particleseg_app.gui.number_field import NumberField
from particleseg_app.gui.settings import settings
from particleseg_app.gui.style import Card, label, row
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.wizard.cost_card import CostCard
from particleseg_app.gui.wizard.grey_histogram import GreyHistogram
from particleseg_app.gui.wizard.page import Answers, WizardPage, WizardScan
from particleseg_app.progress import CancelToken, Progress

if TYPE_CHECKING:
    from particleseg_app.models import Device, ModelEntry

NETWORK, CLASSICAL = "nnunet", "threshwater"
PRESETS = (
    ("fast", "Fast", "For a first look; particles that touch are separated less well."),
    ("standard", "Standard", "Right for most scans."),
    ("best", "Best", "The most careful and the slowest; for results that are published."),
)


class MethodPage(WizardPage):
    step = "Segmentation"
    title = "How should the particles be found?"
    subtitle = "The proposed choices are right for most scans."

    def __init__(self, wizard_scan: WizardScan, answers: Answers) -> None:
        super().__init__()
        self._answers = answers
        self._models: list[ModelEntry] | None = None
        self._models_problem = ""
        self._looking: Task | None = None
        self.network_button = QRadioButton("Neural network (recommended)")
        self.classical_button = QRadioButton("Classical (threshold + watershed)")
        self.network_button.setChecked(True)
        methods = QButtonGroup(self)
        methods.addButton(self.network_button)
        methods.addButton(self.classical_button)
        choice = Card()
        choice.body.setSpacing(4)
        for box, text in (
            (self.network_button, "Learned from many particles; separates touching ones well."),
            (self.classical_button, "No learning, quick; needs a clear grey-value difference."),
        ):
            box.setStyleSheet("font-weight: 600")
            hint = label(text, "muted", wrap=True)
            hint.setContentsMargins(24, 0, 0, 6)
            choice.body.addWidget(box)
            choice.body.addWidget(hint)
            if box is self.network_button:
                self._network_missing = label("", "warning", wrap=True)
                self._network_missing.hide()
                choice.body.addWidget(self._network_missing)
        self._network = self._network_card()
        self._classical = self._classical_card(wizard_scan)
        self.cost = CostCard(wizard_scan.scan.shape, wizard_scan.project_folder)
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, 8, 0)
        left.setSpacing(12)
        left.addWidget(choice)
        left.addWidget(self._network)
        left.addWidget(self._classical)
        left.addStretch(1)
        inside = QWidget()
        inside.setLayout(left)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(scroll, 3)
        layout.addWidget(self.cost, 2, Qt.AlignmentFlag.AlignTop)
        self.network_button.toggled.connect(self._on_method)
        self.cost.changed.connect(self.changed)
        self._classical.hide()

    def _network_card(self) -> Card:
        card = Card()
        self.model_box, self.device_box = QComboBox(), QComboBox()
        self._model_text = label("", "muted", wrap=True)
        form = QGridLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        form.setColumnStretch(1, 1)
        form.addWidget(label("Model"), 0, 0)
        form.addWidget(self.model_box, 0, 1)
        form.addWidget(self._model_text, 1, 1)
        form.addWidget(label("Runs on"), 2, 0)
        form.addWidget(self.device_box, 2, 1)
        card.body.addLayout(form)
        card.body.addSpacing(8)
        card.body.addWidget(label("Speed and quality", "heading"))
        self._presets = QButtonGroup(self)
        last = str(settings().value("wizard/preset", "standard"))
        for key, title, text in PRESETS:
            box = QRadioButton(title)
            box.setProperty("preset", key)
            box.setChecked(key == last)
            box.setFixedWidth(96)
            self._presets.addButton(box)
            choice = row(box, label(text, "muted", wrap=True))
            choice.setStretch(1, 1)
            card.body.addLayout(choice)
        if self._presets.checkedButton() is None:
            self._presets.buttons()[1].setChecked(True)
        self._presets.buttonClicked.connect(lambda _box: self._on_answer())
        self.model_box.currentIndexChanged.connect(lambda _n: self._on_answer())
        self.device_box.currentIndexChanged.connect(lambda _n: self._on_answer())
        return card

    def _classical_card(self, wizard_scan: WizardScan) -> Card:
        card = Card()
        statistics = wizard_scan.scan.statistics
        proposed = statistics.matrix_and_particle_threshold()
        low, high = statistics.minimum, statistics.maximum

        def inside(value: float) -> None:
            if not low <= value <= high:
                raise UserError(
                    f"No voxel has the grey value {value:g}.", f"Enter {low:g} to {high:g}."
                )

        self.histogram = GreyHistogram()
        self.histogram.set_statistics(statistics)
        self.histogram.setFixedHeight(120)
        self.threshold = NumberField("grey value", inside, "Threshold")
        self.threshold.set_value(proposed)
        self.opening, self.erosion = QSpinBox(), QSpinBox()
        for box, value in ((self.opening, 1), (self.erosion, 2)):
            box.setRange(0, 50)
            box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            box.setValue(value)
            box.setSuffix(" voxels" if value != 1 else " voxel")
            box.setFixedWidth(130)
            box.valueChanged.connect(
                lambda value, box=box: box.setSuffix(" voxels" if value != 1 else " voxel")
            )
            box.valueChanged.connect(lambda _value: self._on_answer())
        self.opening.setToolTip("Bridges and specks thinner than this are removed first.")
        self.erosion.setToolTip("How far particles are shrunk to find where they touch.")
        form = QGridLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        form.setColumnStretch(1, 1)
        hint = f"Brighter voxels are particles. Proposed by Otsu’s method: {proposed:.6g}"
        name = label("Threshold")
        name.setContentsMargins(0, 5, 0, 0)  # on the line of the field's text
        form.addWidget(name, 0, 0, Qt.AlignmentFlag.AlignTop)
        form.addWidget(self.threshold, 0, 1)
        form.addWidget(label(hint, "muted", wrap=True), 1, 1)
        left = Qt.AlignmentFlag.AlignLeft
        form.addWidget(label("Opening"), 2, 0)
        form.addWidget(self.opening, 2, 1, left)
        form.addWidget(label("Erosion"), 3, 0)
        form.addWidget(self.erosion, 3, 1, left)
        card.body.addWidget(self.histogram)
        card.body.addLayout(form)
        self.threshold.changed.connect(self._on_answer)
        return card

    # --- answers -------------------------------------------------------------------------------

    @property
    def models_known(self) -> bool:
        """Whether models and devices have been looked for."""
        return self._models is not None

    @property
    def method(self) -> str:
        return NETWORK if self.network_button.isChecked() else CLASSICAL

    def run_answers(self) -> dict[str, Any]:
        """The answers of this page as keyword arguments of a run's settings."""
        if self.method == CLASSICAL:
            return {
                "method": CLASSICAL,
                "threshold": self.threshold.value,
                "opening_radius": self.opening.value(),
                "erosion_radius": self.erosion.value(),
            }
        preset = self._presets.checkedButton()
        return {
            "method": NETWORK,
            "model": str(self.model_box.currentData() or "default"),
            "preset": str(preset.property("preset")) if preset else "standard",
            "device": str(self.device_box.currentData() or "auto"),
        }

    def problem(self) -> str:
        if self.method == CLASSICAL:
            if self.threshold.value is None:
                return "Enter a threshold to go on."
        elif self._models is None:
            return "Looking for models and devices…"
        elif not self._models:
            return self._models_problem or "No model was found."
        return self.cost.problem()

    def enter(self) -> None:
        if self._models is None and self._looking is None:
            self._looking = Task("Looking for models", _find_models_and_devices)
            self._looking.finished.connect(self._on_found)
            self._looking.failed.connect(self._on_not_found)
            self._looking.start()
        self._on_answer()

    def leave(self) -> None:
        self.cost.stop()

    def stop(self) -> list[Task]:
        self.cost.stop()
        return []

    def _on_method(self) -> None:
        network = self.method == NETWORK
        self._network.setVisible(network)
        self._classical.setVisible(not network)
        self._on_answer()

    def _on_answer(self) -> None:
        if not self.network_button.isEnabled() and self.method == NETWORK:
            return
        preset = self._presets.checkedButton()
        if preset is not None:
            settings().setValue("wizard/preset", preset.property("preset"))
        self.histogram.set_threshold(self.threshold.value)
        self._show_model()
        self._answers.run = self.run_answers()
        ready = self.method == CLASSICAL and self.threshold.value is not None
        ready = ready or (self.method == NETWORK and bool(self._models))
        if ready and self.isVisible() and self._answers.voxel_size_um:
            self.cost.estimate(self._answers.settings())
        else:
            self.cost.clear()
        self.changed.emit()

    def _on_found(self, found: tuple[list[ModelEntry], list[Device]]) -> None:
        self._looking = None
        models, devices = found
        self._models = models
        for box in (self.model_box, self.device_box):
            box.blockSignals(True)
            box.clear()
        for entry in models:
            self.model_box.addItem(entry.card.title, entry.name)
        self.device_box.addItem(f"Automatic: {devices[0].title}" if devices else "", "auto")
        for device in devices:
            self.device_box.addItem(device.title, device.id)
        self.device_box.setCurrentIndex(0)
        for box in (self.model_box, self.device_box):
            box.blockSignals(False)
        if not models:
            self._no_models("No model is installed, so only the classical method can be used.")
        self._on_answer()

    def _on_not_found(self, error: Exception) -> None:
        self._looking = None
        self._models = []
        text = str(error) if isinstance(error, UserError) else f"{error!r}"
        self._no_models(f"The neural network cannot be used: {text}")
        self._on_answer()

    def _no_models(self, text: str) -> None:
        self._models_problem = text
        self.network_button.setEnabled(False)
        self.network_button.setToolTip(text)
        self._network_missing.setText(text)
        self._network_missing.show()
        self.classical_button.setChecked(True)

    def _show_model(self) -> None:
        name = self.model_box.currentData()
        entry = next((e for e in self._models or [] if e.name == name), None)
        if entry is None:
            self._model_text.setText("Looking for models…" if self._models is None else "")
            return
        parts = [f"Version {entry.card.version}.", entry.card.made_from, entry.card.limits]
        self._model_text.setText(" ".join(part for part in parts if part))


def _find_models_and_devices(
    progress: Progress, cancel: CancelToken
) -> tuple[list[ModelEntry], list[Device]]:
    from particleseg_app.models import available_devices, list_models

    return list_models(), available_devices()
