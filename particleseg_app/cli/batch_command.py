"""`particleseg batch`: many scans in a row, unattended, with a summary table."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from particleseg_app.cli.error_words import error_words
from particleseg_app.cli.options import ClusterAddress, Verbose
from particleseg_app.cli.progress_display import duration, long_work
from particleseg_app.cli.segment_command import Inference, Method, Preset, settled_settings
from particleseg_app.errors import InvalidValueError

if TYPE_CHECKING:
    from particleseg_app.projects.batch_list import BatchEntry
    from particleseg_app.projects.batch_summary import BatchRow
    from particleseg_app.segmentation import RunSettings
    from particleseg_app.segmentation.cluster import Cluster

_HEADINGS = ("scan", "state", "particles", "D10 µm", "D50 µm", "P80 µm", "D90 µm", "time")


def batch(
    scans: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_CSV",
            help="Folder of scans, or a CSV file with the columns path, voxel_size_um, "
            "particle_diameter_um and, if wanted, name, method, model, preset, threshold.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the projects and summary.csv.")],
    voxel_size_um: Annotated[
        float | None, typer.Option(help="Edge of a voxel in µm, the same for all (folder only).")
    ] = None,
    particle_diameter_um: Annotated[
        float | None,
        typer.Option(help="Rough diameter of an average particle in µm (folder only)."),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="How particles are found, where the CSV does not say.")
    ] = Method.nnunet,
    model: Annotated[
        str, typer.Option(help="Name or folder of the model, where the CSV does not say.")
    ] = "default",
    preset: Annotated[
        Preset, typer.Option(help="Care (and time) spent, where the CSV does not say.")
    ] = Preset.standard,
    device: Annotated[str, typer.Option(help="auto, cpu, or a graphics card: cuda:0.")] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Grey value that parts particles from the rest, where the CSV does not say "
            "(threshwater only)."
        ),
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
    cluster: ClusterAddress = None,
    verbose: Verbose = False,
) -> None:
    """Segment many scans in a row, each into a project of its own.

    An error in one is noted and the next one goes on. The same command skips what is finished and
    continues what is not. summary.csv in the folder of the projects tells particles, sizes, time
    and state of each scan; a batch of other scans or settings gets a summary of its own there.
    """
    from particleseg_app.memory_limit import parse_memory
    from particleseg_app.projects.batch import run_batch
    from particleseg_app.projects.batch_list import batch_entries
    from particleseg_app.projects.batch_summary import SUMMARY_CSV, summary_file
    from particleseg_app.segmentation import RunSettings

    memory_limit = parse_memory(max_memory)
    if not scans.exists():
        raise InvalidValueError(
            f"{scans} does not exist.", "Give a folder of scans, or a CSV file that lists them."
        )
    if scans.is_dir() and out.resolve() == scans.resolve():
        raise InvalidValueError(
            f"The results cannot lie among the scans in {scans}.",
            "Choose another folder for --out.",
        )
    if (voxel_size_um is None) != (particle_diameter_um is None):
        raise InvalidValueError(
            "Voxel size and particle diameter belong together.", "Give both, or list them in a CSV."
        )
    if voxel_size_um is not None and not scans.is_dir():
        raise InvalidValueError(
            "A CSV file holds the sizes of its scans itself.",
            "Leave --voxel-size-um and --particle-diameter-um away.",
        )
    if threshold is not None and scans.is_dir() and method is not Method.threshwater:
        raise InvalidValueError(
            "--threshold belongs to --method threshwater.", "Leave one of the two away."
        )
    common: RunSettings | None = RunSettings(
        voxel_size_um=voxel_size_um or 0.0,
        particle_diameter_um=particle_diameter_um or 0.0,
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
    if scans.is_dir() and voxel_size_um is None:
        common = None
    settled = partial(settled_settings, here=cluster is None)
    entries = batch_entries(scans.absolute(), common, settled, out)
    summary = summary_file(entries, out.absolute())
    if summary.name != SUMMARY_CSV:
        typer.echo(
            f"Note: {SUMMARY_CSV} in {out} is of other scans or settings and stays as it is; this "
            f"batch writes {summary.name}.",
            err=True,
        )
    line = _Cluster(cluster)
    try:
        line()
        rows = run_batch(
            entries,
            out.absolute(),
            summary,
            long_work,
            begins=lambda index, entry: _begin(index, entry, len(entries)),
            ends=_end,
            connect=line,
            words=error_words,
            memory_limit_bytes=memory_limit,
        )
    finally:
        line.close()
    typer.echo("")
    for text in table_lines(rows):
        typer.echo(text)
    typer.echo(f"  {summary}")
    if any(row.state != "finished" for row in rows):
        raise typer.Exit(1)


class _Cluster:
    """The cluster to work on, connected to again where it was lost; None without an address."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.cluster: Cluster | None = None

    def __call__(self) -> Cluster | None:
        from particleseg_app.cli.options import connect_to_cluster

        if self.address is None:
            return None
        if self.cluster is not None and not self.cluster.connected:
            self.close()
        if self.cluster is None:
            self.cluster = connect_to_cluster(self.address)
        return self.cluster

    def close(self) -> None:
        if self.cluster is not None:
            with suppress(Exception):
                self.cluster.close()
            self.cluster = None


def _begin(index: int, entry: BatchEntry, count: int) -> None:
    typer.echo(f"Scan {index + 1} of {count}: {entry.name}", err=True)


def _end(row: BatchRow) -> None:
    if row.state != "finished":
        typer.echo(row.message, err=True)


def table_lines(rows: list[BatchRow]) -> list[str]:
    """The summary as lines of text with aligned columns, reasons of failures below their scans."""
    cells = [list(_HEADINGS)]
    for row in rows:
        sizes = (row.d10_um, row.d50_um, row.p80_um, row.d90_um)
        cells.append(
            [
                row.name,
                row.state,
                "" if row.particles is None else str(row.particles),
                *("" if size is None else f"{size:#.4g}".rstrip(".") for size in sizes),
                "" if row.seconds is None else duration(row.seconds),
            ]
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = []
    for number, line in enumerate(cells):
        padded = [
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
        if number and rows[number - 1].message:
            lines.append(f"    {rows[number - 1].message}")
    return lines
