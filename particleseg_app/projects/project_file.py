"""The project file: found, read with all that can be wrong with it, and written."""

from __future__ import annotations

import json
from pathlib import Path

from particleseg_app.durable_files import write_json
from particleseg_app.errors import ProjectError
from particleseg_app.file_access import is_file, is_folder
from particleseg_app.projects.entries import (
    FORMAT_VERSION,
    PROJECT_FORMAT,
    ProjectContent,
    from_json,
    to_json,
)

PROJECT_FILE = "project.json"


def is_project(folder: Path) -> bool:
    """Whether `folder` holds a project file (whatever its state)."""
    return is_file(Path(folder) / PROJECT_FILE)


def read_content(folder: Path) -> ProjectContent:
    """What the project file of a folder says.

    Raises `ProjectError` where there is none, or one that is damaged or of a newer version.
    """
    path = folder / PROJECT_FILE
    if not is_folder(folder):
        raise ProjectError(
            f"There is no folder {folder}, or it may not be looked into.", "Check the path."
        )
    if not is_file(path):
        raise ProjectError(
            f"{folder} is not a ParticleSeg project: it has no {PROJECT_FILE}.",
            "Choose a project folder, or create a new project.",
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict) or value.get("format") != PROJECT_FORMAT:
            raise ValueError("not a project file")
        version = int(value["format_version"])
        if version > FORMAT_VERSION:
            raise ProjectError(
                f"The project {folder} was written by a newer version of ParticleSeg.",
                "Install the newest version to open it; nothing was changed.",
            )
        return from_json(value)
    except PermissionError as error:
        raise ProjectError(f"You are not allowed to read {path}.", "Ask for permission.") from error
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ProjectError(
            f"The project file {path} is damaged.",
            "Put back a copy of it from a backup; the scans and runs beside it are untouched.",
        ) from error


def write_content(folder: Path, content: ProjectContent) -> None:
    """Replace the project file as a whole; raise `ProjectError` where that cannot be."""
    try:
        write_json(folder / PROJECT_FILE, to_json(content))
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: Path, error: OSError) -> ProjectError:
    """What to raise where the project's folder, or one in it, refuses to be written to."""
    return ProjectError(
        f"{folder} cannot be written to ({error.strerror or error}).",
        "Check your permissions and the free space of the disk.",
    )
