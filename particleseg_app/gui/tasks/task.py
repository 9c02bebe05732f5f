"""Long engine work on its own thread, watched from the window's thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from PySide6.QtCore import QObject, QThread, QTimer, Signal

from particleseg_app.errors import Cancelled, UserError
from particleseg_app.progress import CancelToken, Progress, ProgressSnapshot

logger = logging.getLogger(__name__)

EngineFunction = Callable[[Progress, CancelToken], Any]

# Qt's threads get 512 KB of stack on macOS, which OpenBLAS and numba overflow.
STACK_BYTES = 16 * 1024 * 1024
POLL_MS = 100

# A task lives as long as its thread, whatever becomes of the widget that started it.
_running: set[Task] = set()


class _WorkerThread(QThread):
    """Runs one engine function and keeps its outcome; touches nothing of the window."""

    def __init__(self, function: EngineFunction, progress: Progress, cancel: CancelToken) -> None:
        super().__init__()
        self.setStackSize(STACK_BYTES)
        self._function: EngineFunction | None = function
        self._progress = progress
        self._cancel = cancel
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        function, self._function = self._function, None
        assert function is not None
        try:
            self.result = function(self._progress, self._cancel)
        except BaseException as error:
            self.error = error


class Task(QObject):
    """One run of an engine function `f(progress, cancel)`.

    Exactly one of `finished`, `failed` and `cancelled` is emitted on the window's thread, then
    `ended`. Nothing is emitted before `start` returns. `expected_s`: how long it takes as a whole,
    where that was measured before.
    """

    progressed = Signal(object)  # ProgressSnapshot
    finished = Signal(object)  # what the function returned
    failed = Signal(object)  # a UserError, or an exception that is a bug
    cancelled = Signal()
    stopping = Signal()
    ended = Signal()

    def __init__(
        self, title: str, function: EngineFunction, expected_s: float | None = None
    ) -> None:
        super().__init__()
        self.title, self.expected_s = title, expected_s
        self._progress = Progress()
        self._cancel = CancelToken()
        self._thread = _WorkerThread(function, self._progress, self._cancel)
        self._thread.finished.connect(self._on_thread_finished)
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        self._over = False

    @property
    def running(self) -> bool:
        return self in _running

    @property
    def is_stopping(self) -> bool:
        return self._cancel.cancelled and not self._over

    def snapshot(self) -> ProgressSnapshot:
        return self._progress.snapshot()

    def start(self) -> Task:
        _running.add(self)
        self._timer.start()
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Ask the work to end; it answers with `cancelled` as soon as it notices."""
        if not self._cancel.cancelled and not self._over:
            self._cancel.cancel()
            self.stopping.emit()

    def wait(self, milliseconds: int = 60_000) -> bool:
        """Block until the thread has ended (only for leaving the program and for tests)."""
        return self._thread.wait(milliseconds)

    def _poll(self) -> None:
        self.progressed.emit(self._progress.snapshot())

    def _on_thread_finished(self) -> None:
        # The signal comes from the ending thread; let it end before anyone drops it.
        self._thread.wait()
        self._timer.stop()
        self._over = True
        _running.discard(self)
        self.progressed.emit(self._progress.snapshot())
        error = self._thread.error
        if error is None:
            self.finished.emit(self._thread.result)
        elif isinstance(error, Cancelled):
            self.cancelled.emit()
        else:
            if not isinstance(error, UserError):
                logger.error("“%s” failed", self.title, exc_info=error)
            self.failed.emit(error)
        self.ended.emit()


def running_tasks() -> tuple[Task, ...]:
    return tuple(_running)


def when_ended(tasks: Iterable[Task], then: Callable[[], object]) -> None:
    """Call `then` on the window's thread as soon as none of `tasks` runs (at once if none does)."""
    left = {task for task in tasks if task.running}
    if not left:
        then()
        return

    def one_less(task: Task) -> None:
        left.discard(task)
        if not left:
            then()

    for task in list(left):
        task.ended.connect(lambda task=task: one_less(task))


def stop_all_tasks(milliseconds: int = 60_000) -> bool:
    """Cancel every task and wait for the threads; True when all have ended."""
    tasks = running_tasks()
    for task in tasks:
        task.cancel()
    return all([task.wait(milliseconds) for task in tasks])
