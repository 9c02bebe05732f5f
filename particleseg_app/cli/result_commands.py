"""`particleseg evaluate` and `particleseg export`: what can be done with finished labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from particleseg_app import __version__
from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.errors import ProjectError

if TYPE_CHECKING:
    from particleseg_app.projects import Project

_SCORES = (
    ("f1", "F1", "overlap of all particles together (1 is best)"),
    ("f1_match", "F1 match", "particles found, one to one (1 is best)"),
    ("f1_instance", "F1 instance", "overlap particle by particle (1 is best)"),
    ("merger_ratio", "Merger ratio", "particles wrongly joined (0 is best)"),
    ("splitter_ratio", "Splitter ratio", "particles wrongly split (0 is best)"),
    ("reference_count", "Reference", "particles in the reference"),
    ("predicted_count", "Predicted", "particles that were found"),
    ("true_positives", "Matched", "particles of both that belong together"),
    ("false_positives", "Extra", "found, but not in the reference"),
    ("false_negatives", "Missed", "in the reference, but not found"),
)


def evaluate(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Labels that are right (TIFF or HDF5).")
    ],
    predicted: Annotated[
        Path, typer.Argument(metavar="PREDICTED", help="Labels to judge (TIFF or HDF5).")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the scores to this file, too.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Compare labels with a reference and print the scores."""
    from rich.console import Console
    from rich.table import Table

    from particleseg_app.evaluation import evaluate as score_labels
    from particleseg_app.particles.export import export_errors
    from particleseg_app.volumes import read_label_file

    right, found = read_label_file(reference), read_label_file(predicted)
    with long_work() as (progress, cancel):
        scores = score_labels(right, found, progress, cancel).as_dict()
    table = Table(box=None, pad_edge=False)
    table.add_column("Score")
    table.add_column("Value", justify="right")
    table.add_column("Meaning", style="dim")
    for name, title, meaning in _SCORES:
        if name in scores:
            table.add_row(title, _score_text(scores[name]), meaning)
    Console(highlight=False).print(table)
    if json_file is not None:
        from particleseg_app.durable_files import write_json

        with export_errors(json_file):
            write_json(
                json_file,
                {
                    "program": "ParticleSeg",
                    "version": __version__,
                    "reference": str(reference),
                    "predicted": str(predicted),
                    "scores": scores,
                },
            )


def _score_text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def export(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of a project.")],
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Particle table; a .json file goes beside it.")
    ] = None,
    labels_tiff: Annotated[
        Path | None, typer.Option("--labels-tiff", help="Label volume as TIFF (ImageJ).")
    ] = None,
    labels_hdf5: Annotated[
        Path | None, typer.Option("--labels-hdf5", help="Label volume as HDF5.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Id of the run; the last finished one if left out.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write results of a finished run as files."""
    if csv is None and labels_tiff is None and labels_hdf5 is None:
        raise typer.BadParameter("Say what to export: --csv, --labels-tiff or --labels-hdf5.")
    from particleseg_app.particles import export_csv, export_labels_hdf5, export_labels_tiff
    from particleseg_app.projects import Project
    from particleseg_app.projects.segmentation_job import run_provenance, run_table
    from particleseg_app.volumes import open_labels

    written: list[Path] = []
    with Project.open(project, read_only=True) as opened, long_work() as (progress, cancel):
        run_id = finished_run(opened, run)
        provenance = run_provenance(opened, run_id)
        if csv is not None:
            written += export_csv(run_table(opened, run_id), csv, provenance)
        for path, write in ((labels_tiff, export_labels_tiff), (labels_hdf5, export_labels_hdf5)):
            if path is not None:
                with open_labels(opened.run_folder(run_id) / "labels.h5") as labels:
                    write(labels, path, provenance["voxel_size_um"], progress, cancel)
                written.append(path)
    for path in written:
        typer.echo(f"{path}")


def finished_run(project: Project, wanted: str | None) -> str:
    """The id of the run that is `wanted`, or of the last finished one; raises `ProjectError`."""
    from particleseg_app.projects.segmentation_job import is_complete, run_and_scan

    if wanted is not None:
        run, _ = run_and_scan(project, wanted)
        if not is_complete(project, run.id):
            raise ProjectError(f"The run “{run.id}” is not finished.", "Continue it first.")
        return run.id
    for run in reversed(project.runs):
        if is_complete(project, run.id):
            return run.id
    raise ProjectError(
        f"The project {project.name} has no finished run.", "Run `particleseg segment` first."
    )
