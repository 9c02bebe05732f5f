"""`particleseg review-queue`: what to look at first in a run, and how good the run is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.cli.result_commands import finished_run

if TYPE_CHECKING:
    from particleseg_app.projects.review_queue import ReviewQueue
    from particleseg_app.review.error_rates import EstimatedRate


def review_queue(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of a project.")],
    run: Annotated[
        str | None, typer.Option("--run", help="Id of the run; the last finished one if left out.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=0, help="How many cases to print.")] = 20,
    again: Annotated[
        bool, typer.Option("--again", help="Make the queue anew where there is one.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """List the particles that may be wrong, the most doubtful first, and the run's own error rates.

    The queue is kept in the project, where the window finds it.
    """
    from particleseg_app.projects import Project
    from particleseg_app.projects.review_queue import (
        has_review_queue,
        make_review_queue,
        read_review_queue,
    )

    queue = None
    if not again:
        # Reading is possible while the window has the project open, and where nothing can be kept.
        with Project.open(project, read_only=True) as opened:
            run_id = finished_run(opened, run)
            if has_review_queue(opened, run_id):
                queue = read_review_queue(opened, run_id)
    if queue is None:
        with Project.open(project) as opened, long_work() as (progress, cancel):
            queue = make_review_queue(opened, finished_run(opened, run), progress, cancel)
    _show(queue, most)


def _show(queue: ReviewQueue, most: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if most:
        table = Table(box=None, pad_edge=False)
        table.add_column("Probability", justify="right")
        table.add_column("Case", no_wrap=True)
        table.add_column("Where (z, y, x)", no_wrap=True)
        table.add_column("Why")
        for case in queue.cases[:most]:
            labels = " + ".join(str(label) for label in case.labels)
            where = ", ".join(f"{n:.0f}" for n in case.centre)
            table.add_row(
                f"{case.probability:.1%}", f"{case.kind} {labels}".strip(), where, case.text
            )
        console.print(table)
    rates = queue.rates
    console.print(f"{queue.particle_count} particles, {len(queue.cases)} cases.")
    for name, rate in (
        ("Merger ratio", rates.merger_ratio),
        ("Splitter ratio", rates.splitter_ratio),
        ("False particles", rates.false_ratio),
        ("Missed particles", rates.missed_ratio),
    ):
        console.print(f"{name}, estimated: {_rate(rate)}")


def _rate(rate: EstimatedRate) -> str:
    return f"{rate.expected:.4f} (90 % interval {rate.low:.4f} to {rate.high:.4f})"
