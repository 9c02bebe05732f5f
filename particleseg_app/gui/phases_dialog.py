"""The phases of a run: where the grey values part them, what they are called, apply and remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QDialog, QVBoxLayout, QWidget

from particleseg_app.errors import InvalidValueError, UserError
from particleseg_app.gui.phase_rows import PhaseRows
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.style import button, label, row
from particleseg_app.gui.tasks import ProgressPanel, Task, when_ended
from particleseg_app.gui.viewers.phase_histogram import PhaseHistogram
from particleseg_app.particles.phase_files import StoredPhases
from particleseg_app.particles.phase_proposal import PhaseProposal, proposal_of
from particleseg_app.particles.phases import MOST_PHASES, Phases
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project

EXPLANATION = (
    "A phase is a range of grey values inside particles. Drag the lines to move the limits "
    "between phases."
)
RIM = (
    "Rims of particles are left out: the scanner mixes them with what is around. Noise is averaged "
    "over neighbouring voxels."
)


class PhasesDialog(QDialog):
    """Stays open beside the results. `phases_changed` when phases were applied or removed."""

    phases_changed = Signal()

    def __init__(
        self,
        project: Project,
        run_id: str,
        stored: StoredPhases | None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._project, self._run_id = project, run_id
        self._stored = None if stored is None else stored.phases
        self.proposal: PhaseProposal | None = None
        self.task: Task | None = None
        run = project.run(run_id)
        self.setWindowTitle("Phases")
        self.histogram = PhaseHistogram()
        self.rows = PhaseRows()
        self.count_buttons = QButtonGroup(self)
        counts = []
        for count in range(1, MOST_PHASES + 1):
            choice = button(str(count), quiet=True)
            choice.setCheckable(True)
            choice.setStyleSheet("padding: 3px 10px")
            choice.setAccessibleName(f"{count} phases")
            self.count_buttons.addButton(choice, count)
            counts.append(choice)
        self.count_buttons.idClicked.connect(self.set_count)
        self._proposed_text = label("", "muted", wrap=True)
        self._problem = label("", "error", wrap=True)
        self._done = label("", "success", wrap=True)
        self.progress = ProgressPanel()
        self.remove_button = button("Remove phases", self.remove)
        self.apply_button = button("Apply", self.apply, primary=True)
        self.apply_button.setDefault(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 18)
        layout.setSpacing(12)
        scan = project.scan(run.scan_id)
        layout.addWidget(label(f"Phases of {run.name} of {scan.name}", "heading"))
        layout.addWidget(label(EXPLANATION, "muted", wrap=True))
        layout.addWidget(self.histogram, 1)
        layout.addLayout(row(label("Number of phases"), *counts, None, spacing=4))
        layout.addWidget(self._proposed_text)
        layout.addWidget(self.rows)
        layout.addWidget(label(RIM, "muted", wrap=True))
        for part in (self._problem, self._done, self.progress):
            layout.addWidget(part)
        self.close_button = button("Close", self.reject)
        layout.addLayout(row(self.remove_button, None, self.close_button, self.apply_button))
        self.setMinimumWidth(440)
        self.resize(500, 620)  # no wider: the results beside it are to be seen
        self.histogram.thresholds_changed.connect(self._on_dragged)
        self.rows.changed.connect(self._on_typed)
        if project.read_only:
            self.apply_button.setToolTip(READ_ONLY)
            self.remove_button.setToolTip(READ_ONLY)
        self._show_state()
        self._look(stored)

    @property
    def phases(self) -> Phases:
        """The phases as they stand here; raises `InvalidValueError` while they are not possible."""
        return Phases(self.rows.names, self.rows.thresholds)

    def set_count(self, count: int) -> None:
        """Show so many phases where the grey values part best; names stay with their number."""
        if self.proposal is None:
            return
        wanted = self.proposal.phases_of(count)
        names = (*self.rows.names[: wanted.count], *wanted.names[len(self.rows.names) :])
        self._show_phases(names, wanted.thresholds)

    def apply(self) -> None:
        """Count the phases of every particle in the background and keep them with the run."""
        if self.task is not None or self.proposal is None or self._project.read_only:
            return
        from particleseg_app.projects.phases import set_run_phases

        phases, histogram = self.phases, self.proposal.histogram
        project, run_id = self._project, self._run_id

        def done(_none: object) -> None:
            self._stored = phases
            self._done.setText("Applied. Particles are coloured by their main phase.")
            self.phases_changed.emit()

        self._start(
            "Counting phases",
            lambda progress, cancel: set_run_phases(
                project, run_id, phases, histogram, progress, cancel
            ),
            done,
        )

    def remove(self) -> None:
        """Take the phases away from the run; what is shown here can be applied again."""
        if self.task is not None or self._project.read_only:
            return
        from particleseg_app.projects.phases import remove_run_phases

        project, run_id = self._project, self._run_id

        def done(_none: object) -> None:
            self._stored = None
            self._done.setText("Removed. Apply brings them back.")
            self.phases_changed.emit()

        self._start(
            "Removing phases", lambda _progress, _cancel: remove_run_phases(project, run_id), done
        )

    def reject(self) -> None:
        """Close; work that still runs is cancelled."""
        running = [] if self.task is None else [self.task]
        for task in running:
            task.cancel()
        super().reject()
        when_ended(running, self.deleteLater)

    # --- work ----------------------------------------------------------------------------------

    def _look(self, stored: StoredPhases | None) -> None:
        """Find out what there is to choose from: on the histogram that is kept, or a new one."""
        project, run_id = self._project, self._run_id

        def work(progress: Progress, cancel: CancelToken) -> PhaseProposal:
            if stored is not None:
                return proposal_of(stored.histogram)
            from particleseg_app.projects.phases import propose_run_phases

            return propose_run_phases(project, run_id, progress, cancel)

        def done(proposal: PhaseProposal) -> None:
            self.proposal = proposal
            self.histogram.set_histogram(proposal.histogram)
            self.rows.set_histogram(proposal.histogram)
            shown = proposal.phases if stored is None else stored.phases
            self._show_phases(shown.names, shown.thresholds)
            if stored is not None:
                self._stored = self.phases  # to as many decimals as are shown
                self._show_state()
            self._proposed_text.setText(_proposed(proposal.count))

        self._start("Looking at the grey values", work, done)
        if self.task is not None:
            self.task.cancelled.connect(self.reject)  # nothing to choose from

    def _start(
        self,
        title: str,
        work: Callable[[Progress, CancelToken], Any],
        done: Callable[[Any], None],
    ) -> None:
        self._done.setText("")
        self._problem.setText("")
        self.task = Task(title, work)
        self.task.finished.connect(done)
        self.task.failed.connect(self._on_failed)
        self.task.ended.connect(self._on_ended)
        self.progress.show_task(self.task)
        self._show_state()
        self.task.start()

    def _on_failed(self, error: Exception) -> None:
        known = isinstance(error, UserError)
        self._problem.setText(str(error) if known else f"Something unexpected happened: {error!r}")

    def _on_ended(self) -> None:
        self.task = None
        self._show_state(keep_problem=bool(self._problem.text()))

    # --- what is shown -------------------------------------------------------------------------

    def _show_phases(self, names: tuple[str, ...], thresholds: tuple[float, ...]) -> None:
        self.histogram.set_thresholds(thresholds)
        self.rows.set_phases(names, thresholds)
        shown = self.count_buttons.button(len(names))
        if shown is not None:
            shown.setChecked(True)
        self._show_state()

    def _on_dragged(self, thresholds: tuple[float, ...]) -> None:
        self.rows.set_thresholds(thresholds)
        self._done.setText("")
        self._show_state()

    def _on_typed(self) -> None:
        self.histogram.set_thresholds(self.rows.thresholds)
        self._done.setText("")
        self._show_state()

    def _show_state(self, *, keep_problem: bool = False) -> None:
        busy, known = self.task is not None, self.proposal is not None
        now = None
        problem = self._problem.text() if keep_problem else ""
        if known:
            try:
                now = self.phases
            except InvalidValueError as error:
                problem = f"{error.sentence} {error.remedy}"
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._done.setVisible(bool(self._done.text()))
        self.rows.setVisible(known)
        for part in (self.rows, self.histogram, *self.count_buttons.buttons()):
            part.setEnabled(known and not busy)
        free = not busy and not self._project.read_only
        self.apply_button.setEnabled(free and now is not None and now != self._stored)
        self.remove_button.setVisible(self._stored is not None)
        self.remove_button.setEnabled(free)


def _proposed(count: int) -> str:
    if count == 1:
        return "No valley parts the grey values: one phase is proposed."
    return f"{count} are proposed."
