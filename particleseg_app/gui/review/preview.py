"""The change that is shown before it is made."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from particleseg_app.errors import UserError
from particleseg_app.gui.review.mending_work import Changes, changes_anything
from particleseg_app.gui.review.worker import Worker

PREVIEW = "preview"


class Preview(QObject):
    """The latest preview: `changes` and what they are `about`, or a `remark` why none."""

    changed = Signal()
    failed = Signal(object)  # an exception that is a bug

    def __init__(self, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self.changes: Changes | None = None
        self.remark = ""
        self.about = ""
        self.pending = False  # another one is being worked out
        self._then: Callable[[], object] | None = None

    def make(self, work: Callable[[], Changes | None], about: str = "") -> None:
        """Work a change out in the worker, in place of one that is still being worked out."""
        self.pending, self._then = True, None

        def checked() -> tuple[Changes | None, bool]:
            changes = work()
            return changes, changes is None or changes_anything(changes)

        def on_made(outcome: tuple[Changes | None, bool]) -> None:
            self.about = about
            self._on_made(outcome)

        self._worker.do(checked, on_made, self.refuse, PREVIEW)

    def when_made(self, then: Callable[[], object]) -> None:
        """Call `then` once what was asked for last is shown: now, where it is."""
        if self.pending:
            self._then = then
        else:
            then()

    def clear(self) -> None:
        """Show no change, and none that is still being worked out."""
        self._worker.forget(PREVIEW)
        self._set(None, "")

    def say(self, remark: str) -> None:
        """Show no change but a reason."""
        self._set(None, remark)

    def refuse(self, error: BaseException) -> None:
        """A change that could not be worked out."""
        if isinstance(error, UserError):
            self.say(str(error))
        else:
            self.clear()
            self.failed.emit(error)

    def _on_made(self, outcome: tuple[Changes | None, bool]) -> None:
        changes, any_change = outcome
        if not any_change:
            self.say("This would not change anything.")
        elif changes is None:
            self.clear()
        else:
            self._set(changes, "")

    def _set(self, changes: Changes | None, remark: str) -> None:
        self.changes, self.remark = changes, remark
        then, self._then, self.pending = self._then, None, False
        self.changed.emit()
        if then is not None and changes is not None:
            then()
