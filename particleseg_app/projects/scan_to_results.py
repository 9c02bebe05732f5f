"""From a scan's files to a project with results, continuing whatever an earlier attempt left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.entries import RunEntry, ScanEntry
from particleseg_app.projects.job_cost import estimate_job
from particleseg_app.projects.project import Project
from particleseg_app.projects.project_file import is_project
from particleseg_app.projects.segmentation_job import (
    is_complete,
    run_segmentation_job,
    write_main_results,
)
from particleseg_app.volumes import ScanSource

if TYPE_CHECKING:
    from particleseg_app.segmentation import CostEstimate, RunResult, RunSettings
    from particleseg_app.segmentation.cluster import Cluster


def segment_into_project(
    source: ScanSource | ScanEntry,
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

    `source`: the scan's files, or the entry of a scan that the project holds already.

    What is there already is not done again: a scan imported from the same files, and the latest
    run with the same settings (unless `new_run`). Returns the run and the paths of the results.
    Raises `UserError` and `Cancelled`; the same call then goes on.
    """
    settings.check_for(source.shape)
    with Project.open(folder) if is_project(folder) else Project.create(folder) as project:
        entry = _scan_with_answers(project, source, settings, progress, cancel, memory_limit_bytes)
        run = None if new_run else same_run(project, entry, settings)
        if run is None:
            run = project.new_run(entry.id, settings.as_dict())
        else:
            progress.note(_how_it_stands(project, run))
            if not is_complete(project, run.id) and run.settings.get("device") != settings.device:
                project.set_run_device(run.id, settings.device)
        if cluster is not None:
            cluster.shared_folder = project.run_folder(run.id)
        result = run_segmentation_job(
            project, run.id, progress, cancel, cluster, memory_limit_bytes
        )
        return result, write_main_results(project, run.id, progress, cancel)


def estimate_for_project(
    source: ScanSource | ScanEntry,
    folder: Path,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> CostEstimate:
    """What `segment_into_project` will cost after the import, from a trial of some seconds.

    The scan is imported into the project, where that has not been done; nothing else is kept.
    Raises `UserError` and `Cancelled`.
    """
    settings.check_for(source.shape)
    with Project.open(folder) if is_project(folder) else Project.create(folder) as project:
        entry = _scan_with_answers(project, source, settings, progress, cancel, memory_limit_bytes)
        progress.start("Measuring what the run will cost")
        with project.open_scan(entry.id) as scan:
            return estimate_job(scan, settings, cancel, memory_limit_bytes)


def _scan_with_answers(
    project: Project,
    source: ScanSource | ScanEntry,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int,
) -> ScanEntry:
    """The scan, imported where it was not, with its sizes."""
    entry = source if isinstance(source, ScanEntry) else known_scan(project, source)
    if entry is None:
        assert isinstance(source, ScanSource)
        if any(_is_of(entry, source.place) for entry in project.scans):
            progress.note(
                f"The files of the scan {source.name} have changed since they were imported, so "
                "they are imported again."
            )
        entry = project.add_scan(source, progress, cancel, memory_limit_bytes=memory_limit_bytes)
        with project.open_scan(entry.id) as scan:
            warnings = scan.statistics.warnings()
        for remark in (*source.remarks, *warnings):
            progress.note(remark)
    project.set_scan_answers(
        entry.id,
        voxel_size_um=settings.voxel_size_um,
        particle_diameter_um=settings.particle_diameter_um,
    )
    return entry


def known_scan(project: Project, source: ScanSource) -> ScanEntry | None:
    """The scan in the project that was imported from these files and has not changed since."""
    for entry in reversed(project.scans):
        if _is_of(entry, source.place) and entry.source_state == source.state:
            return entry
    return None


def scan_imported_from(folder: Path, path: Path) -> ScanEntry | None:
    """The scan last imported from `path` into the project in `folder`, when the files are gone."""
    if not is_project(folder):
        return None
    with Project.open(folder, read_only=True) as project:
        for entry in reversed(project.scans):
            if _is_of(entry, path):
                return entry
    return None


def _is_of(entry: ScanEntry, place: Path) -> bool:
    """Whether a scan was imported from this stack or folder; it may be called otherwise now."""
    return Path(entry.source).resolve() == place.resolve()


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
