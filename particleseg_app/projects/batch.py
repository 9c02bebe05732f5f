"""Many scans in a row, each into a project of its own, unattended and resumable."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from particleseg_app.durable_files import make_folder
from particleseg_app.errors import Cancelled, UserError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.particles import size_distribution
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.batch_list import BatchEntry
from particleseg_app.projects.batch_summary import BatchRow, write_summary
from particleseg_app.projects.project import Project
from particleseg_app.projects.project_file import cannot_write, is_project
from particleseg_app.projects.result_files import result_files
from particleseg_app.projects.scan_to_results import known_scan, same_run, segment_into_project
from particleseg_app.projects.segmentation_job import (
    PROVENANCE,
    is_complete,
    run_and_scan,
    run_table,
)
from particleseg_app.volumes import ScanSource, inspect_source

if TYPE_CHECKING:
    from particleseg_app.segmentation.cluster import Cluster

_log = logging.getLogger(__name__)

Work = Callable[[], AbstractContextManager[tuple[Progress, CancelToken]]]


def run_batch(
    entries: list[BatchEntry],
    out: Path,
    summary: Path,
    work: Work,
    *,
    begins: Callable[[int, BatchEntry], None] = lambda index, entry: None,
    ends: Callable[[BatchRow], None] = lambda row: None,
    connect: Callable[[], Cluster | None] = lambda: None,
    words: Callable[[UserError], str] = str,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> list[BatchRow]:
    """Segment the scans one after the other into `out`/<name>; one row for each of them.

    An error in one scan is noted in its row and the next one goes on; finished ones are not done
    again. After each scan the file `summary` (see `batch_summary`) is written anew. `work` gives
    progress and cancel token for one scan; a cancel ends the batch. `connect` gives the cluster to
    work on, asked before each scan so that a cluster may come back; `words` tells an error. Raises
    `ProjectError` when `out` cannot be written to.
    """
    try:
        make_folder(out)
    except OSError as error:
        raise cannot_write(out, error) from error
    rows = [
        BatchRow(entry.name, str(entry.path), project=str(out / entry.name)) for entry in entries
    ]
    write_summary(summary, rows)
    for index, entry in enumerate(entries):
        begins(index, entry)
        rows[index] = _one(entry, rows[index], work, connect, words, memory_limit_bytes)
        write_summary(summary, rows)
        ends(rows[index])
        if rows[index].state == "interrupted":
            break
    return rows


def _one(
    entry: BatchEntry,
    row: BatchRow,
    work: Work,
    connect: Callable[[], Cluster | None],
    words: Callable[[UserError], str],
    memory_limit_bytes: int,
) -> BatchRow:
    folder = Path(row.project)
    try:
        source = inspect_source(entry.path)
        finished = _finished_before(entry, source, folder, row)
        if finished is not None:
            return finished
        cluster = connect()
        with work() as (progress, cancel):
            result, _ = segment_into_project(
                source,
                folder,
                entry.settings,
                progress,
                cancel,
                cluster=cluster,
                memory_limit_bytes=memory_limit_bytes,
            )
        with Project.open(folder, read_only=True) as project:
            return _with_figures(row, project, result.labels_path.parent.name)
    except Cancelled:
        message = "Cancelled; the same command continues."
        return replace(row, state="interrupted", message=message)
    except UserError as error:
        return replace(row, state="failed", message=words(error))
    except Exception as error:
        _log.exception("scan %s of a batch", entry.name)
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        return replace(row, state="failed", message=f"Unexpected error ({what}).")


def _finished_before(
    entry: BatchEntry, source: ScanSource, folder: Path, row: BatchRow
) -> BatchRow | None:
    """The row of a scan that an earlier batch finished with the same settings."""
    if not is_project(folder):
        return None
    with Project.open(folder, read_only=True) as project:
        scan = known_scan(project, source)
        run = None if scan is None else same_run(project, scan, entry.settings)
        if run is None or not is_complete(project, run.id):
            return None
        files = result_files(project, run.id)
        if files is None or not all(path.exists() for path in files.all):
            return None
        return _with_figures(row, project, run.id)


def _with_figures(row: BatchRow, project: Project, run_id: str) -> BatchRow:
    table = run_table(project, run_id)
    sizes = size_distribution(table)
    files = result_files(project, run_id)
    provenance = json.loads((project.run_folder(run_id) / PROVENANCE).read_text(encoding="utf-8"))
    return replace(
        row,
        state="finished",
        particles=len(table),
        d10_um=None if sizes is None else sizes.d10,
        d50_um=None if sizes is None else sizes.d50,
        p80_um=None if sizes is None else sizes.p80,
        d90_um=None if sizes is None else sizes.d90,
        seconds=provenance.get("run_seconds"),
        notes=" ".join(_notes(project, run_id)),
        run=run_id,
        table="" if files is None else str(files.table),
    )


def _notes(project: Project, run_id: str) -> tuple[str, ...]:
    """What is odd about a run's scan, and what the run says of its particles."""
    from particleseg_app.segmentation import run_state

    run, entry = run_and_scan(project, run_id)
    with project.open_scan(entry.id) as scan:
        warnings = scan.statistics.warnings()
    return (*entry.remarks, *warnings, *run_state(project.run_folder(run.id)).findings)
