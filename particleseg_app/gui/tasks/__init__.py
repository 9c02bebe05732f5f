"""Engine work in the background of the window, and how its progress is shown."""

from particleseg_app.gui.tasks.job_queue import JobQueue
from particleseg_app.gui.tasks.progress_panel import ProgressPanel
from particleseg_app.gui.tasks.task import (
    EngineFunction,
    Task,
    running_tasks,
    stop_all_tasks,
    when_ended,
)

__all__ = [
    "EngineFunction",
    "JobQueue",
    "ProgressPanel",
    "Task",
    "running_tasks",
    "stop_all_tasks",
    "when_ended",
]
