"""Page 2: the voxel size, proposed from the files where they say it, confirmed by the user."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout

from particleseg_app.gui.number_field import NumberField
from particleseg_app.gui.style import Card, button, label, row
from particleseg_app.gui.wizard.extent_picture import ExtentPicture
from particleseg_app.gui.wizard.page import Answers, Draft, WizardPage, WizardScan
from particleseg_app.units import check_voxel_size, format_micrometres


class VoxelSizePage(WizardPage):
    step = "Voxel size"
    title = "How large is a voxel?"
    subtitle = (
        "The edge of one voxel. You find it in the scanner’s protocol, often as “voxel size” "
        "or “pixel size”."
    )

    def __init__(self, wizard_scan: WizardScan, answers: Answers) -> None:
        super().__init__()
        self._shape = wizard_scan.scan.shape
        self._answers = answers
        self.field = NumberField("µm", check_voxel_size, "Voxel size in µm", width=160)
        self.field.edit.setPlaceholderText("for example 10")
        self._extent = label("", "muted", wrap=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        proposal = wizard_scan.proposed_voxel_size_um
        self.use_button = button("", primary=True)
        if proposal is not None:
            found = Card(f"The files say {proposal:.6g} µm")
            origin = wizard_scan.voxel_size_origin
            source = f"Read from: {origin}. " if origin else ""
            found.body.addWidget(
                label(
                    f"{source}Programs on the way from the scanner may have changed or "
                    "lost it, so please compare it with the protocol.",
                    "muted",
                    wrap=True,
                )
            )
            self.use_button.setText(f"Use {proposal:.6g} µm")
            self.use_button.clicked.connect(lambda: self.field.set_value(proposal))
            found.body.addSpacing(4)
            found.body.addLayout(row(self.use_button, None))
            layout.addWidget(found)
        else:
            layout.addWidget(label("The files do not say the voxel size.", "muted"))
        typed = Card("Voxel size")
        typed.body.addWidget(self.field)
        typed.body.addWidget(self._extent)
        layout.addWidget(typed)
        self._picture = ExtentPicture(self._shape)
        layout.addWidget(self._picture, 1)
        self.field.changed.connect(self._on_changed)
        self.field.set_value(wizard_scan.voxel_size_um)
        self._on_changed()

    def problem(self) -> str:
        if self.field.empty:
            return "Enter the voxel size to go on."
        return "Correct the voxel size to go on." if self.field.problem else ""

    def enter(self) -> None:
        self.field.edit.setFocus()

    def draft(self) -> Draft:
        return {"voxel size": self.field.edit.text()}

    def take_draft(self, draft: Draft) -> None:
        self.field.edit.setText(draft["voxel size"])

    def _on_changed(self) -> None:
        voxel_size = self.field.value
        self._answers.voxel_size_um = voxel_size
        if voxel_size is None:
            self._extent.setText("The picture then shows how large the whole scan is, as a check.")
        else:
            z, y, x = (format_micrometres(n * voxel_size) for n in self._shape)
            self._extent.setText(
                f"The whole scan is then {x} wide, {y} deep and {z} high. Is that about the size "
                "of what was scanned?"
            )
        self._picture.set_voxel_size(voxel_size)
        self.changed.emit()
