"""`particleseg segment`: from a scan to a project with particles, labels and table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from particleseg_app.cli.options import ClusterAddress, Verbose, cluster_workers
from particleseg_app.cli.progress_display import duration, long_work
from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import format_micrometres

if TYPE_CHECKING:
    from particleseg_app.projects import Project, RunEntry, ScanEntry
    from particleseg_app.segmentation import RunSettings
    from particleseg_app.segmentation.cluster import Cluster
    from particleseg_app.volumes import ScanSource


class Method(StrEnum):
    nnunet = "nnunet"
    threshwater = "threshwater"


class Preset(StrEnum):
    fast = "fast"
    standard = "standard"
    best = "best"


def segment(
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="Folder of TIFF slices, or a TIFF stack.")
    ],
    voxel_size_um: Annotated[float, typer.Option(help="Edge of a voxel in µm.")],
    particle_diameter_um: Annotated[
        float, typer.Option(help="Rough diameter of an average particle in µm.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the project, new or existing.")],
    method: Annotated[Method, typer.Option(help="How particles are found.")] = Method.nnunet,
    model: Annotated[str, typer.Option(help="Name or folder of the model.")] = "default",
    preset: Annotated[
        Preset, typer.Option(help="How much care (and time) is spent.")
    ] = Preset.standard,
    device: Annotated[str, typer.Option(help="auto, cpu, or a graphics card: cuda:0.")] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(help="Grey value that parts particles from the rest (threshwater only)."),
    ] = None,
    max_memory: Annotated[
        str, typer.Option(metavar="AMOUNT", help="Memory the program may take: 4GB, 1500MB.")
    ] = "4GB",
    new_run: Annotated[
        bool,
        typer.Option("--new-run", help="Start anew where a run with these settings exists."),
    ] = False,
    cluster: ClusterAddress = None,
    verbose: Verbose = False,
) -> None:
    """Find, separate and measure the particles of a scan.

    Writes a project that the window opens, with labels.tif, particles.csv and particles.json in
    it. The same command continues a run that was interrupted.
    """
    if threshold is not None and method is not Method.threshwater:
        raise typer.BadParameter("--threshold belongs to --method threshwater.")
    from particleseg_app.memory_limit import parse_memory
    from particleseg_app.segmentation import RunSettings

    memory_limit = parse_memory(max_memory)
    settings = RunSettings(
        voxel_size_um=voxel_size_um,
        particle_diameter_um=particle_diameter_um,
        method=method.value,
        model=model,
        preset=preset.value,
        device=device,
        threshold=threshold,
    )
    # Everything that can be refused is refused before the scan is copied.
    settings.check()
    if method is Method.nnunet:
        settings = _with_model_and_device(settings)
    from particleseg_app.volumes import inspect_source

    source = inspect_source(scan.absolute())
    _warn_of_other_voxel_size(source, voxel_size_um)
    try:
        with cluster_workers(cluster) as workers, long_work() as (progress, cancel):
            result, paths = _run(
                source, out, settings, new_run, workers, memory_limit, progress, cancel
            )
    except Cancelled:
        typer.echo("Cancelled; the same command continues the run.", err=True)
        raise typer.Exit(1) from None
    seconds = result.summary.get("seconds")
    took = f" in {duration(seconds)}" if seconds is not None else ""
    typer.echo(f"{result.particle_count} particles{took}.")
    for path in paths:
        typer.echo(f"  {path}")


def _with_model_and_device(settings: RunSettings) -> RunSettings:
    """Checked, and with a model folder by its full path, so that a run can be recognised."""
    from dataclasses import replace

    from particleseg_app.models import choose_device, find_model, list_models

    entry = find_model(settings.model)
    choose_device(settings.device)
    installed = any(known.folder == entry.folder for known in list_models())
    return replace(settings, model=entry.name if installed else str(entry.folder))


def _warn_of_other_voxel_size(source: ScanSource, voxel_size_um: float) -> None:
    proposed = source.proposed_voxel_size_um
    if proposed is not None and abs(proposed / voxel_size_um - 1) > 0.01:
        typer.echo(
            f"Note: the scan itself states a voxel size of {format_micrometres(proposed)} "
            f"({source.voxel_size_origin}); {format_micrometres(voxel_size_um)} is used.",
            err=True,
        )


def _run(
    source: ScanSource,
    out: Path,
    settings: RunSettings,
    new_run: bool,
    workers: Cluster | None,
    memory_limit: int,
    progress: Progress,
    cancel: CancelToken,
) -> tuple[Any, list[Path]]:
    from particleseg_app.projects import Project, is_project
    from particleseg_app.projects.segmentation_job import run_segmentation_job, write_main_results

    with Project.open(out) if is_project(out) else Project.create(out) as project:
        entry = _known_scan(project, source)
        if entry is None:
            entry = project.add_scan(source, progress, cancel, memory_limit_bytes=memory_limit)
        project.set_scan_answers(
            entry.id,
            voxel_size_um=settings.voxel_size_um,
            particle_diameter_um=settings.particle_diameter_um,
        )
        run = None if new_run else _same_run(project, entry, settings, progress)
        if run is None:
            run = project.new_run(entry.id, settings.as_dict())
        if workers is not None:
            workers.shared_folder = project.run_folder(run.id)
        result = run_segmentation_job(project, run.id, progress, cancel, workers, memory_limit)
        return result, write_main_results(project, run.id, progress, cancel)


def _known_scan(project: Project, source: ScanSource) -> ScanEntry | None:
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


def _same_run(
    project: Project, scan: ScanEntry, settings: RunSettings, progress: Progress
) -> RunEntry | None:
    """The latest run of this scan with these settings, to be continued."""
    from particleseg_app.projects.segmentation_job import is_complete
    from particleseg_app.segmentation import RunSettings

    for run in reversed(project.runs):
        if run.scan_id == scan.id and RunSettings.from_dict(run.settings).same_result(settings):
            if is_complete(project, run.id):
                progress.note("This run is finished already; its results are written again.")
            else:
                progress.note("Continuing the interrupted run.")
            return run
    return None
