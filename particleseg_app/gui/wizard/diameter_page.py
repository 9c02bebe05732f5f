"""Page 3: the diameter of an average particle: proposed, measured on the slices, or typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from particleseg_app.errors import UserError
from particleseg_app.gui.number_field import NumberField
from particleseg_app.gui.style import Card, button, label, row
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.theme import set_role
from particleseg_app.gui.viewers import MeasuringPanel, MeasuringTool, OrthosliceView
from particleseg_app.gui.wizard.page import Answers, Draft, WizardPage, WizardScan
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import (
    check_diameter_fits,
    diameter_in_voxels,
    format_micrometres,
    format_number,
)

if TYPE_CHECKING:
    from particleseg_app.volumes.granulometry import DiameterProposal

COLUMN_WIDTH = 320
# A diameter that is off by more than this makes a result worse (docs/accuracy.md).
MISJUDGED = 1.5
SURENESS = {
    "good": "The program is quite sure.",
    "fair": "The program is fairly sure; compare it with a few particles.",
    "poor": "The program is not sure; better measure a few particles.",
}


class DiameterPage(WizardPage):
    step = "Particle diameter"
    title = "How large is an average particle?"
    subtitle = "A rough value is enough: the scan is brought to the scale the network knows."

    def __init__(self, wizard_scan: WizardScan, answers: Answers) -> None:
        super().__init__()
        self._scan = wizard_scan.scan
        self._answers = answers
        self._looking: Task | None = None
        self.proposal: DiameterProposal | None = None
        self._last_mean: float | None = None
        self._scan_shown = False
        self.view = OrthosliceView()
        self.view.setMinimumSize(320, 320)
        self.view.set_footer_visible(False)
        self.view.set_fourth_widget(_how_to_look())
        self.tool = MeasuringTool(self.view)
        self.tool.changed.connect(self._on_measured)
        self.field = NumberField("µm", self._check, "Particle diameter in µm", width=160)
        self.field.edit.setPlaceholderText("for example 200")
        self._voxels = label("", "muted", wrap=True)
        self._doubt = label("", "warning", wrap=True)
        self._doubt.hide()
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self._proposal_card())
        column.addWidget(self._measured_card(), 1)
        answer = Card("Particle diameter")
        answer.body.addWidget(self.field)
        answer.body.addWidget(self._voxels)
        answer.body.addWidget(self._doubt)
        column.addWidget(answer)
        side = QWidget()
        side.setFixedWidth(COLUMN_WIDTH)
        side.setLayout(column)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self.view, 1)
        layout.addWidget(side)
        self.field.changed.connect(self._on_changed)
        self.field.set_value(wizard_scan.particle_diameter_um)

    def _proposal_card(self) -> Card:
        card = Card("Proposed by the program")
        self._proposed = label("Looking for particles in a few parts of the scan…", wrap=True)
        self._sureness = label("", "muted", wrap=True)
        self._sureness.hide()
        self.use_proposal_button = button("Use", self._use_proposal, primary=True)
        self.use_proposal_button.hide()
        card.body.addWidget(self._proposed)
        card.body.addWidget(self._sureness)
        card.body.addLayout(row(self.use_proposal_button, None))
        return card

    def _measured_card(self) -> Card:
        card = Card("Measured by you")
        self.use_measured_button = button("", self._use_measured)
        self.use_measured_button.hide()
        card.body.addWidget(MeasuringPanel(self.tool))
        card.body.addLayout(row(self.use_measured_button, None))
        card.body.addStretch(1)
        self._measured_body = card.body
        return card

    # --- the page ------------------------------------------------------------------------------

    def problem(self) -> str:
        if self.field.empty:
            return "Use the proposal, measure or enter the diameter to go on."
        return "Correct the particle diameter to go on." if self.field.value is None else ""

    def enter(self) -> None:
        voxel_size = self._answers.voxel_size_um
        if self._scan_shown:
            self.view.set_voxel_size(voxel_size)
        else:
            self._scan_shown = True
            self.view.set_scan(self._scan, voxel_size)
            self.tool.set_kind("line")
        self.field.edit.setFocus()
        self._show_proposal()
        self.field.set_check(self._check)
        self._on_changed()
        self.look_for_particles()

    def look_for_particles(self) -> None:
        """Measure what will be proposed; it takes some seconds, so it may begin before `enter`."""
        if self._looking is not None or self.proposal is not None:
            return
        self._looking = Task("Measuring typical particles", self._propose)
        self._looking.finished.connect(self._on_proposed)
        self._looking.failed.connect(self._on_not_proposed)
        self._looking.cancelled.connect(self._on_interrupted)
        self._looking.start()

    def interrupt(self) -> None:
        """End what still looks for particles; it begins anew when the page is entered again."""
        if self._looking is not None:
            self._looking.cancel()

    def draft(self) -> Draft:
        return {
            "diameter": self.field.edit.text(),
            "measurements": self.tool.measurements,
            "proposal": self.proposal,
        }

    def take_draft(self, draft: Draft) -> None:
        self.proposal = draft["proposal"]
        for measurement in draft["measurements"]:
            self.tool.add(measurement)
        self.field.edit.setText(draft["diameter"])  # which need not be their mean

    def stop(self) -> list[Task]:
        self.view.stop()
        if self._looking is None:
            return []
        self._looking.cancel()
        return [self._looking]

    def _propose(self, progress: Progress, cancel: CancelToken) -> DiameterProposal | None:
        from particleseg_app.segmentation.diameter_proposal import propose_diameter

        return propose_diameter(self._scan, progress, cancel)

    def _on_interrupted(self) -> None:
        self._looking = None
        if self.isVisible():  # the user came back before the work had ended
            self.look_for_particles()

    def _on_proposed(self, proposal: DiameterProposal | None) -> None:
        self.proposal = proposal
        if proposal is None:
            self._on_not_proposed(None)
            return
        self._show_proposal()
        self._on_changed()

    def _on_not_proposed(self, error: Exception | None) -> None:
        self._proposed.setText("The program could not tell. Please measure a few particles.")

    def _show_proposal(self) -> None:
        proposal, voxel_size = self.proposal, self._answers.voxel_size_um
        if proposal is None or voxel_size is None:
            return
        size = format_micrometres(proposal.diameter_voxels * voxel_size)
        low = format_micrometres(proposal.low * voxel_size)
        high = format_micrometres(proposal.high * voxel_size)
        self._proposed.setText(f"{size}  ·  {format_number(proposal.diameter_voxels)} voxels")
        set_role(self._proposed, "heading")
        self._sureness.setText(f"{SURENESS.get(proposal.confidence, '')} Between {low} and {high}.")
        self._sureness.setToolTip(proposal.explanation)
        self._sureness.show()
        self.use_proposal_button.setText(f"Use {size}")
        self.use_proposal_button.show()

    def doubt(self) -> str:
        """What is said beside a diameter far from what the program found; empty for others."""
        proposal, voxel_size = self.proposal, self._answers.voxel_size_um
        diameter = self.field.value
        if proposal is None or proposal.confidence == "poor" or not voxel_size or diameter is None:
            return ""
        found = proposal.diameter_voxels * voxel_size
        if 1 / MISJUDGED < diameter / found < MISJUDGED:
            return ""
        word = "smaller" if diameter < found else "larger"
        return f"Much {word} than the {format_micrometres(found)} that the program found."

    def _use_proposal(self) -> None:
        if self.proposal is not None and self._answers.voxel_size_um is not None:
            self.field.set_value(self.proposal.diameter_voxels * self._answers.voxel_size_um, 3)

    # --- measurements --------------------------------------------------------------------------

    def mean_um(self) -> float | None:
        """Mean of the measured diameters, µm."""
        voxel_size, mean = self._answers.voxel_size_um, self.tool.mean_diameter_voxels
        return None if voxel_size is None or mean is None else mean * voxel_size

    def _on_measured(self) -> None:
        """The answer follows the mean, unless something else was entered meanwhile."""
        # The list takes the room only when there is something in it.
        many = bool(self.tool.measurements)
        self._measured_body.setStretch(1, 1 if many else 0)
        self._measured_body.setStretch(self._measured_body.count() - 1, 0 if many else 1)
        before, self._last_mean = self._last_mean, self.mean_um()
        value = self.field.value
        follows = value is None or _looks_alike(before, value)
        if follows and self._last_mean is not None:
            self._use_measured()
        self._on_changed()

    def _use_measured(self) -> None:
        mean = self.mean_um()
        if mean is not None:
            self.field.set_value(mean, 3)

    # --- the answer ----------------------------------------------------------------------------

    def _check(self, diameter_um: float) -> None:
        voxel_size = self._answers.voxel_size_um
        if voxel_size is None:
            raise UserError("The voxel size is not known yet.", "Go back one page.")
        check_diameter_fits(diameter_in_voxels(diameter_um, voxel_size), self._scan.shape)

    def _on_changed(self) -> None:
        diameter = self.field.value
        self._answers.particle_diameter_um = diameter
        voxel_size = self._answers.voxel_size_um
        if diameter is not None and voxel_size is not None:
            across = format_number(diameter / voxel_size)
            self._voxels.setText(f"= {across} voxels across")
        else:
            self._voxels.setText("")
        self._voxels.setVisible(bool(self._voxels.text()))
        self._doubt.setText(self.doubt())
        self._doubt.setVisible(bool(self._doubt.text()))
        mean = self.mean_um()
        shown = mean is not None and not _looks_alike(mean, diameter)
        self.use_measured_button.setVisible(shown)
        if mean is not None:
            self.use_measured_button.setText(f"Use the mean, {format_micrometres(mean)}")
        self.changed.emit()


def _looks_alike(one: float | None, other: float | None) -> bool:
    """Whether two lengths are written alike; none of them is like none."""
    if one is None or other is None:
        return False
    return format_number(one) == format_number(other)


def _how_to_look() -> QWidget:
    """Beside the three pictures: how to move in them."""
    frame = QFrame()
    frame.setProperty("role", "bar")
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(16, 12, 16, 12)
    layout.addStretch(1)
    for what, effect in (
        ("Scroll", "next slice"),
        ("Ctrl + scroll", "zoom"),
        ("Right drag", "move the picture"),
    ):
        text = label(f"<b>{what}</b>: {effect}", "muted")
        text.setTextFormat(Qt.TextFormat.RichText)
        text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(text)
    layout.addStretch(1)
    return frame
