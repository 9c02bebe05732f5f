"""A strip that shows one task at work; the rest of the window stays usable meanwhile."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.formats import format_count, format_duration, format_rough_duration
from particleseg_app.gui.tasks.task import Task
from particleseg_app.progress import ProgressSnapshot

BAR_STEPS = 1000


class ProgressPanel(QWidget):
    """Title, stage, bar, counts and times of a task, its latest remark, and Cancel."""

    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None, margin: int = 0) -> None:
        super().__init__(parent)
        frame = QFrame()
        frame.setProperty("role", "card")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(margin, margin, margin, margin)
        outer.addWidget(frame)
        self._task: Task | None = None
        self._title = QLabel()
        self._title.setProperty("role", "heading")
        self._stage = QLabel()
        self._stage.setProperty("role", "muted")
        self._waiting = QLabel()
        self._waiting.setProperty("role", "muted")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(8)
        self._detail = QLabel()
        self._times = QLabel()
        self._times.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for label in (self._detail, self._times):
            label.setProperty("role", "muted")
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._note.setProperty("role", "muted")
        self._note.hide()
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self._cancel)

        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self._title)
        top.addWidget(self._stage)
        top.addStretch(1)
        top.addWidget(self._waiting)
        bottom = QHBoxLayout()
        bottom.addWidget(self._detail, 1)
        bottom.addWidget(self._times, 1)
        text = QVBoxLayout()
        text.setSpacing(6)
        text.addLayout(top)
        text.addWidget(self._bar)
        text.addLayout(bottom)
        text.addWidget(self._note)
        layout = QHBoxLayout(frame)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(16)
        layout.addLayout(text, 1)
        layout.addWidget(self.cancel_button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.hide()

    @property
    def task(self) -> Task | None:
        return self._task

    def show_task(self, task: Task) -> None:
        """Show this task until it ends."""
        self._forget()
        self._task = task
        self._title.setText(task.title)
        self._note.hide()
        self.cancel_button.setEnabled(not task.is_stopping)
        self.cancel_button.setText("Stopping…" if task.is_stopping else "Cancel")
        task.progressed.connect(self.show_snapshot)
        task.stopping.connect(self._show_stopping)
        task.ended.connect(self._on_ended)
        self.show_snapshot(task.snapshot())
        self.show()

    def show_waiting(self, count: int) -> None:
        """Say how many tasks wait behind this one."""
        self._waiting.setText(f"{count} more waiting" if count else "")

    def show_snapshot(self, snapshot: ProgressSnapshot) -> None:
        self._stage.setText(snapshot.stage)
        fraction = snapshot.fraction
        if fraction is None:
            self._bar.setRange(0, 0)
        else:
            self._bar.setRange(0, BAR_STEPS)
            self._bar.setValue(round(fraction * BAR_STEPS))
        self._detail.setText(describe_count(snapshot))
        expected_s = None if self._task is None else self._task.expected_s
        self._times.setText(describe_times(snapshot, expected_s))
        if snapshot.messages:
            more = len(snapshot.messages) - 1
            self._note.setText(snapshot.messages[-1])
            self._note.setToolTip("\n".join(snapshot.messages) if more else "")
            self._note.show()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.cancel_requested.emit()

    def _show_stopping(self) -> None:
        self.cancel_button.setEnabled(False)
        self.cancel_button.setText("Stopping…")

    def _on_ended(self) -> None:
        self._forget()
        self.hide()

    def _forget(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.progressed.disconnect(self.show_snapshot)
            task.stopping.disconnect(self._show_stopping)
            task.ended.disconnect(self._on_ended)


def describe_count(snapshot: ProgressSnapshot) -> str:
    """The count of a snapshot in words: Tile 34 of 120."""
    if not snapshot.total:
        return ""
    done = min(snapshot.done, snapshot.total)
    counts = f"{format_count(done)} of {format_count(snapshot.total)}"
    unit = snapshot.unit.removesuffix("s").capitalize()
    return f"{unit} {counts}" if unit else counts


def describe_times(snapshot: ProgressSnapshot, expected_s: float | None = None) -> str:
    """Elapsed and remaining time of a snapshot; the rest is not guessed in the first seconds.

    `expected_s`: what the whole work takes by a measurement before it. It is said as long as it
    can be true.
    """
    elapsed = f"{format_duration(snapshot.elapsed_s)} elapsed"
    if expected_s is not None and snapshot.elapsed_s < expected_s:
        elapsed = f"{format_duration(snapshot.elapsed_s)} of {format_rough_duration(expected_s)}"
    remaining = snapshot.remaining_s
    if remaining is None or snapshot.stage_elapsed_s < 2 or snapshot.done >= snapshot.total:
        return elapsed
    return f"{elapsed}  ·  {format_rough_duration(remaining)} left in this step"
