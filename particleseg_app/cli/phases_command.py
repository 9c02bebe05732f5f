"""`particleseg phases`: finds, sets or shows the phases of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from particleseg_app.cli.options import Verbose
from particleseg_app.cli.progress_display import long_work
from particleseg_app.cli.result_commands import finished_run

if TYPE_CHECKING:
    import pandas as pd

    from particleseg_app.particles.phases import Phases
    from particleseg_app.progress import CancelToken, Progress
    from particleseg_app.projects import Project


def phases(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of a project.")],
    thresholds: Annotated[
        str | None,
        typer.Option(metavar="GREY,GREY", help="Grey values between the phases, ascending."),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Names of the phases, the darkest first."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, max=5, help="How many phases; found if left out.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Propose phases anew where there are some.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the phases away.")] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="Id of the run; the last finished one if left out.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Part the particles of a run into phases by their grey values, and say what each holds.

    Without options phases are proposed where there are none yet, else those there are shown. They
    are kept with the run: its table and its exports have their columns from then on.
    """
    if remove and (thresholds or names or count or again):
        raise typer.BadParameter("--remove does not go with other options.")
    if thresholds is not None and (count is not None or again):
        raise typer.BadParameter("--thresholds does not go with --count or --again.")
    limits = None if thresholds is None else _numbers(thresholds)
    words = None if names is None else tuple(name.strip() for name in names.split(","))
    from particleseg_app.projects import Project
    from particleseg_app.projects.phases import remove_run_phases
    from particleseg_app.projects.segmentation_job import run_table

    asked = limits is not None or words is not None or count is not None or again or remove
    # What is only shown may be open in the window meanwhile.
    only_show = not asked and _has_phases(project, run)
    with Project.open(project, read_only=only_show) as opened, long_work() as (progress, cancel):
        run_id = finished_run(opened, run)
        if remove:
            remove_run_phases(opened, run_id)
            typer.echo(f"The phases of {run_id} are removed.")
            return
        if not only_show:
            _set(opened, run_id, limits, words, count, again, progress, cancel)
        table = run_table(opened, run_id, progress, cancel)
        shown = _stored(opened, run_id)
    assert shown is not None
    _show(table, shown)


def _set(
    project: Project,
    run_id: str,
    limits: tuple[float, ...] | None,
    words: tuple[str, ...] | None,
    count: int | None,
    again: bool,
    progress: Progress,
    cancel: CancelToken,
) -> None:
    from particleseg_app.particles.phase_files import load_phases
    from particleseg_app.particles.phases import Phases
    from particleseg_app.projects.phases import propose_run_phases, set_run_phases

    stored = load_phases(project.run_folder(run_id))
    if stored is not None and not again and count is None:
        wanted, histogram = stored.phases, stored.histogram
    else:
        proposal = propose_run_phases(project, run_id, progress, cancel)
        wanted, histogram = proposal.phases_of(count or proposal.count), proposal.histogram
    if limits is not None and limits != wanted.thresholds:
        wanted = Phases.numbered(limits)
    if words is not None:
        wanted = replace(wanted, names=words)
    set_run_phases(project, run_id, wanted, histogram, progress, cancel)


def _has_phases(folder: Path, run: str | None) -> bool:
    from particleseg_app.projects import Project

    with Project.open(folder, read_only=True) as project:
        return _stored(project, finished_run(project, run)) is not None


def _stored(project: Project, run_id: str) -> Phases | None:
    from particleseg_app.particles.phase_files import load_phases

    found = load_phases(project.run_folder(run_id))
    return None if found is None else found.phases


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter("--thresholds should read like 12000,23000.") from None


def _show(table: pd.DataFrame, phases: Phases) -> None:
    from rich.console import Console
    from rich.table import Table

    from particleseg_app.projects.phases import phase_summaries

    lines = Table(box=None, pad_edge=False)
    for title in ("Phase", "Grey values", "Share of volume", "Main phase of"):
        lines.add_column(title, no_wrap=True, justify="left" if title == "Phase" else "right")
    for phase in phase_summaries(table, phases):
        particles = f"{phase.particles} particle{'s' * (phase.particles != 1)}"
        lines.add_row(
            phase.name, _range(phase.above, phase.up_to), f"{phase.volume_share:.1%}", particles
        )
    Console(highlight=False).print(lines)


def _range(above: float | None, up_to: float | None) -> str:
    if above is None and up_to is None:
        return "all"
    if above is None:
        return f"up to {up_to:.7g}"
    return f"above {above:.7g}" if up_to is None else f"{above:.7g} to {up_to:.7g}"
