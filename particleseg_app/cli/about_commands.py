"""`particleseg info` and `devices`: what is there to work with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from particleseg_app.cli.error_words import error_words
from particleseg_app.cli.options import Verbose
from particleseg_app.errors import UserError
from particleseg_app.units import format_micrometres

if TYPE_CHECKING:
    from particleseg_app.models import ModelEntry


# What a card calls its figures, for people.
_FIGURES = {
    "scenes": "measured on",
    "volumes": "scans measured on",
    "f1": "F1",
    "f1_match": "F1 match",
    "f1_instance": "F1 instance",
}


def info(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A project, a scan or a model folder.")
    ],
    verbose: Verbose = False,
) -> None:
    """Say what a project, a scan or a model is."""
    from particleseg_app.projects import is_project

    if is_project(path):
        _project_info(path)
    elif (path / "model_card.json").exists():
        from particleseg_app.models import open_model

        _model_info(open_model(path))
    else:
        _scan_info(path)


def devices(verbose: Verbose = False) -> None:
    """List the processors and graphics cards that a run can use, best first."""
    from particleseg_app.models import available_devices

    for device in available_devices():
        typer.echo(f"{device.id}: {device.title}, {_bytes(device.memory_bytes)} free")


def _project_info(path: Path) -> None:
    from particleseg_app.projects import Project

    with Project.open(path, read_only=True) as project:
        typer.echo(f"Project {project.name}")
        for scan in project.scans:
            typer.echo(f"Scan {scan.id}: {scan.name}")
            _line("size", f"{_shape(scan.shape)}, {scan.dtype}")
            voxel = scan.voxel_size_um
            _line("voxel size", _size(None) if voxel is None else f"{voxel:.6g} µm")
            _line("particle diameter", _size(scan.particle_diameter_um))
            _line("imported from", scan.source)
            for run in project.runs:
                if run.scan_id == scan.id:
                    what, findings = _run_info(project.run_folder(run.id))
                    _line(f"run {run.id}", f"{run.name}, {_settings(run.settings)}: {what}")
                    for finding in findings:
                        typer.echo(f"    {finding}")
        if not project.scans:
            typer.echo("  no scans yet")


def _run_info(folder: Path) -> tuple[str, tuple[str, ...]]:
    """State of a run in words, and what it found out; a damaged one hides no other run."""
    from particleseg_app.segmentation import run_state

    try:
        state = run_state(folder)
    except UserError as error:
        return f"damaged ({error_words(error)})", ()
    if state.summary is not None:
        return (
            f"{state.status}, {state.summary.get('particle_count', '?')} particles",
            state.findings,
        )
    return f"{state.status} ({state.message})" if state.message else state.status, ()


def _scan_info(path: Path) -> None:
    from particleseg_app.volumes import inspect_source

    source = inspect_source(path)
    typer.echo(f"Scan {source.name}")
    _line("files", str(len(source.files)))
    _line("size", f"{_shape(source.shape)}, {source.dtype}, {_bytes(source.bytes)}")
    proposed = source.proposed_voxel_size_um
    origin = f" (from {source.voxel_size_origin})" if source.voxel_size_origin else ""
    _line("voxel size", "not stated" if proposed is None else f"{proposed:.6g} µm{origin}")
    for remark in getattr(source, "remarks", ()):
        _line("remark", remark)


def _model_info(entry: ModelEntry) -> None:
    card = entry.card
    typer.echo(f"Model {card.title}, version {card.version}")
    _line("folder", str(entry.folder))
    _line("particle diameter", f"{card.target_diameter_voxels:g} voxels at its working scale")
    _line("border thickness", f"{card.border_thickness_voxels:g} voxels")
    _line("patch", _shape(card.patch_shape))
    for name, value in (
        ("purpose", card.purpose),
        ("made from", card.made_from),
        ("limits", card.limits),
        ("licence", card.licence),
    ):
        if value:
            _line(name, value)
    for name, value in card.figures.items():
        if isinstance(value, str | int | float):  # a list of what each scan gave is for programs
            plain = str(name).removesuffix("_before")
            said = _FIGURES.get(plain, plain.replace("_", " "))
            _line(said if plain == name else f"{said}, before the training", str(value))


def _line(name: str, value: str) -> None:
    typer.echo(f"  {name}: {value}")


def _settings(settings: Mapping[str, Any]) -> str:
    """What tells runs apart: nnunet “light” fast, particle 220 µm."""
    method = str(settings.get("method", ""))
    if method == "nnunet":
        model = Path(str(settings.get("model", ""))).name
        method += f" “{model}” {settings.get('preset', '')}"
    diameter = settings.get("particle_diameter_um")
    if isinstance(diameter, int | float):
        method += f", particle {_size(diameter)}"
    return method


def _size(size_um: float | None) -> str:
    return "not answered" if size_um is None else format_micrometres(size_um)


def _shape(shape: Any) -> str:
    return " × ".join(str(n) for n in shape) + " voxels (z, y, x)"


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
