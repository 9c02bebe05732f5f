"""`particleseg evaluate` and `particleseg export`: what can be done with finished labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from particleseg_app import __version__
from particleseg_app.cli.options import Verbose
from particleseg_app.cli.output_files import check_outputs
from particleseg_app.cli.progress_display import long_work
from particleseg_app.errors import ProjectError
from particleseg_app.units import Box

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
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the file of scores if it is there already.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Compare labels with a reference and print the scores."""
    from rich.console import Console
    from rich.table import Table

    from particleseg_app.evaluation import evaluate as score_labels
    from particleseg_app.particles.export import export_errors
    from particleseg_app.volumes import open_label_file

    check_outputs([json_file], replace)
    with (
        open_label_file(reference) as right,
        open_label_file(predicted) as found,
        long_work() as (progress, cancel),
    ):
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
    patch: Annotated[
        str | None,
        typer.Option(
            "--patch",
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help="A region (voxels, ends not included) to save as a labelled patch for training.",
        ),
    ] = None,
    patches_folder: Annotated[
        Path | None, typer.Option("--patches-folder", help="Folder the patch goes into.")
    ] = None,
    patch_name: Annotated[
        str | None,
        typer.Option("--patch-name", help="Name of the patch; run and region if left out."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Id of the run; the last finished one if left out.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files that are there already.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Write results of a finished run, with all its mends, as files."""
    if csv is None and labels_tiff is None and labels_hdf5 is None and patch is None:
        raise typer.BadParameter(
            "Say what to export: --csv, --labels-tiff, --labels-hdf5 or --patch."
        )
    if (patch is None) != (patches_folder is None):
        raise typer.BadParameter("--patch and --patches-folder belong together.")
    box = None if patch is None else _region(patch)
    from particleseg_app.particles import export_csv, export_labels_hdf5, export_labels_tiff
    from particleseg_app.projects import Project
    from particleseg_app.projects.review_files import open_review, save_patch
    from particleseg_app.projects.segmentation_job import run_provenance, run_table

    written: list[Path] = []
    with Project.open(project, read_only=True) as opened, long_work() as (progress, cancel):
        run_id = finished_run(opened, run)
        description = None
        if csv is not None and csv.name and csv.suffix != ".json":  # these are refused as they are
            description = csv.with_suffix(".json")
        check_outputs((csv, description, labels_tiff, labels_hdf5), replace, opened.folder)
        provenance = run_provenance(opened, run_id)
        voxel_size_um = provenance["voxel_size_um"]
        table = None
        if csv is not None or labels_hdf5 is not None:
            table = run_table(opened, run_id, progress, cancel)
        if csv is not None and table is not None:
            written += export_csv(table, csv, provenance)
        with open_review(opened, run_id, read_only=True) as review:
            if labels_tiff is not None:
                export_labels_tiff(review.labels, labels_tiff, voxel_size_um, progress, cancel)
                written.append(labels_tiff)
            if labels_hdf5 is not None and table is not None:
                export_labels_hdf5(
                    review.labels,
                    labels_hdf5,
                    voxel_size_um,
                    progress,
                    cancel,
                    particle_count=len(table),
                )
                written.append(labels_hdf5)
            if box is not None and patches_folder is not None:
                written += save_patch(opened, run_id, review, box, patches_folder, patch_name)
    for path in written:
        typer.echo(f"{path}")


def _region(text: str) -> Box:
    """The box of `z0:z1,y0:y1,x0:x1`."""
    found = re.fullmatch(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*", text)
    if found is None:
        raise typer.BadParameter("--patch should read like 10:138,0:128,64:192 (z, y, x).")
    z0, z1, y0, y1, x0, x1 = (min(int(digits), 2**40) for digits in found.groups())
    return Box((z0, y0, x0), (z1, y1, x1))


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
