"""The project folder: scans, runs, lock, versions, and the list of recent projects."""

from particleseg_app.projects.entries import RunEntry, ScanEntry
from particleseg_app.projects.lock import (
    LockHolder,
    ProjectLockedError,
    ProjectNotWritableError,
    lock_holder,
)
from particleseg_app.projects.project import Project
from particleseg_app.projects.project_file import is_project
from particleseg_app.projects.recent import RecentProject, RecentProjects

__all__ = [
    "LockHolder",
    "Project",
    "ProjectLockedError",
    "ProjectNotWritableError",
    "RecentProject",
    "RecentProjects",
    "RunEntry",
    "ScanEntry",
    "is_project",
    "lock_holder",
]
