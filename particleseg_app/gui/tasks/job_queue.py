"""The heavy jobs of the window (imports, runs, exports): one works, the others wait their turn."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.tasks.task import Task


class JobQueue(QObject):
    """Starts one task at a time, in order, so that two runs do not fight for memory."""

    started = Signal(object)  # Task
    changed = Signal()
    idle = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: list[Task] = []
        self._current: Task | None = None

    @property
    def current(self) -> Task | None:
        return self._current

    @property
    def waiting(self) -> tuple[Task, ...]:
        return tuple(self._waiting)

    @property
    def busy(self) -> bool:
        return self._current is not None

    def add(self, task: Task) -> Task:
        self._waiting.append(task)
        self._next()
        self.changed.emit()
        return task

    def withdraw(self, task: Task) -> bool:
        """Take a waiting task out of the queue, or cancel it when it already works."""
        if task is self._current:
            task.cancel()
            return True
        if task in self._waiting:
            self._waiting.remove(task)
            self.changed.emit()
            return True
        return False

    def cancel_all(self) -> None:
        self._waiting.clear()
        if self._current is not None:
            self._current.cancel()
        self.changed.emit()

    def _next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        task = self._waiting.pop(0)
        self._current = task
        task.ended.connect(self._on_ended)
        task.start()
        self.started.emit(task)

    def _on_ended(self) -> None:
        self._current = None
        self._next()
        self.changed.emit()
        if self._current is None:
            self.idle.emit()
