"""Page 4: method, model, preset and device, and what the run will cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QRadioButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.errors import UserError
from particleseg_app.gui.drop_zone import DropVeil, dropped_paths
from particleseg_app.gui.settings import settings
from particleseg_app.gui.style import Card, label, plain_tip, row
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.wizard.classical_card import ClassicalCard
from particleseg_app.gui.wizard.cost_card import CostCard
from particleseg_app.gui.wizard.model_chooser import ModelChooser
from particleseg_app.gui.wizard.page import Answers, Draft, WizardPage, WizardScan
from particleseg_app.gui.wizard.wide_box import WideBox
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
        self._draft: Draft = {}
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
        scan = wizard_scan.scan
        self._classical = ClassicalCard(scan.statistics, whole=np.dtype(scan.dtype).kind in "ui")
        self.threshold, self.erosion = self._classical.threshold, self._classical.erosion
        self.cost = CostCard(wizard_scan.scan, wizard_scan.project_folder)
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
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what is in it scrolls it when focused
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(scroll, 5)
        layout.addWidget(self.cost, 3, Qt.AlignmentFlag.AlignTop)
        self.network_button.toggled.connect(self._on_method)
        self.cost.changed.connect(self.changed)
        self._classical.changed.connect(self._on_answer)
        self._classical.hide()
        self._veil = DropVeil(self)
        self.setAcceptDrops(True)

    def _network_card(self) -> Card:
        card = Card()
        self.model_chooser, self.device_box = ModelChooser(), WideBox("Runs on")
        self._model_text = label("", "muted", wrap=True)
        self._model_text.setTextFormat(Qt.TextFormat.PlainText)  # a card may hold anything
        name = label("Model")
        name.setFixedHeight(self.model_chooser.box.sizeHint().height())
        form = QGridLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        form.setColumnStretch(1, 1)
        form.addWidget(name, 0, 0, Qt.AlignmentFlag.AlignTop)
        form.addWidget(self.model_chooser, 0, 1)
        form.addWidget(self._model_text, 1, 0, 1, 2)
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
        self.model_chooser.changed.connect(self._on_models)
        self.model_chooser.imported.connect(lambda: self.network_button.setChecked(True))
        self.device_box.currentIndexChanged.connect(lambda _n: self._on_answer())
        return card

    # --- answers -------------------------------------------------------------------------------

    @property
    def models_known(self) -> bool:
        """Whether models and devices have been looked for."""
        return self.model_chooser.models is not None

    @property
    def method(self) -> str:
        return NETWORK if self.network_button.isChecked() else CLASSICAL

    def run_answers(self) -> dict[str, Any]:
        """The answers of this page as keyword arguments of a run's settings."""
        if self.method == CLASSICAL:
            return {"method": CLASSICAL, **self._classical.answers()}
        preset = self._presets.checkedButton()
        return {
            "method": NETWORK,
            "model": str(self.model_chooser.box.currentData() or "default"),
            "preset": str(preset.property("preset")) if preset else "standard",
            "device": str(self.device_box.currentData() or "auto"),
        }

    def problem(self) -> str:
        if self.method == CLASSICAL:
            if self.threshold.empty:
                return "Enter a threshold to go on."
            if self.threshold.value is None:
                return "Correct the threshold to go on."
        elif not self.models_known:
            return "Looking for models and devices…"
        elif self.model_chooser.busy:
            return "The list of models is being changed…"
        elif not self.model_chooser.models:
            return self._models_problem or "No model was found."
        return self.cost.problem()

    def enter(self) -> None:
        if not self.models_known and self._looking is None:
            self._looking = Task("Looking for models", _find_models_and_devices)
            self._looking.finished.connect(self._on_found)
            self._looking.failed.connect(self._on_not_found)
            self._looking.start()
        (self.network_button if self.method == NETWORK else self.classical_button).setFocus()
        self._on_answer()

    @property
    def expected_s(self) -> float | None:
        """How long the run takes by the estimate on the page; None where there is none."""
        estimate = self.cost.estimate_shown
        return None if estimate is None else estimate.seconds

    def leave(self) -> None:
        self.cost.stop()

    def draft(self) -> Draft:
        answers = {"method": self.method, **self._classical.draft()}
        if self.model_chooser.models:
            answers["model"] = self.model_chooser.box.currentData()
            answers["device"] = self.device_box.currentData()
        return answers

    def take_draft(self, draft: Draft) -> None:
        self._draft = draft  # models and devices are not known yet
        self.classical_button.setChecked(draft["method"] == CLASSICAL)
        self._classical.take_draft(draft)

    def stop(self) -> list[Task]:
        self.cost.stop()
        return []

    # --- a model dropped on the page -----------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        if self._dropped_model(event) is not None:
            event.acceptProposedAction()
            self._veil.show_over(self, "Let go to import the model")

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802
        self._veil.hide()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        self._veil.hide()
        path = self._dropped_model(event)
        if path is not None:
            event.acceptProposedAction()
            self.network_button.setChecked(True)  # where the import shows how it goes
            self.model_chooser.import_path(path)

    def _dropped_model(self, event: QDropEvent) -> Path | None:
        paths = dropped_paths(event.mimeData())
        usable = len(paths) == 1 and self.models_known and self.network_button.isEnabled()
        return paths[0] if usable and self.model_chooser.takes(paths[0]) else None

    # --- what happens --------------------------------------------------------------------------

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
        self._show_model()
        self._answers.run = self.run_answers()
        ready = self.method == CLASSICAL and self.threshold.value is not None
        chooser = self.model_chooser
        ready = ready or (self.method == NETWORK and bool(chooser.models) and not chooser.busy)
        if ready and self.isVisible() and self._answers.voxel_size_um:
            self.cost.estimate(self._answers.settings())
        else:
            self.cost.clear()
        self.changed.emit()

    def _on_found(self, found: tuple[list[ModelEntry], list[Device]]) -> None:
        self._looking = None
        models, devices = found
        self.device_box.blockSignals(True)
        self.device_box.clear()
        self.device_box.addItem(f"Automatic: {devices[0].title}" if devices else "", "auto")
        for device in devices:
            self.device_box.addItem(device.title, device.id)
        before = self.device_box.findData(self._draft.get("device"))
        self.device_box.setCurrentIndex(max(0, before))
        self.device_box.blockSignals(False)
        self.device_box.fit_popup()
        self.model_chooser.set_models(models, self._draft.get("model", ""))
        if not models:
            self.classical_button.setChecked(True)

    def _on_not_found(self, error: Exception) -> None:
        self._looking = None
        text = str(error) if isinstance(error, UserError) else f"{error!r}"
        self.network_button.setEnabled(False)
        self.classical_button.setChecked(True)
        self.model_chooser.set_models([])
        self._show_missing(f"The neural network cannot be used: {text}")

    def _on_models(self) -> None:
        if self.models_known and not self.model_chooser.models:
            self._show_missing("No model is installed. Import one, or use the classical method.")
        else:
            self._show_missing("")
        self._on_answer()

    def _show_missing(self, text: str) -> None:
        self._models_problem = text
        self._network_missing.setText(text)
        self._network_missing.setVisible(bool(text))

    def _show_model(self) -> None:
        entry = self.model_chooser.chosen
        self._model_text.setVisible(entry is not None or not self.models_known)
        if entry is None:
            self._model_text.setText("Looking for models…")
            return
        card = entry.card
        version = "" if card.version == "imported" else f"Version {card.version}."
        # What one chooses by is in sight; where it comes from and what it cannot do, at a hover.
        # (A model that does not say what it is for shows all it says.)
        shown = [card.purpose, version] if card.purpose else [version, card.made_from, card.limits]
        self._model_text.setText(" ".join(part for part in shown if part))
        more = "\n\n".join(part for part in (card.made_from, card.limits) if part)
        self._model_text.setToolTip(plain_tip(more))
        self.model_chooser.box.explain(more)


def _find_models_and_devices(
    progress: Progress, cancel: CancelToken
) -> tuple[list[ModelEntry], list[Device]]:
    from particleseg_app.models import available_devices, list_models

    return list_models(), available_devices()
