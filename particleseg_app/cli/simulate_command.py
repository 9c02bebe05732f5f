"""`particleseg simulate`: a labelled scan that was never scanned, for training and for checks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.durable_files import PART_SUFFIX, make_output_folder
from particleseg_app.errors import InvalidValueError

EDGE_LIMIT = 1024
SLICES, LABELS = "scan", "labels.tif"


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
    from particleseg_app.particles.export import export_errors
    from particleseg_app.training import simulate_scan, write_scan
    from particleseg_app.units import check_voxel_size, format_micrometres

    check_voxel_size(voxel_size_um)
    if out.exists() and not _is_free(out):
        raise InvalidValueError(f"{out} is not an empty folder.", "Choose a new one.")
    make_output_folder(out)
    try:
        with long_work() as (progress, cancel), export_errors(out / SLICES):
            progress.start("Simulating the scan")
            scan = simulate_scan(preset, seed, (edge, edge, edge), diameter_voxels)
            count = int(scan.labels.max())
            diameter = f"{scan.diameter_voxels:.3g} voxels"
            if count == 0:
                raise InvalidValueError(
                    f"No particle of about {diameter} finds room in {edge} voxels along each edge.",
                    "Choose a larger --edge, a smaller --diameter-voxels, or another --seed.",
                )
            write_scan(scan, out / SLICES, out / LABELS, voxel_size_um, progress, cancel)
    except BaseException as error:
        with suppress(OSError):  # where nothing was written there is no folder either
            out.rmdir()
        if isinstance(error, MemoryError):
            raise InvalidValueError(
                f"There is too little free memory for a scan of {edge} voxels along each edge.",
                "Choose a smaller --edge, or close other programs.",
            ) from error
        raise
    width = format_micrometres(scan.diameter_voxels * voxel_size_um)
    particles = "1 particle" if count == 1 else f"{count} particles"
    typer.echo(f"{particles}, {width} ({diameter}) wide on average: {out / SLICES}")
    typer.echo(f"  labels: {out / LABELS}")


def _is_free(folder: Path) -> bool:
    """Whether a folder is empty, but for what a simulation left that was killed."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    begun = SLICES + PART_SUFFIX
    return not names or (begun in names and names <= {begun, LABELS, LABELS + PART_SUFFIX})
