"""The files of a run's folder and what they tell about its state.

settings.json   what was asked for, written first
origin.json     what the run started from (model, scan shape): a resumed run must match it
pieces/, work/  finished pieces of unfinished stages
labels.h5       the labels, once they are complete
summary.json    written last: the run is finished
attempts.json   how long each attempt took (see `run_clock`)
failure.json    why the last attempt ended, if it failed
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from particleseg_app.durable_files import make_folder, write_json
from particleseg_app.errors import InvalidValueError, NewRunError, RunError
from particleseg_app.segmentation.settings import RunSettings

SETTINGS = "settings.json"
ORIGIN = "origin.json"
LABELS = "labels.h5"
SUMMARY = "summary.json"
FAILURE = "failure.json"
PIECES = "pieces"
WORK = "work"
PASSED_BY = "were empty and were passed by."


@dataclass(frozen=True)
class RunState:
    """`status` is "new", "unfinished", "failed" or "finished"; `message` says why it failed."""

    status: str
    settings: RunSettings | None = None
    message: str = ""
    summary: dict[str, Any] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a finished run says of itself: noise, a tube, what was left out."""
        notes = (self.summary or {}).get("notes")
        return tuple(str(note) for note in notes) if isinstance(notes, list) else ()

    @property
    def findings(self) -> tuple[str, ...]:
        """Those of the notes that say something about the particles."""
        return tuple(note for note in self.notes if not note.endswith(PASSED_BY))


@dataclass(frozen=True)
class RunResult:
    """A finished run: its labels on disk, how many particles, and what it took."""

    labels_path: Path
    particle_count: int
    summary: dict[str, Any]


def run_state(folder: Path) -> RunState:
    """What the files in a run's folder say; raises `RunError` when they are damaged."""
    if not (folder / SETTINGS).exists():
        return RunState("new")
    settings = stored_settings(folder)
    if (folder / SUMMARY).exists() and (folder / LABELS).exists():
        return RunState("finished", settings, summary=read_run_json(folder / SUMMARY))
    if (folder / FAILURE).exists():
        return RunState("failed", settings, str(read_run_json(folder / FAILURE).get("message")))
    return RunState("unfinished", settings)


def stored_settings(folder: Path) -> RunSettings:
    try:
        return RunSettings.from_dict(read_run_json(folder / SETTINGS))
    except InvalidValueError as error:
        raise RunError(error.sentence, error.remedy) from error


def read_origin(folder: Path) -> dict[str, Any] | None:
    """What an earlier attempt of this run started from; None for a run that begins."""
    return read_run_json(folder / ORIGIN) if (folder / ORIGIN).exists() else None


def read_run_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NewRunError(
            f"{path} cannot be read.", "Remove this run and start it again."
        ) from error
    if not isinstance(value, dict):
        raise NewRunError(f"{path} is damaged.", "Remove this run and start it again.")
    return value


def check_same_settings(folder: Path, settings: RunSettings) -> None:
    """Raise `RunError` when the run in `folder` was started with settings that differ."""
    if (folder / SETTINGS).exists() and not stored_settings(folder).same_result(settings):
        raise NewRunError(
            f"The run in {folder} was started with other settings.", "Start a new run for these."
        )


def claim(folder: Path, settings: RunSettings, origin: dict[str, Any]) -> None:
    """Write down what the run is, or check that an earlier attempt was the same."""
    make_folder(folder)
    check_same_settings(folder, settings)
    if (folder / ORIGIN).exists():
        if read_run_json(folder / ORIGIN) != origin:
            raise NewRunError(
                "The scan, the program or the model has changed since this run was started.",
                "Start a new run.",
            )
    else:
        write_json(folder / ORIGIN, origin)
    write_json(folder / SETTINGS, settings.as_dict())
    (folder / FAILURE).unlink(missing_ok=True)
