"""The open project and what is shown of it; the window asks, the engine's rooms do the work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from particleseg_app.errors import CardError, ProjectError, UserError
from particleseg_app.gui.mended_table import MendedTable
from particleseg_app.gui.panels.project_panel import ScanItem
from particleseg_app.gui.read_only import why_read_only
from particleseg_app.gui.run_items import run_status, scan_items
from particleseg_app.gui.shown import Shown, load_run, load_scan
from particleseg_app.gui.tasks import EngineFunction, JobQueue, Task, when_ended
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import (
    Project,
    ProjectLockedError,
    ProjectNotWritableError,
    RecentProjects,
    ScanEntry,
)
from particleseg_app.projects.project_file import PROJECT_FILE

if TYPE_CHECKING:
    import pandas as pd

    from particleseg_app.projects.review_files import Review
    from particleseg_app.volumes import ScanSource

logger = logging.getLogger(__name__)


class Session(QObject):
    project_changed = Signal()  # opened or closed
    items_changed = Signal()  # scans, runs, or how far they are
    shown_changed = Signal()
    table_changed = Signal()  # of what is shown, after mends or with other phases
    scan_imported = Signal(str)
    scan_added = Signal(str)  # the same, while what is shown must stay
    answers_changed = Signal()  # voxel size of the scan shown
    run_finished = Signal(str)
    run_cancelled = Signal(str)  # before its end; it can be continued
    card_failed = Signal(str, object)  # a run, and the `CardError` that ended it
    recent_changed = Signal()
    failed = Signal(object)  # UserError, or an exception that is a bug
    locked = Signal(object, object)  # folder and error: it can be opened for reading only

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.project: Project | None = None
        self.shown: Shown | None = None
        self.read_only = ""  # why the project cannot be changed; empty where it can be
        self.recent = RecentProjects()
        self.jobs = JobQueue(self)
        self.jobs.changed.connect(self.items_changed)
        # Whether somebody is at work on what is shown, so that nothing else may take its place.
        self.stays_as_it_is: Callable[[], bool] = lambda: False
        self._run_tasks: dict[str, Task] = {}
        self._wanted: tuple[str, str] | None = None
        self._held: list[Task] = []
        self.mended_table = MendedTable(lambda: self.shown, self)
        self.mended_table.measured.connect(self._on_measured)
        self.mended_table.failed.connect(self.failed)

    # --- the project ---------------------------------------------------------------------------

    def open_project(self, folder: Path) -> bool:
        """Open a project in place of the present one; False (and `failed`) if it cannot be.

        One that another program has open is not opened: `locked` is emitted. One that may not be
        written to is opened for reading only.
        """
        folder = folder.parent if folder.name == PROJECT_FILE else folder
        try:
            project = Project.open(folder)
        except (ProjectLockedError, ProjectNotWritableError) as error:
            again = self.project is not None and self.project.folder == folder.absolute()
            if again and self.read_only:
                self.failed.emit(error)  # it is shown already, and cannot be changed yet
                return False
            if isinstance(error, ProjectLockedError):
                self.locked.emit(folder, error)
                return False
            return self.open_for_reading(folder, error)
        except UserError as error:
            self.failed.emit(error)
            return False
        return self._take(lambda: project)

    def open_for_reading(self, folder: Path, why: ProjectError) -> bool:
        """Open a project that cannot be changed, because of `why`."""
        return self._take(lambda: Project.open(folder, read_only=True), why_read_only(why))

    def create_project(self, folder: Path, name: str) -> bool:
        return self._take(lambda: Project.create(folder, name))

    def close_project(self) -> None:
        """Close the project; its jobs must have ended before (see `jobs`)."""
        if self.project is None:
            return
        self._show(None)
        when_ended(self._held, self.project.close)  # what they write is part of it
        self.project = None
        self._run_tasks.clear()
        self.read_only = ""
        self.project_changed.emit()

    def rename_project(self, name: str) -> None:
        project = self._open()
        if self._try(lambda: project.rename(name)):
            self.recent.remember(project.folder, project.name)
            self.recent_changed.emit()
            self.items_changed.emit()

    def _take(self, make: Callable[[], Project], read_only: str = "") -> bool:
        try:
            project = make()
        except UserError as error:
            self.failed.emit(error)
            return False
        self.close_project()
        self.project = project
        self.read_only = read_only
        self.recent.remember(project.folder, project.name)
        self.recent_changed.emit()
        self.project_changed.emit()
        self._show_first()
        return True

    # --- scans and runs ------------------------------------------------------------------------

    def items(self) -> list[ScanItem]:
        """Scans and runs with their state, for the project panel."""
        if self.project is None:
            return []
        working = self.jobs.current
        states = {
            run_id: "working" if task is working else "waiting"
            for run_id, task in self._run_tasks.items()
        }
        shown, counts = self.shown, {}
        if shown is not None and shown.run is not None and shown.table is not None:
            counts[shown.run.id] = len(shown.table)
        return scan_items(self.project, states, counts)

    def run_status(self, run_id: str) -> str:
        if run_id in self._run_tasks:
            return "working" if self._run_tasks[run_id] is self.jobs.current else "waiting"
        return run_status(self._open(), run_id)

    def import_scan(self, source: ScanSource) -> Task:
        """Copy a checked scan into the project, in the background."""
        project = self._open()
        task = Task(
            f"Importing {source.name}",
            lambda progress, cancel: project.add_scan(source, progress, cancel),
        )
        task.finished.connect(self._on_imported)
        task.failed.connect(self.failed)
        return self.jobs.add(task)

    def start_run(
        self, scan_id: str, settings: dict[str, Any], expected_s: float | None = None
    ) -> str | None:
        """Remember the answers, record a new run and put it to work; its id.

        `expected_s`: how long it takes, as far as that is known.
        """
        project = self._open()
        try:
            project.set_scan_answers(
                scan_id, settings["voxel_size_um"], settings["particle_diameter_um"]
            )
            run = project.new_run(scan_id, settings)
        except UserError as error:
            self.failed.emit(error)
            return None
        shown = self.shown
        if shown is not None and shown.run is None and shown.entry.id == scan_id:
            self.shown = replace(shown, entry=project.scan(scan_id))
            self.answers_changed.emit()
        self.continue_run(run.id, expected_s=expected_s)
        return run.id

    def continue_run(
        self, run_id: str, device: str | None = None, expected_s: float | None = None
    ) -> None:
        """Put a new or unfinished run to work; what it has finished already is kept.

        `device`: where it works from now on, None to leave it where it was.
        """
        project = self._open()
        if run_id in self._run_tasks:
            return
        if device is not None and not self._try(lambda: project.set_run_device(run_id, device)):
            return
        run = project.run(run_id)
        title = f"{run.name} of {project.scan(run.scan_id).name}"
        task = Task(title, _segmenting(project, run_id), expected_s)
        self._run_tasks[run_id] = task
        task.finished.connect(lambda _result: self._on_run_finished(run_id))
        task.failed.connect(lambda error: self._on_run_failed(run_id, error))
        task.cancelled.connect(lambda: self._on_run_cancelled(run_id))
        task.ended.connect(lambda: self._run_tasks.pop(run_id, None))
        self.jobs.add(task)
        self.items_changed.emit()

    def withdraw_run(self, run_id: str) -> None:
        """Stop a run that works or waits; it can be continued later."""
        task = self._run_tasks.get(run_id)
        if task is not None and self.jobs.withdraw(task) and not task.running:
            del self._run_tasks[run_id]
            self.items_changed.emit()

    def rename_run(self, run_id: str, name: str) -> None:
        if self._try(lambda: self._open().rename_run(run_id, name)):
            self.items_changed.emit()

    def rename_scan(self, scan_id: str, name: str) -> None:
        if self._try(lambda: self._open().rename_scan(scan_id, name)):
            self.items_changed.emit()

    def remove_run(self, run_id: str) -> None:
        run = self._open().run(run_id)
        if self.shown is not None and self.shown.run is not None and self.shown.run.id == run_id:
            self._show(None)
        if self._try(lambda: self._open().remove_run(run_id)):
            self.items_changed.emit()
        if self.shown is None:
            self.show_scan(run.scan_id)

    def remove_scan(self, scan_id: str) -> None:
        if self.shown is not None and self.shown.entry.id == scan_id:
            self._show(None)
        if self._try(lambda: self._open().remove_scan(scan_id, with_runs=True)):
            self.items_changed.emit()
        if self.shown is None:
            self._show_first()

    # --- what is shown -------------------------------------------------------------------------

    def show_scan(self, scan_id: str) -> None:
        """Show a scan without particles, once it has been opened in the background."""
        project = self._open()
        self._load(("scan", scan_id), lambda progress, cancel: load_scan(project, scan_id))

    def show_run(self, run_id: str) -> None:
        """Show the particles of a finished run; of any other run, its scan."""
        project = self._open()
        if self.run_status(run_id) != "finished":
            self._load(
                ("run", run_id),
                lambda progress, cancel: load_scan(project, project.run(run_id).scan_id),
            )
            return
        self._load(
            ("run", run_id),
            lambda progress, cancel: load_run(project, run_id, progress, cancel),
        )

    def hold(self, task: Task) -> None:
        """Keep the files of what is shown open until `task` has ended."""
        self._held.append(task)
        task.ended.connect(lambda: self._held.remove(task))

    @property
    def wanted(self) -> tuple[str, str] | None:
        """The kind ("scan" or "run") and id of what is shown or being opened."""
        return self._wanted

    def _load(self, wanted: tuple[str, str], load: EngineFunction) -> None:
        self._wanted = wanted
        task = Task("Opening", load)
        task.finished.connect(lambda shown: self._on_loaded(wanted, shown))
        task.failed.connect(lambda error: self._on_not_loaded(wanted, error))
        task.start()

    def _on_not_loaded(self, wanted: tuple[str, str], error: Exception) -> None:
        """What is shown stays, and is what is marked."""
        if wanted == self._wanted:
            shown = self.shown
            if shown is None:
                self._wanted = None
            else:
                run = shown.run
                self._wanted = ("scan", shown.entry.id) if run is None else ("run", run.id)
            self.items_changed.emit()
        self.failed.emit(error)

    def _on_loaded(self, wanted: tuple[str, str], shown: Shown) -> None:
        if self.project is None or wanted != self._wanted:
            shown.close()
            return
        self._show(shown, keep_wanted=True)

    def _show(self, shown: Shown | None, keep_wanted: bool = False) -> None:
        before, self.shown = self.shown, shown
        if not keep_wanted:
            self._wanted = None
        if before is not None or shown is not None:
            self.shown_changed.emit()  # the views let go of the files before these are closed
        if before is not None:
            # A table that is being brought up to date still reads them, and so may a review.
            measuring = [] if self.mended_table.task is None else [self.mended_table.task]
            when_ended([*measuring, *self._held], before.close)

    def _show_first(self) -> None:
        """Show the newest result of an opened project, else its first scan."""
        project = self._open()
        for run in reversed(project.runs):
            if self.run_status(run.id) == "finished":
                self.show_run(run.id)
                return
        if project.scans:
            self.show_scan(project.scans[0].id)

    # --- outcomes ------------------------------------------------------------------------------

    def _on_imported(self, entry: ScanEntry) -> None:
        if self.project is None:
            return
        self.items_changed.emit()
        if self.stays_as_it_is():
            self.scan_added.emit(entry.id)
            return
        self.show_scan(entry.id)
        self.scan_imported.emit(entry.id)

    def _on_measured(self, review: Review, table: pd.DataFrame) -> None:
        if self.shown is not None and self.shown.review is review:
            self.shown = replace(self.shown, table=table)
            self.table_changed.emit()

    def _on_run_finished(self, run_id: str) -> None:
        self._run_tasks.pop(run_id, None)
        if self.project is not None:
            self.items_changed.emit()
            self.run_finished.emit(run_id)

    def _on_run_failed(self, run_id: str, error: Exception) -> None:
        if self.project is not None and isinstance(error, CardError):
            self.card_failed.emit(run_id, error)
        else:
            self.failed.emit(error)

    def _on_run_cancelled(self, run_id: str) -> None:
        self._run_tasks.pop(run_id, None)
        if self.project is not None:
            self.run_cancelled.emit(run_id)

    def _open(self) -> Project:
        if self.project is None:
            raise RuntimeError("no project is open")
        return self.project

    def _try(self, change: Callable[[], object]) -> bool:
        try:
            change()
        except UserError as error:
            self.failed.emit(error)
            return False
        return True


def _segmenting(project: Project, run_id: str) -> EngineFunction:
    def work(progress: Progress, cancel: CancelToken) -> Any:
        from particleseg_app.projects.segmentation_job import run_segmentation_job

        return run_segmentation_job(project, run_id, progress, cancel)

    return work
