"""The files of results in a project's own folder: which run they belong to, and their names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from particleseg_app.projects.entries import RunEntry
from particleseg_app.projects.project import Project

MAIN_TABLE = "particles.csv"
_LONGEST_SCAN_NAME = 40


@dataclass(frozen=True)
class ResultFiles:
    """Table, the description beside it, and label volume of one run."""

    table: Path
    description: Path
    labels: Path

    @property
    def all(self) -> tuple[Path, Path, Path]:
        return self.table, self.description, self.labels


def result_files(project: Project, run_id: str) -> ResultFiles | None:
    """The files that hold, or will hold, a run's results; None where none were named so far."""
    suffix = _suffix_of(project, project.run(run_id))
    return None if suffix is None else _named(project.folder, suffix)


def claim_result_files(project: Project, run_id: str) -> ResultFiles:
    """The files for a run's results, which no other run has and nothing else is replaced by.

    The first run of a project takes `particles.csv`, `particles.json` and `labels.tif`; the names
    of any further one end in its scan and its id. The project records them before they are
    written, so that the same run finds its own again. Raises `ProjectError`.
    """
    run = project.run(run_id)
    suffix = _suffix_of(project, run)
    if suffix is None:
        suffix = _free_suffix(project, run)
    if suffix != run.file_suffix:
        project.record_file_suffix(run_id, suffix)
    return _named(project.folder, suffix)


def _named(folder: Path, suffix: str) -> ResultFiles:
    end = f"_{suffix}" if suffix else ""
    return ResultFiles(
        folder / f"particles{end}.csv",
        folder / f"particles{end}.json",
        folder / f"labels{end}.tif",
    )


def _suffix_of(project: Project, run: RunEntry) -> str | None:
    if run.file_suffix is None and _describes(_named(project.folder, "").description, run):
        return ""  # written before names were recorded
    return run.file_suffix


def _describes(description: Path, run: RunEntry) -> bool:
    try:
        origin = json.loads(description.read_text(encoding="utf-8"))["provenance"]
        return bool((origin["run"], origin["run_created_at"]) == (run.id, run.created_at))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _free_suffix(project: Project, run: RunEntry) -> str:
    taken = {other.file_suffix for other in project.runs if other.id != run.id}
    scan = re.sub(r"\W+", "_", project.scan(run.scan_id).name)[:_LONGEST_SCAN_NAME].strip("_")
    own = "_".join(part for part in (scan, run.id) if part)
    suffixes = ("" if n == 0 else own if n == 1 else f"{own}_{n}" for n in count())
    return next(
        suffix
        for suffix in suffixes
        if suffix not in taken
        and not any(path.exists() for path in _named(project.folder, suffix).all)
    )
