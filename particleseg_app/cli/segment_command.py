"""`particleseg segment`: from a scan to a project with particles, labels and table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from particleseg_app.cli.cost_lines import cost_lines
from particleseg_app.cli.options import ClusterAddress, Verbose, cluster_workers
from particleseg_app.cli.progress_display import duration, long_work
from particleseg_app.errors import Cancelled, ScanError

if TYPE_CHECKING:
    from particleseg_app.projects.entries import ScanEntry
    from particleseg_app.segmentation import RunSettings
    from particleseg_app.volumes import ScanSource


class Method(StrEnum):
    nnunet = "nnunet"
    threshwater = "threshwater"


class Preset(StrEnum):
    fast = "fast"
    standard = "standard"
    best = "best"


class Inference(StrEnum):
    auto = "auto"
    openvino = "openvino"
    torch = "torch"


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
    inference: Annotated[
        Inference,
        typer.Option(help="What computes the network on the processor; auto takes the fastest."),
    ] = Inference.auto,
    all_tiles: Annotated[
        bool,
        typer.Option("--all-tiles", help="Predict empty tiles too, which are else passed by."),
    ] = False,
    keep_noise: Annotated[
        bool,
        typer.Option(
            "--keep-noise",
            help="Take the scan as it is; noise, rings and uneven slices are else dealt with.",
        ),
    ] = False,
    keep_containers: Annotated[
        bool,
        typer.Option(
            "--keep-containers",
            help="Keep the wall of a sample tube, what lies beyond it, and what runs through the "
            "scan from the first to the last slice, which is else left out.",
        ),
    ] = False,
    max_memory: Annotated[
        str, typer.Option(metavar="AMOUNT", help="Memory the program may take: 4GB, 2500MB.")
    ] = "4GB",
    new_run: Annotated[
        bool,
        typer.Option("--new-run", help="Start anew where a run with these settings exists."),
    ] = False,
    cluster: ClusterAddress = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate", help="Only say what the run will cost: time, tiles, disk and memory."
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Find, separate and measure the particles of a scan.

    Writes a project that the window opens, with labels.tif, particles.csv and particles.json in
    it. Files of a further scan or run in the same project get names of their own. The same command
    continues a run that was interrupted.
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
        inference=inference.value,
        skip_background=not all_tiles,
        denoise=not keep_noise,
        leave_out_containers=not keep_containers,
    )
    # Everything that can be refused is refused before the scan is copied.
    settings.check()
    if estimate and cluster is not None:
        raise typer.BadParameter("--estimate measures this computer; leave --cluster away.")
    settings = settled_settings(settings, here=cluster is None)
    from particleseg_app.projects.scan_to_results import (
        estimate_for_project,
        scan_imported_from,
        segment_into_project,
    )
    from particleseg_app.volumes import inspect_source

    source: ScanSource | ScanEntry
    try:
        source = inspect_source(scan.absolute())
        _warn_of_other_voxel_size(source, voxel_size_um)
    except ScanError:
        kept = None if scan.exists() else scan_imported_from(out, scan.absolute())
        if kept is None:
            raise
        source = kept
        typer.echo(f"Note: {scan} is gone; the copy in the project is used.", err=True)
    settings.check_for(source.shape)
    if estimate:
        with long_work() as (progress, cancel):
            cost = estimate_for_project(source, out, settings, progress, cancel, memory_limit)
        for line in cost_lines(cost, voxel_size_um):
            typer.echo(line)
        return
    try:
        with cluster_workers(cluster) as workers, long_work() as (progress, cancel):
            result, paths = segment_into_project(
                source,
                out,
                settings,
                progress,
                cancel,
                new_run=new_run,
                cluster=workers,
                memory_limit_bytes=memory_limit,
            )
    except Cancelled:
        typer.echo("Cancelled; the same command continues the run.", err=True)
        raise typer.Exit(1) from None
    seconds = result.summary.get("seconds")
    took = f" in {duration(seconds)}" if seconds is not None else ""
    typer.echo(f"{result.particle_count} particles{took}.")
    for path in paths:
        typer.echo(f"  {path}")


def settled_settings(settings: RunSettings, *, here: bool = True) -> RunSettings:
    """Model and device checked, a model folder by its full path, so that a run is recognised.

    The device is one of the cluster's, unless the run is done `here`.
    """
    if settings.method != "nnunet":
        return settings
    from dataclasses import replace

    from particleseg_app.models import choose_device, find_model, list_models

    entry = find_model(settings.model)
    if here:
        choose_device(settings.device)
    names = [known.name for known in list_models() if known.folder == entry.folder]
    return replace(settings, model=names[0] if names else str(entry.folder))


def _warn_of_other_voxel_size(source: ScanSource, voxel_size_um: float) -> None:
    proposed = source.proposed_voxel_size_um
    if proposed is not None and abs(proposed / voxel_size_um - 1) > 0.01:
        typer.echo(
            f"Note: the scan itself states a voxel size of {proposed:.6g} µm "
            f"({source.voxel_size_origin}); {voxel_size_um:.6g} µm is used.",
            err=True,
        )
