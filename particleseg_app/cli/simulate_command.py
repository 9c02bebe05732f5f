"""`particleseg simulate`: a labelled scan that was never scanned, for training and for checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.errors import InvalidValueError

EDGE_LIMIT = 1024


def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the slices and the labels.")
    ],
    preset: Annotated[str, typer.Option(help="Kind of sample; “varied” draws one.")] = "varied",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same scan.")] = 0,
    edge: Annotated[
        int, typer.Option(min=16, max=EDGE_LIMIT, help="Voxels along each edge.")
    ] = 128,
    diameter_voxels: Annotated[
        float | None, typer.Option(help="Mean particle diameter in voxels; else drawn.")
    ] = None,
    voxel_size_um: Annotated[
        float, typer.Option(help="Voxel size written into the files, in µm.")
    ] = 10.0,
    verbose: Verbose = False,
) -> None:
    """Write a simulated micro-CT scan as TIFF slices, with the labels of its particles."""
    from particleseg_app.training import simulate_scan, write_scan
    from particleseg_app.units import check_voxel_size

    check_voxel_size(voxel_size_um)
    if out.exists() and any(out.iterdir()):
        raise InvalidValueError(f"{out} is not empty.", "Choose a new folder.")
    with long_work() as (progress, cancel):
        progress.start("Simulating the scan")
        scan = simulate_scan(preset, seed, (edge, edge, edge), diameter_voxels)
        write_scan(scan, out / "scan", out / "labels.tif", voxel_size_um, progress, cancel)
    count, diameter_um = int(scan.labels.max()), scan.diameter_voxels * voxel_size_um
    typer.echo(f"{count} particles, {diameter_um:.0f} µm wide on average, in {out}.")
