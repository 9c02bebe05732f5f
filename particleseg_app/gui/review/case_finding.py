"""Looking for the doubtful particles of a run, which takes a while and goes on without its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.session import Session
from particleseg_app.gui.tasks import EngineFunction, Task
from particleseg_app.progress import CancelToken, Progress

if TYPE_CHECKING:
    from particleseg_app.projects import Project
    from particleseg_app.review.cases import ReviewCase


class CaseFinding(QObject):
    """Finds cases for the run that is shown. `changed` when it begins and when it has ended."""

    changed = Signal()
    found = Signal(str)  # the cases of this run can be read

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.kept: dict[str, list[ReviewCase]] = {}  # by run, where none can be stored
        self._working: set[str] = set()  # runs of which the doubtful particles are looked for
        session.project_changed.connect(self.kept.clear)

    @property
    def busy(self) -> bool:
        """Whether the doubtful particles of the run shown are being looked for."""
        shown = self._session.shown
        run = None if shown is None else shown.run
        return run is not None and run.id in self._working

    def start(self) -> Task | None:
        """Look for the doubtful particles of the run shown, in the background."""
        shown, project = self._session.shown, self._session.project
        if project is None or shown is None or shown.run is None or self.busy:
            return None
        run_id = shown.run.id
        task = Task(
            f"Looking for doubtful particles in {shown.run.name}", _finding(project, run_id)
        )
        self._working.add(run_id)

        def ended() -> None:
            self._working.discard(run_id)
            self.changed.emit()

        task.finished.connect(lambda cases: self._on_found(run_id, cases))
        task.failed.connect(lambda error: self._on_failed(run_id, error))
        task.ended.connect(ended)
        self.changed.emit()
        return self._session.jobs.add(task)

    def _on_failed(self, run_id: str, error: Exception) -> None:
        project = self._session.project
        if project is not None and run_id not in {run.id for run in project.runs}:
            return  # removed meanwhile, so nobody misses them
        self._session.failed.emit(error)

    def _on_found(self, run_id: str, cases: list[ReviewCase]) -> None:
        if self._session.read_only:
            self.kept[run_id] = cases
        self.found.emit(run_id)


def _finding(project: Project, run_id: str) -> EngineFunction:
    def work(progress: Progress, cancel: CancelToken) -> list[ReviewCase]:
        from particleseg_app.projects.review_queue import make_review_queue

        return make_review_queue(project, run_id, progress, cancel).cases

    return work
