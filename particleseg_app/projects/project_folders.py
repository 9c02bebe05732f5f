"""The folders of a project's scans and runs: made, moved to their place, and deleted.

Whatever moment the program is killed, opening the project finishes or undoes what was half done.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from particleseg_app.durable_files import flush_folder, remove_part_files
from particleseg_app.errors import ProjectError
from particleseg_app.projects.lock import LOCK_NAME
from particleseg_app.projects.project_file import PROJECT_FILE

SCAN_FILE = "scan.h5"
_IMPORTING = ".importing-"
# What the program writes into a project's folder itself, beside what users may keep there.
_WRITTEN = (PROJECT_FILE, "particles*.csv", "particles*.json", "labels*.tif", "summary.csv")
# What an attempt to create a project may leave when it is killed.
_LEFTOVERS = {LOCK_NAME, ".lock.takeover", f"{PROJECT_FILE}.part", "scans", "runs"}


def check_can_become_project(folder: Path) -> None:
    """Raise `ProjectError` unless `folder` is missing or empty."""
    if (folder / PROJECT_FILE).exists():
        raise ProjectError(
            f"{folder} holds a project already.", "Open it, or choose another folder."
        )
    if folder.exists() and not folder.is_dir():
        raise ProjectError(f"{folder} is a file.", "Choose a folder for the project.")
    if folder.is_dir() and any(not _is_leftover(path) for path in folder.iterdir()):
        raise ProjectError(
            f"The folder {folder} is not empty.", "Choose an empty folder or a new one."
        )


def _is_leftover(path: Path) -> bool:
    if path.name not in _LEFTOVERS:
        return False
    return not path.is_dir() or not any(path.iterdir())


def scan_folder(project: Path, scan_id: str) -> Path:
    return project / "scans" / scan_id


def importing_folder(project: Path, scan_id: str) -> Path:
    """Where a scan is imported, beside its place.

    It is moved there (`take_over_import`) once the project file names it.
    """
    return project / "scans" / f"{_IMPORTING}{scan_id}"


def take_over_import(project: Path, scan_id: str) -> None:
    """Move an imported scan to its place."""
    importing_folder(project, scan_id).rename(scan_folder(project, scan_id))
    flush_folder(project / "scans")


def undo_import(project: Path, scan_id: str) -> None:
    """Remove what was imported of a scan that the project file does not name."""
    shutil.rmtree(importing_folder(project, scan_id), ignore_errors=True)


def tidy_up(project: Path, scan_ids: Iterable[str]) -> None:
    """Finish the imports of scans that the project file names, and undo those of others."""
    remove_part_files(project, _WRITTEN)
    for scan_id in scan_ids:
        imported = (importing_folder(project, scan_id) / SCAN_FILE).is_file()
        if imported and not scan_folder(project, scan_id).exists():
            take_over_import(project, scan_id)
    for left in (project / "scans").glob(f"{_IMPORTING}*"):
        shutil.rmtree(left, ignore_errors=True)


def delete_folders(project: Path, places: Iterable[str]) -> tuple[str, ...]:
    """Delete the folders of removed scans and runs; returns those that resist.

    `places` are relative, as in "runs/run-001"; what does not look like that is left alone.
    """
    still_there = []
    for place in places:
        folder = project / place
        if folder.exists() and re.fullmatch(r"(scans|runs)/[\w-]+", place):
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                still_there.append(place)
    return tuple(still_there)
