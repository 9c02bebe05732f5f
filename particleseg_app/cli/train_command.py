"""`particleseg train`: a model from a lab's own labelled patches, from simulated scans, or both."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.errors import Cancelled, InvalidValueError


def train(
    out: Annotated[Path, typer.Option(help="Folder of the model to make.")],
    patches: Annotated[
        Path | None, typer.Option(help="Folder of labelled patches (docs/training.md).")
    ] = None,
    simulated: Annotated[int, typer.Option(min=0, help="Train on this many simulated scans.")] = 0,
    simulated_share: Annotated[
        float, typer.Option(help="Share of simulated patches where there are both.")
    ] = 0.5,
    preset: Annotated[str, typer.Option(help="Kind of simulated scans.")] = "varied",
    start_from: Annotated[
        str | None,
        typer.Option("--from", help="Model to start from: “default”, another one, or a folder."),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for checkpoint and log; else beside the model."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="“paper” (default with a graphics card) or “compact”."),
    ] = None,
    held_back: Annotated[
        float, typer.Option(help="Share of patches and scans kept to measure the model on.")
    ] = 0.2,
    steps: Annotated[int | None, typer.Option(help="Length of the training in steps.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Length in minutes, for the compact recipe; else one hour.")
    ] = None,
    touching: Annotated[
        float, typer.Option(help="Chance that a labelled patch gets a touching particle more.")
    ] = 0.5,
    batch: Annotated[
        int | None, typer.Option(min=1, max=64, help="Patches in one step; else 2.")
    ] = None,
    edge: Annotated[
        int | None,
        typer.Option(min=16, max=256, help="Edge of a training patch in voxels; else by recipe."),
    ] = None,
    device: Annotated[str, typer.Option(help="“auto”, “cpu”, “cuda:0”.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 1,
    verbose: Verbose = False,
) -> None:
    """Train a model. The same command goes on with a training that was stopped."""
    from particleseg_app.models import choose_device, find_model
    from particleseg_app.segmentation.failures import failures_in_words
    from particleseg_app.training import TrainingPlan, train_model
    from particleseg_app.training.recipes import default_recipe, find_recipe
    from particleseg_app.training.training_plan import begun_recipe

    if not out.resolve().name:
        raise InvalidValueError(f"{out} cannot be the folder of a model.", "Choose a new folder.")
    work = work or out.resolve().with_name(f"{out.resolve().name}_training")
    chosen = choose_device(device)
    why = ""
    if recipe is not None:
        to_use = find_recipe(recipe)
    elif (begun := begun_recipe(work)) is not None:
        to_use = begun
    else:
        to_use, why = default_recipe(chosen.id, start_from is not None)
    if why:
        typer.echo(why, err=True)
    plan = TrainingPlan(
        patches=patches,
        simulated=simulated,
        simulated_share=simulated_share,
        preset=preset,
        base=None if start_from is None else find_model(start_from).folder,
        recipe=to_use.name,
        held_back=held_back,
        steps=steps,
        minutes=minutes,
        touching=touching,
        batch=batch,
        edge=edge,
        seed=seed,
    )
    try:
        # Scans are simulated and models written outside of the training itself.
        with long_work() as (progress, cancel), failures_in_words(work.parent):
            entry = train_model(plan, out, work, chosen.id, progress, cancel)
    except Cancelled:
        typer.echo("Stopped; the same command goes on with the training.", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"The model is in {entry.folder}, the log and the loss curve in {work}.")
    typer.echo(
        f"Try it with particleseg segment SCAN --model {shlex.quote(str(out))} …, or list it"
    )
    typer.echo(f"in the window with particleseg model import {shlex.quote(str(out))}.")
