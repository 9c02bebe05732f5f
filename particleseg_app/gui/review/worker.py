"""One thread that does the review's engine work in order, so that the window never waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal


@dataclass(frozen=True, eq=False)
class Job:
    """`work` is done in the thread, `done` or `failed` called in the window's thread."""

    work: Callable[[], Any]
    done: Callable[[Any], object]
    failed: Callable[[BaseException], object]
    replaces: str = ""


class Worker(QObject):
    """Does jobs one after the other. Of jobs with one `replaces`, only the latest counts."""

    _finished = Signal(object, object, object)  # job, result, error

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._latest: dict[str, Job] = {}
        self._open = 0
        self._stopped = False
        self._finished.connect(self._on_finished)
        self._thread = threading.Thread(target=self._run, name="review", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._open > 0

    def do(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object],
        failed: Callable[[BaseException], object],
        replaces: str = "",
    ) -> None:
        """Do this after everything asked for before."""
        job = Job(work, done, failed, replaces)
        if replaces:
            self._latest[replaces] = job
        self._open += 1
        self._queue.put(job)

    def forget(self, replaces: str) -> None:
        """The outcome of such a job is not wanted any more."""
        self._latest.pop(replaces, None)

    def stop(self) -> None:
        """Have it finish what was asked for and end; no outcome is told any more. See `wait`."""
        self._stopped = True
        self._latest.clear()
        self._queue.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the thread has ended, at most so long; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _wanted(self, job: Job) -> bool:
        return not job.replaces or self._latest.get(job.replaces) is job

    def _run(self) -> None:
        while True:
            job = self._queue.get()
            if job is None:
                return
            result: Any = None
            error: BaseException | None = None
            if self._wanted(job):
                try:
                    result = job.work()
                except BaseException as caught:
                    error = caught
            try:
                self._finished.emit(job, result, error)
            except RuntimeError:  # the window went in the meantime
                return

    def _on_finished(self, job: Job, result: Any, error: BaseException | None) -> None:
        self._open -= 1
        if self._stopped or not self._wanted(job):
            return
        if error is None:
            job.done(result)
        else:
            job.failed(error)
