"""The whole job of a run, shared by window and command line: particles, their table, its origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app import __version__
from particleseg_app.durable_files import write_json
from particleseg_app.errors import ProjectError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, cache_bytes
from particleseg_app.particles import (
    export_csv,
    export_labels_tiff,
    load_table,
    measure_particles,
    save_table,
)
from particleseg_app.particles.phase_files import COUNTED, load_phases
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.entries import RunEntry, ScanEntry
from particleseg_app.projects.project import Project
from particleseg_app.projects.result_files import MAIN_TABLE, claim_result_files, result_files
from particleseg_app.projects.review_files import open_review
from particleseg_app.volumes import open_labels

if TYPE_CHECKING:
    import pandas as pd

    from particleseg_app.segmentation import RunResult
    from particleseg_app.segmentation.workers import Workers

TABLE = "particles.parquet"
PROVENANCE = "provenance.json"


def run_segmentation_job(
    project: Project,
    run_id: str,
    progress: Progress,
    cancel: CancelToken,
    workers: Workers | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> RunResult:
    """Segment the run's scan, measure the particles and note where they come from.

    Continues an interrupted run; a finished one returns at once. `workers` are those of a cluster,
    None for this process alone. `memory_limit_bytes` bounds the memory of each process and is no
    part of the result. Leaves `labels.h5`, `particles.parquet` and `provenance.json` in the run's
    folder. Raises `UserError` (see `segmentation.run.segment`) and `Cancelled`.
    """
    from particleseg_app.segmentation import RunSettings, segment
    from particleseg_app.segmentation.failures import failures_in_words

    project.check_writable()
    run, scan_entry = run_and_scan(project, run_id)
    folder = project.run_folder(run_id)
    settings = RunSettings.from_dict(run.settings)
    cache = cache_bytes(memory_limit_bytes)
    with failures_in_words(folder), project.open_scan(scan_entry.id, cache) as scan:
        result = segment(
            folder,
            scan,
            settings,
            progress,
            cancel,
            workers=workers,
            memory_limit_bytes=memory_limit_bytes,
        )
        if not (folder / TABLE).exists():
            with open_labels(result.labels_path, cache) as labels:
                table = measure_particles(
                    labels,
                    scan,
                    settings.voxel_size_um,
                    progress,
                    cancel,
                    memory_limit_bytes=memory_limit_bytes,
                )
            save_table(table, folder / TABLE)
        if not (folder / PROVENANCE).exists():
            write_json(folder / PROVENANCE, _provenance(run, scan_entry, result))
    return result


def is_complete(project: Project, run_id: str) -> bool:
    """Whether the run has all of its results: labels, table and provenance."""
    from particleseg_app.segmentation import run_state

    folder = project.run_folder(run_id)
    return (
        (folder / TABLE).exists()
        and (folder / PROVENANCE).exists()
        and run_state(folder).status == "finished"
    )


def run_and_scan(project: Project, run_id: str) -> tuple[RunEntry, ScanEntry]:
    """The project's entries of a run and of its scan; `ProjectError` where there is none."""
    run = project.run(run_id)
    return run, project.scan(run.scan_id)


def run_table(
    project: Project,
    run_id: str,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> pd.DataFrame:
    """The particle table of a finished run with its mends and, if it has any, its phases.

    Particles that no mend changed are not measured again. Raises `ProjectError` and `Cancelled`.
    """
    if not project.review_paths(run_id).journal.exists():
        folder = project.run_folder(run_id)
        table, phases = load_table(folder / TABLE), load_phases(folder)
        return table if phases is None else phases.table_with_phases(table)
    with open_review(project, run_id, read_only=True) as review:
        if not review.journal.mend_count:
            return review.segmented_table
        with project.open_scan(project.run(run_id).scan_id) as scan:
            return review.table(scan, progress or Progress(), cancel or CancelToken())


def run_provenance(project: Project, run_id: str) -> dict[str, Any]:
    """Where the results of a finished run come from, for the description beside exports.

    `mends` is how many mends the results contain now; `phases` their names, the grey values
    between them and how voxels are counted, where the run has any.
    """
    path = project.run_folder(run_id) / PROVENANCE
    try:
        provenance: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        provenance["voxel_size_um"] = float(provenance["voxel_size_um"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ProjectError(
            f"{path} cannot be read.", "Continue or repeat the run, then export again."
        ) from error
    provenance["mends"] = 0
    if project.review_paths(run_id).journal.exists():
        with open_review(project, run_id, read_only=True) as review:
            provenance["mends"] = review.journal.mend_count
    stored = load_phases(project.run_folder(run_id))
    if stored is not None:
        provenance["phases"] = {
            "names": list(stored.phases.names),
            "thresholds": list(stored.phases.thresholds),
            "counted": COUNTED,
        }
    return provenance


def write_main_results(
    project: Project, run_id: str, progress: Progress, cancel: CancelToken
) -> list[Path]:
    """Write table, description and labels of a run into the project's own folder.

    `particles.csv`, `particles.json` and `labels.tif`, unless these are another run's
    (`result_files`): then names that are free, which `progress` notes.
    """
    project.check_writable()
    table = run_table(project, run_id, progress, cancel)
    provenance = run_provenance(project, run_id)
    named_before = result_files(project, run_id)
    files = claim_result_files(project, run_id)
    if named_before is None and files.table.name != MAIN_TABLE:
        progress.note(
            f"Files of other runs in {project.folder} stay as they are; those of this run are "
            f"named {files.table.name} and {files.labels.name}."
        )
    with open_review(project, run_id, read_only=True) as review:
        voxel_size_um = provenance["voxel_size_um"]
        export_labels_tiff(review.labels, files.labels, voxel_size_um, progress, cancel)
    return [*export_csv(table, files.table, provenance), files.labels]


def _provenance(run: RunEntry, scan: ScanEntry, result: RunResult) -> dict[str, Any]:
    settings = dict(run.settings)
    summary = result.summary
    model = summary.get("model") or {}
    return {
        "program_version": summary.get("program_version", __version__),
        "run": run.id,
        "run_name": run.name,
        "scan_name": scan.name,
        "scan_source": str(scan.source),
        "scan_shape_zyx": list(scan.shape),
        "scan_imported_at": scan.imported_at,
        "voxel_size_um": settings["voxel_size_um"],
        "particle_diameter_um": settings["particle_diameter_um"],
        "method": settings.get("method", "nnunet"),
        "model_name": model.get("name"),
        "model_version": model.get("version"),
        "preset": settings.get("preset") if model else None,
        "device": summary.get("device"),
        "settings": settings,
        "particle_count": result.particle_count,
        "run_created_at": run.created_at,
        "run_started_at": summary.get("started_at"),
        "run_finished_at": summary.get("finished_at"),
        "run_seconds": summary.get("seconds"),
        "summary": summary,
    }
