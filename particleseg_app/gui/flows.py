"""What is done with the scans and runs of an open project that needs a dialog or several steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QPoint
from PySide6.QtWidgets import QFileDialog, QWidget

from particleseg_app.errors import UserError
from particleseg_app.gui.banner import Banner
from particleseg_app.gui.new_project_dialog import folder_name
from particleseg_app.gui.picture_saving import PNG, picture_task
from particleseg_app.gui.question import Question
from particleseg_app.gui.reveal import file_manager_words, reveal_in_file_manager
from particleseg_app.gui.run_items import run_findings
from particleseg_app.gui.session import Session
from particleseg_app.gui.settings import settings

if TYPE_CHECKING:
    from particleseg_app.gui.export_dialog import ExportDialog
    from particleseg_app.gui.panels.particle_table import TableContent
    from particleseg_app.gui.phases_dialog import PhasesDialog
    from particleseg_app.gui.rename_dialog import RenameDialog
    from particleseg_app.gui.wizard import SegmentationWizard
    from particleseg_app.gui.wizard.page import Draft
    from particleseg_app.volumes import Scan

PICTURE_FOLDER = "last/picture_folder"


class Flows(QObject):
    """The dialogs of one window. Each is kept in an attribute while it is open."""

    def __init__(self, window: QWidget, session: Session, banner: Banner) -> None:
        super().__init__(window)
        self._window = window
        self._session = session
        self._banner = banner
        self.wizard: SegmentationWizard | None = None
        self.export_dialog: ExportDialog | None = None
        self.phases_dialog: PhasesDialog | None = None
        self.rename_dialog: RenameDialog | None = None
        self._drafts: dict[tuple[Path, str], Draft] = {}  # of wizards that were left
        session.scan_imported.connect(self.start_wizard)
        session.scan_added.connect(self._on_scan_added)
        session.run_finished.connect(self._on_run_finished)
        session.run_cancelled.connect(self._on_run_cancelled)
        session.card_failed.connect(self._on_card_failed)
        session.shown_changed.connect(self.close_phases)

    # --- runs ----------------------------------------------------------------------------------

    def start_wizard(self, scan_id: str) -> None:
        """Ask the questions for a new run of a scan."""
        project = self._session.project
        if project is None or self.wizard is not None or self._session.read_only:
            return
        from particleseg_app.gui.wizard import SegmentationWizard, WizardScan

        entry = project.scan(scan_id)
        try:
            scan = project.open_scan(scan_id)
        except UserError as error:
            self._session.failed.emit(error)
            return
        about = WizardScan(
            name=entry.name,
            scan=scan,
            voxel_size_um=entry.voxel_size_um,
            particle_diameter_um=entry.particle_diameter_um,
            proposed_voxel_size_um=entry.proposed_voxel_size_um,
            voxel_size_origin=entry.voxel_size_origin,
            project_folder=project.folder,
        )
        key = (project.folder, scan_id)
        wizard = SegmentationWizard(about, self._window, self._drafts.pop(key, None))
        self.wizard = wizard

        def start(answers: dict[str, Any]) -> None:
            if self._session.start_run(scan_id, answers, wizard.expected_s) is None:
                self._drafts[key] = wizard.draft  # it could not be recorded

        wizard.answered.connect(start)
        wizard.scan_released.connect(lambda: self._release(wizard, scan))
        wizard.accepted.connect(self._forget_wizard)
        wizard.rejected.connect(lambda: self._keep_draft(key, wizard))
        wizard.open()

    def _keep_draft(self, key: tuple[Path, str], wizard: SegmentationWizard) -> None:
        """Answers of a wizard that was left, by Esc perhaps, are there when it is opened again."""
        self._drafts[key] = wizard.draft
        self._forget_wizard()

    def _forget_wizard(self) -> None:
        self.wizard = None

    def _release(self, wizard: SegmentationWizard, scan: Scan) -> None:
        scan.close()
        wizard.deleteLater()

    def _on_scan_added(self, scan_id: str) -> None:
        project = self._session.project
        if project is not None:
            self._banner.show_info(
                f"{project.scan(scan_id).name} is in the project now.",
                action_text="New run…",
                action=lambda: self._new_run_of(scan_id),
            )

    def _new_run_of(self, scan_id: str) -> None:
        project = self._session.project
        if project is not None and scan_id in {scan.id for scan in project.scans}:
            self._session.show_scan(scan_id)
            self.start_wizard(scan_id)

    def _if_there(self, run_id: str, act: Callable[[str], object]) -> None:
        """Do what a message offers, where the run that it is about has not been removed since."""
        project = self._session.project
        if project is not None and run_id in {run.id for run in project.runs}:
            act(run_id)

    def _on_run_finished(self, run_id: str) -> None:
        session = self._session
        project = session.project
        if project is None:
            return
        run = project.run(run_id)
        items = [r for scan in session.items() for r in scan.runs if r.id == run_id]
        found = items[0].detail if items else "particles"
        findings = run_findings(project, run_id)
        shown = session.shown
        here = shown is not None and shown.entry.id == run.scan_id and shown.run is None
        if here or shown is None:
            session.show_run(run_id)
            if findings:  # which stay until they have been read
                self._banner.show_info(f"{run.name} is finished: {found}.", findings)
            else:
                self._banner.show_success(f"{run.name} is finished: {found}.")
        else:
            self._banner.show_info(
                f"{run.name} is finished: {found}.",
                findings,
                action_text="Show",
                action=lambda: self._if_there(run_id, session.show_run),
            )

    def _on_card_failed(self, run_id: str, error: UserError) -> None:
        self._banner.show_error(
            error,
            action_text="Continue on the processor",
            action=lambda: self._if_there(
                run_id, lambda found: self._session.continue_run(found, device="cpu")
            ),
        )

    def _on_run_cancelled(self, run_id: str) -> None:
        project = self._session.project
        if project is None:
            return
        self._banner.show_info(
            f"{project.run(run_id).name} is stopped.",
            "What it has finished is kept, so it can go on from there.",
            action_text="Continue this run",
            action=lambda: self._if_there(run_id, self._session.continue_run),
        )

    def export(self, run_id: str, in_table: TableContent | None = None) -> None:
        """Ask what to export of a run; `in_table`: what the table shows of it, if it does."""
        project = self._session.project
        if project is None or self.export_dialog is not None:
            return
        from particleseg_app.gui.export_dialog import ExportDialog

        dialog = ExportDialog(project, run_id, in_table, self._window)
        self.export_dialog = dialog
        dialog.finished.connect(lambda _result: self._close_export(dialog))
        dialog.open()

    def _close_export(self, dialog: ExportDialog) -> None:
        self.export_dialog = None
        dialog.deleteLater()

    # --- pictures ------------------------------------------------------------------------------

    def save_picture(self, widget: QWidget, what: str) -> None:
        """Ask where to, and save a picture of a part of the window as it is now."""
        shown = self._session.shown
        if shown is None:
            return
        run = f"_{shown.run.name}" if shown.run is not None else ""
        name = folder_name(f"{shown.entry.name}{run}_{what}".replace(" ", "_"))
        folder = Path(str(settings().value(PICTURE_FOLDER, Path.home())))
        chosen, _ = QFileDialog.getSaveFileName(
            self._window, "Save a picture", str(folder / f"{name}{PNG}"), "Pictures (*.png)"
        )
        if not chosen:
            return
        settings().setValue(PICTURE_FOLDER, str(Path(chosen).parent))
        task = picture_task(widget, Path(chosen))
        task.finished.connect(
            lambda path: self._banner.show_success(
                "The picture is saved.",
                str(path),
                action_text=file_manager_words(),
                action=lambda: reveal_in_file_manager(path),
            )
        )
        task.failed.connect(self._session.failed)
        task.start()

    def phases(self) -> None:
        """Show the phases of the run that is shown, beside its results."""
        shown, project = self._session.shown, self._session.project
        if project is None or shown is None or shown.run is None or shown.review is None:
            return
        if self.phases_dialog is not None:
            self.phases_dialog.raise_()
            self.phases_dialog.activateWindow()
            return
        from particleseg_app.gui.phases_dialog import PhasesDialog

        dialog = PhasesDialog(project, shown.run.id, shown.review.phases, self._window)
        self.phases_dialog = dialog
        dialog.phases_changed.connect(self._session.mended_table.take_up_phases)
        dialog.finished.connect(lambda _result: self._forget_phases())
        dialog.show()
        dialog.move(_beside_the_views(self._window))

    def _forget_phases(self) -> None:
        self.phases_dialog = None  # it goes when its work has ended

    def close_phases(self) -> None:
        """Close the phases, which are those of what was shown before."""
        if self.phases_dialog is not None:
            self.phases_dialog.reject()

    # --- scans and runs in the project panel ---------------------------------------------------

    def remove_run(self, run_id: str) -> None:
        project = self._session.project
        if project is None:
            return
        name = project.run(run_id).name
        if self._sure(f"Remove {name}?", "Its particles are deleted from the disk.", "Remove"):
            self._session.remove_run(run_id)

    def remove_scan(self, scan_id: str) -> None:
        project = self._session.project
        if project is None:
            return
        name = project.scan(scan_id).name
        runs = [run for run in project.runs if run.scan_id == scan_id]
        if any(self._session.run_status(run.id) in ("working", "waiting") for run in runs):
            self._banner.show_error(
                UserError(f"{name} is being segmented.", "Stop its runs before removing it.")
            )
            return
        copy = "The copy of the scan in this project"
        also = " and its run are" if len(runs) == 1 else f" and its {len(runs)} runs are"
        text = f"{copy}{also if runs else ' is'} deleted; the original files stay."
        if self._sure(f"Remove {name}?", text, "Remove"):
            self._drafts.pop((project.folder, scan_id), None)
            self._session.remove_scan(scan_id)

    def rename(self, kind: str, item_id: str) -> None:
        project = self._session.project
        if project is None or self.rename_dialog is not None:
            return
        old = {
            "project": lambda: project.name,
            "scan": lambda: project.scan(item_id).name,
            "run": lambda: project.run(item_id).name,
        }[kind]()
        from particleseg_app.gui.rename_dialog import RenameDialog

        dialog = RenameDialog(old, self._window)
        self.rename_dialog = dialog
        dialog.accepted.connect(lambda: self._rename(kind, item_id, dialog.name))
        dialog.finished.connect(lambda _result: self._close_rename(dialog))
        dialog.open()

    def _rename(self, kind: str, item_id: str, name: str) -> None:
        if kind == "project":
            self._session.rename_project(name)
        elif kind == "scan":
            self._session.rename_scan(item_id, name)
        else:
            self._session.rename_run(item_id, name)

    def _close_rename(self, dialog: RenameDialog) -> None:
        self.rename_dialog = None
        dialog.deleteLater()

    def reveal(self, kind: str, item_id: str) -> None:
        project = self._session.project
        if project is not None:
            folder = project.folder
            if kind == "scan":
                folder = project.scan_folder(item_id)
            elif kind == "run":
                folder = project.run_folder(item_id)
            reveal_in_file_manager(folder)

    # --- questions -----------------------------------------------------------------------------

    def may_stop_work(self, what: str) -> bool:
        """Ask before running work is stopped; True when nothing works or the user agrees."""
        current = self._session.jobs.current
        if current is None:
            return True
        return self._sure(
            f"{current.title} is still running.",
            "A run that is stopped can be continued later from where it was; an import starts "
            "again.",
            f"Stop and {what[0].lower()}{what[1:]}",
            "Keep running",
        )

    def _sure(self, title: str, text: str, yes: str, no: str = "Cancel") -> bool:
        question = Question(title, text, yes, self._window, no)
        agreed = question.exec() == Question.DialogCode.Accepted
        question.deleteLater()
        return agreed


def _beside_the_views(window: QWidget) -> QPoint:
    """The left edge of the window, where the views to the right of it stay in sight."""
    return window.mapToGlobal(QPoint(0, 0)) + QPoint(8, 64)
