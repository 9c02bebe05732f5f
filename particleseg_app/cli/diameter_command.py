"""`particleseg propose-diameter`: how large an average particle is, as the window proposes it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.errors import Cancelled
from particleseg_app.units import format_micrometres, format_number


def propose_diameter(
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="Folder of TIFF slices, or a TIFF stack.")
    ],
    voxel_size_um: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Edge of a voxel in µm; what the scan states when left out."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Say how large an average particle of a scan probably is, for `segment` and `batch`.

    Reads the whole scan once, into a temporary folder.
    """
    from particleseg_app.segmentation import diameter_proposal
    from particleseg_app.volumes import import_scan, inspect_source, open_scan

    source = inspect_source(scan.absolute())
    if voxel_size_um is None:
        voxel_size_um = source.proposed_voxel_size_um
    try:
        with (
            tempfile.TemporaryDirectory(prefix="particleseg-") as folder,
            long_work() as (progress, cancel),
        ):
            store = Path(folder) / "scan.h5"
            import_scan(source, store, progress, cancel)
            with open_scan(store) as imported:
                proposal = diameter_proposal.propose_diameter(imported, progress, cancel)
    except Cancelled:
        typer.echo("Cancelled.", err=True)
        raise typer.Exit(1) from None
    if proposal is None:
        typer.echo("Nothing like particles was found; measure a few in the window.", err=True)
        raise typer.Exit(1)

    def size(voxels: float) -> str:
        if voxel_size_um is None:
            return f"{format_number(voxels)} voxels"
        return format_micrometres(voxels * voxel_size_um)

    beside = "" if voxel_size_um is None else f" ({format_number(proposal.diameter_voxels)} voxels)"
    typer.echo(
        f"particle diameter: {size(proposal.diameter_voxels)}{beside}, "
        f"between {size(proposal.low)} and {size(proposal.high)}"
    )
    typer.echo(f"confidence: {proposal.confidence}. {proposal.explanation}")
