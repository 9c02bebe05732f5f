"""From a scan's files to a project with results, continuing whatever an earlier attempt left."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.entries import RunEntry, ScanEntry
from particleseg_app.projects.project import Project
from particleseg_app.projects.project_file import is_project
from particleseg_app.projects.segmentation_job import (
    is_complete,
    run_segmentation_job,
    write_main_results,
)
from particleseg_app.volumes import ScanSource

if TYPE_CHECKING:
    from particleseg_app.segmentation import RunResult, RunSettings
    from particleseg_app.segmentation.cluster import Cluster


def segment_into_project(
    source: ScanSource,
    folder: Path,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    *,
    new_run: bool = False,
    cluster: Cluster | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> tuple[RunResult, list[Path]]:
    """Import, segment, measure and export a scan into the project in `folder`, new or existing.

    What is there already is not done again: a scan imported from the same files, and the latest
    run with the same settings (unless `new_run`). Returns the run and the paths of the results.
    Raises `UserError` and `Cancelled`; the same call then goes on.
    """
    with Project.open(folder) if is_project(folder) else Project.create(folder) as project:
        entry = known_scan(project, source)
        if entry is None:
            entry = project.add_scan(
                source, progress, cancel, memory_limit_bytes=memory_limit_bytes
            )
        project.set_scan_answers(
            entry.id,
            voxel_size_um=settings.voxel_size_um,
            particle_diameter_um=settings.particle_diameter_um,
        )
        run = None if new_run else same_run(project, entry, settings)
        if run is None:
            run = project.new_run(entry.id, settings.as_dict())
        else:
            progress.note(_how_it_stands(project, run))
        if cluster is not None:
            cluster.shared_folder = project.run_folder(run.id)
        result = run_segmentation_job(
            project, run.id, progress, cancel, cluster, memory_limit_bytes
        )
        return result, write_main_results(project, run.id, progress, cancel)


def known_scan(project: Project, source: ScanSource) -> ScanEntry | None:
    """The scan in the project that was imported from these files and has not changed since."""
    places = {source.files[0].resolve(), source.files[0].parent.resolve()}
    changed = max(file.stat().st_mtime for file in source.files)
    for entry in reversed(project.scans):
        imported = datetime.fromisoformat(entry.imported_at).timestamp()
        if (
            Path(entry.source).resolve() in places
            and (entry.name, entry.shape, entry.dtype)
            == (source.name, source.shape, source.dtype.name)
            and changed < imported + 1.0
        ):
            return entry
    return None


def same_run(project: Project, scan: ScanEntry, settings: RunSettings) -> RunEntry | None:
    """The latest run of this scan with these settings, finished or to be continued."""
    from particleseg_app.segmentation import RunSettings

    for run in reversed(project.runs):
        if run.scan_id == scan.id and RunSettings.from_dict(run.settings).same_result(settings):
            return run
    return None


def _how_it_stands(project: Project, run: RunEntry) -> str:
    from particleseg_app.segmentation import run_state

    if is_complete(project, run.id):
        return "This run is finished already; its results are written again."
    state = run_state(project.run_folder(run.id))
    if state.status == "failed":
        return f"Continuing the run that ended with: {state.message}"
    return "Continuing the interrupted run."
