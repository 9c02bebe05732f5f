"""`particleseg model …`: list the models, import one from elsewhere, remove an imported one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from particleseg_app.cli.options import Verbose

if TYPE_CHECKING:
    from particleseg_app.models import ModelEntry

app = typer.Typer(
    help="List, import or remove models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_all(verbose: Verbose = False) -> None:
    """List the models that a run can use."""
    from particleseg_app.models import list_models

    entries = list_models()
    if not entries:
        typer.echo("No models are installed.")
    for entry in entries:
        card = entry.card
        version = card.version if card.version == "imported" else f"version {card.version}"
        typer.echo(f"{entry.name}: {card.title}, {version}")
        for text in [card.purpose] if card.purpose else [card.made_from, card.limits]:
            if text:
                typer.echo(f"  {text}")


@app.command("import")
def import_one(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_ZIP",
            help="The ParticleSeg3D download, or an nnU-Net model of background, core and border.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Its name in the list; else that of the folder or file.")
    ] = None,
    target_diameter_voxels: Annotated[
        float | None,
        typer.Option(
            help="Particle diameter it was trained with, in voxels; else as its card says, or 60."
        ),
    ] = None,
    border_thickness_voxels: Annotated[
        float | None,
        typer.Option(
            help="Border thickness it was trained with, in voxels; else as its card says, or 3."
        ),
    ] = None,
    grey_mean: Annotated[
        float | None, typer.Option(help="Mean grey value of its training scans, with --grey-std.")
    ] = None,
    grey_std: Annotated[
        float | None,
        typer.Option(help="Standard deviation of their grey values, with --grey-mean."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Convert a model from elsewhere and list it beside the others. Nothing in it is executed."""
    from particleseg_app.models import ImportOptions, import_model

    options = ImportOptions(
        name, target_diameter_voxels, border_thickness_voxels, grey_mean, grey_std
    )
    entry = import_model(path, options)
    for line in imported_lines(entry):
        typer.echo(line)


def imported_lines(entry: ModelEntry) -> list[str]:
    """What was imported, what is assumed of it, and how it is used."""
    folds, card = len(entry.checkpoints()), entry.card
    scale = card.normalisation
    grey = "from each scan itself"
    if scale.scheme == "fixed":
        grey = f"mean {scale.mean:.6g}, standard deviation {scale.std:.6g}"
    return [
        f"Imported “{entry.name}” with {folds} fold{'s' if folds > 1 else ''}.",
        f"  particle diameter: {card.target_diameter_voxels:g} voxels, border thickness: "
        f"{card.border_thickness_voxels:g} voxels; grey scale: {grey}",
        f"Use it with --model {entry.name}, or choose it in the window.",
    ]


@app.command("remove")
def remove(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name, as `particleseg model list` says it.")
    ],
    verbose: Verbose = False,
) -> None:
    """Remove an imported model."""
    from particleseg_app.models import remove_model_named

    remove_model_named(name)
    typer.echo(f"Removed “{name}”.")
