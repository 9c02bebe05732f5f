"""Entry point of `particleseg`: the commands, their exit codes and how errors are told."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from particleseg_app import __version__
from particleseg_app.cli import (
    about_commands,
    batch_command,
    diameter_command,
    model_commands,
    phases_command,
    result_commands,
    review_command,
    segment_command,
    simulate_command,
    train_command,
)
from particleseg_app.cli.error_words import error_words
from particleseg_app.cli.options import Verbose, verbosity
from particleseg_app.errors import Cancelled, UserError

app = typer.Typer(
    name="particleseg",
    help="Finds, separates and measures every particle of a micro-CT scan.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("segment")(segment_command.segment)
app.command("batch")(batch_command.batch)
app.command("propose-diameter")(diameter_command.propose_diameter)
app.command("evaluate")(result_commands.evaluate)
app.command("export")(result_commands.export)
app.command("phases")(phases_command.phases)
app.command("review-queue")(review_command.review_queue)
app.command("simulate")(simulate_command.simulate)
app.command("train")(train_command.train)
app.command("info")(about_commands.info)
app.command("devices")(about_commands.devices)
app.add_typer(model_commands.app, name="model")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ParticleSeg {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    verbose: Verbose = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not done, 2 wrong usage.

    `arguments` without the program's name; None takes those of the process.
    """
    verbosity.trace = False
    try:
        app(args=None if arguments is None else list(arguments), prog_name="particleseg")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except UserError as error:
        return _failed(error_words(error), error)
    except Cancelled as error:
        return _failed("Cancelled.", error)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        return _failed(f"Unexpected error ({what}). Add --verbose to see where.", error)
    return 0


def _failed(sentence: str, error: BaseException) -> int:
    if verbosity.trace:
        traceback.print_exception(error, file=sys.stderr)
    typer.echo(sentence, err=True)
    return 1
