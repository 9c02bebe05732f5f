"""The summary of a batch: a row for each scan, and the file that it may write without losing any.

Several batches may write into one folder. A summary is only replaced by one that holds all of its
finished scans with the same settings, as a batch does that goes on; another one gets a file of its
own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

from particleseg_app.durable_files import write_bytes
from particleseg_app.errors import UserError
from particleseg_app.particles.export import number_text
from particleseg_app.projects.batch_list import BatchEntry
from particleseg_app.projects.project import Project
from particleseg_app.projects.project_file import cannot_write, is_project
from particleseg_app.segmentation import RunSettings

SUMMARY_CSV = "summary.csv"


@dataclass(frozen=True)
class BatchRow:
    """One scan in the summary. Diameters in µm, weighted by volume; None where there is none.

    `state` is "waiting", "finished", "failed" (then `message` says why) or "interrupted".
    `seconds` are those of all attempts; `notes` are sentences on scan and particles; `run` is the
    id of the run in `project`, `table` the file of its particle table.
    """

    name: str
    path: str
    state: str = "waiting"
    particles: int | None = None
    d10_um: float | None = None
    d50_um: float | None = None
    p80_um: float | None = None
    d90_um: float | None = None
    seconds: float | None = None
    message: str = ""
    notes: str = ""
    project: str = ""
    run: str = ""
    table: str = ""


_COLUMNS = [field.name for field in fields(BatchRow)]


def summary_file(entries: Iterable[BatchEntry], out: Path) -> Path:
    """The file in `out` for the summary of these scans: summary.csv, else summary_2.csv, …

    It is not there yet, or what it says of finished scans comes again in the new one.
    """
    wanted = {(entry.name, str(entry.path)): entry.settings for entry in entries}
    names = (SUMMARY_CSV if n == 1 else f"summary_{n}.csv" for n in count(1))
    return next(
        out / name
        for name in names
        if not (out / name).exists() or _comes_again(out / name, wanted)
    )


def write_summary(path: Path, rows: Iterable[BatchRow]) -> None:
    """Write the rows as CSV; raises `ProjectError` where that cannot be."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([_text(getattr(row, name)) for name in _COLUMNS])
    try:
        write_bytes(path, text.getvalue().encode())
    except OSError as error:
        raise cannot_write(path.parent, error) from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    return number_text(value) if isinstance(value, float) else str(value)


def _comes_again(path: Path, wanted: Mapping[tuple[str, str], RunSettings]) -> bool:
    """Whether a batch of the `wanted` scans says again what this file says of finished ones."""
    rows = _read(path)
    if not any((row["name"], row["path"]) in wanted for row in rows):
        return False  # of other scans, or no summary at all
    return all(
        _same_run(path.parent, row, wanted.get((row["name"], row["path"])))
        for row in rows
        if row["state"] == "finished"
    )


def _read(path: Path) -> list[dict[str, str]]:
    """The rows of a summary; none for a file of others, or one that was changed elsewhere."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (OSError, ValueError, csv.Error):
        return []
    if header != _COLUMNS or any(len(row) != len(header) for row in rows):
        return []
    return [dict(zip(header, row, strict=True)) for row in rows]


def _same_run(out: Path, row: Mapping[str, str], settings: RunSettings | None) -> bool:
    """Whether the run of a row is the one that these settings lead to, or is gone."""
    folder = out / row["name"]
    if settings is None:
        return False
    if not is_project(folder):
        return True
    try:
        with Project.open(folder, read_only=True) as project:
            runs = [run for run in project.runs if run.id == row["run"]]
            return all(RunSettings.from_dict(run.settings).same_result(settings) for run in runs)
    except UserError:
        return False
