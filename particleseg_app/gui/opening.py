"""Opening and closing projects, and taking in the files of a scan that are chosen or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog, QWidget

from particleseg_app.errors import ProjectError, UserError
from particleseg_app.gui.banner import Banner
from particleseg_app.gui.formats import plural
from particleseg_app.gui.question import Question
from particleseg_app.gui.read_only import read_only_question
from particleseg_app.gui.session import Session
from particleseg_app.gui.settings import proposed_projects_folder, settings
from particleseg_app.gui.tasks import Task
from particleseg_app.projects import is_project

if TYPE_CHECKING:
    from particleseg_app.gui.new_project_dialog import NewProjectDialog
    from particleseg_app.projects import Project
    from particleseg_app.volumes import ScanSource

TIFF_FILTER = "TIFF stacks (*.tif *.tiff *.TIF *.TIFF *.btf);;All files (*)"


class Opening(QObject):
    """Asks which project or which files, then tells the session. A dialog is kept in an attribute
    while it is open."""

    def __init__(self, window: QWidget, session: Session, banner: Banner) -> None:
        super().__init__(window)
        self._window = window
        self._session = session
        self._banner = banner
        self._looking: Task | None = None
        self.new_project_dialog: NewProjectDialog | None = None
        self.read_only_question: Question | None = None
        session.locked.connect(self._ask_to_read_only)

    # --- projects ------------------------------------------------------------------------------

    def choose_project(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self._window, "Project folder", str(proposed_projects_folder())
        )
        if folder:
            self.open_project(Path(folder))

    def open_project(self, folder: Path) -> None:
        if self._may_leave_project("Open the other project"):
            self._session.open_project(folder)

    def open_for_changes(self) -> None:
        """Try again whether the project that is open for reading only can be changed now."""
        project = self._session.project
        if project is not None:
            self.open_project(project.folder)

    def _ask_to_read_only(self, folder: Path, error: ProjectError) -> None:
        """Another program has a project open: ask whether to look at it nevertheless."""
        if self.read_only_question is not None:
            return
        self.read_only_question = read_only_question(folder.name, error, self._window)
        self.read_only_question.ask(
            lambda: self._session.open_for_reading(folder, error),
            lambda: setattr(self, "read_only_question", None),
        )

    def close_project(self) -> None:
        if self._may_leave_project("Close the project"):
            self._session.close_project()

    def _may_leave_project(self, what: str) -> bool:
        if not self._session.jobs.busy:
            return True
        self._banner.show_error(
            UserError(
                "The open project is still at work.",
                "Let it finish, or cancel it below, and try again.",
            )
        )
        return False

    # --- the files of a scan -------------------------------------------------------------------

    def choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self._window, "Folder with the TIFF slices of a scan", self._last_folder()
        )
        if folder:
            self.open_paths([Path(folder)])

    def choose_file(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(
            self._window, "TIFF file of a scan", self._last_folder(), TIFF_FILTER
        )
        if files:
            self.open_paths([Path(file) for file in files])

    def _last_folder(self) -> str:
        return str(settings().value("last/scan_folder", ""))

    def open_paths(self, paths: Sequence[Path]) -> None:
        """What was dropped, chosen or named at the start: a project, or the files of a scan."""
        if names_project(paths):
            self.open_project(paths[0])
            return
        if not paths or self._looking is not None:
            return
        if self._session.read_only and self._session.project is not None:
            name = self._session.project.name
            self._banner.show_error(
                UserError(
                    f"{name} is open for reading only, so no scan can be added to it.",
                    "Close it to make a new project for the scan.",
                )
            )
            return
        settings().setValue("last/scan_folder", str(paths[0].parent))
        what = paths[0].name if len(paths) == 1 else plural(len(paths), "file")
        task = Task("Checking the files", lambda progress, cancel: _inspect(paths))
        project = self._session.project
        task.finished.connect(lambda source: self._on_inspected(source, project))
        task.failed.connect(self._session.failed)
        task.ended.connect(self._forget_looking)
        self._looking = task
        self._banner.show_info(f"Checking {what}…")
        task.start()

    def _forget_looking(self) -> None:
        self._looking = None

    def _on_inspected(self, source: ScanSource, dropped_on: Project | None) -> None:
        """`dropped_on`: the project that was open when the scan was dropped."""
        self._banner.hide()
        project = self._session.project
        if project is not None and project is not dropped_on:
            # Nobody asked for the scan in this one.
            if self._session.read_only:
                self._banner.show_info(f"{source.name} was not added to {project.name}.")
            else:
                self._banner.show_info(
                    f"Add {source.name} to {project.name}?",
                    "It was dropped before this project was opened.",
                    action_text="Add scan",
                    action=lambda: self._add_to(project, source),
                )
            return
        if project is not None:
            self._session.import_scan(source)
            return
        from particleseg_app.gui.new_project_dialog import NewProjectDialog

        dialog = NewProjectDialog(source, self._window)
        self.new_project_dialog = dialog
        dialog.accepted.connect(lambda: self._make_project(dialog, source))
        dialog.finished.connect(lambda _result: self._close_dialog(dialog))
        dialog.open()

    def _add_to(self, project: Project, source: ScanSource) -> None:
        if self._session.project is project:
            self._session.import_scan(source)

    def _close_dialog(self, dialog: NewProjectDialog) -> None:
        self.new_project_dialog = None
        dialog.deleteLater()

    def _make_project(self, dialog: NewProjectDialog, source: ScanSource) -> None:
        if self._session.create_project(dialog.project_folder, dialog.project_name):
            self._session.import_scan(source)


def names_project(paths: Sequence[Path]) -> bool:
    """Whether these are a project, and not the files of a scan."""
    return len(paths) == 1 and (is_project(paths[0]) or paths[0].name == "project.json")


def _inspect(paths: Sequence[Path]) -> ScanSource:
    from particleseg_app.volumes import inspect_source

    return inspect_source(paths[0] if len(paths) == 1 else list(paths))
