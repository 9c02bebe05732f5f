"""The scans and runs of a project in words, as the project panel shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from particleseg_app.errors import UserError
from particleseg_app.gui.formats import plural
from particleseg_app.gui.panels.project_panel import RunItem, ScanItem
from particleseg_app.models import DEFAULT_MODEL
from particleseg_app.projects import Project, RunEntry
from particleseg_app.units import format_micrometres

PRESET_NAMES = {"fast": "Fast", "standard": "Standard", "best": "Best"}
METHOD_NAMES = {"nnunet": "Neural network", "threshwater": "Classical"}


def run_status(project: Project, run_id: str) -> str:
    """ "finished", "unfinished" or "failed", from the files of the run."""
    return _state(project, run_id)[0]


def run_findings(project: Project, run_id: str) -> str:
    """What a finished run says of its particles: noise, a tube, what was left out."""
    from particleseg_app.segmentation.run_folder import run_state

    try:
        return "\n".join(run_state(project.run_folder(run_id)).findings)
    except UserError:
        return ""


def scan_items(
    project: Project, working: Mapping[str, str], mended: Mapping[str, int] | None = None
) -> list[ScanItem]:
    """All scans with their runs; `working` holds the state of runs that work or wait, `mended` how
    many particles runs have with their mends, where that is known."""
    counts = mended or {}
    items = []
    for scan in project.scans:
        runs = tuple(
            _run_item(project, run, working.get(run.id), counts.get(run.id))
            for run in project.runs
            if run.scan_id == scan.id
        )
        z, y, x = scan.shape
        items.append(ScanItem(scan.id, scan.name, f"{x} × {y} × {z}", runs))
    return items


def describe_settings(settings: Mapping[str, Any]) -> str:
    """A run's settings in one line: Neural network, standard · voxel 10 µm · particle 180 µm."""
    method = str(settings.get("method", "nnunet"))
    name = METHOD_NAMES.get(method, method)
    if method == "nnunet":
        model = Path(str(settings.get("model", DEFAULT_MODEL))).name
        if model != DEFAULT_MODEL:
            name += f" “{model}”"
        name += f", {PRESET_NAMES.get(str(settings.get('preset')), '').lower()}"
    voxel = format_micrometres(float(settings["voxel_size_um"]))
    diameter = format_micrometres(float(settings["particle_diameter_um"]))
    return f"{name} · voxel {voxel} · particle {diameter}"


def _run_item(project: Project, run: RunEntry, working: str | None, mended: int | None) -> RunItem:
    tip = f"{describe_settings(run.settings)}\nstarted {_moment(run.created_at)}"
    if working is not None:
        return RunItem(
            run.id, run.name, working, "running" if working == "working" else "waiting", tip
        )
    status, message, count = _state(project, run.id)
    if status == "finished":
        if message:
            tip += f"\n\n{message}"
        if mended is not None and mended != count:
            tip += f"\n\n{plural(count, 'particle')} before the mends"
            count = mended
        return RunItem(run.id, run.name, status, plural(count, "particle"), tip)
    if status == "failed":
        return RunItem(run.id, run.name, status, "failed", f"{message}\n{tip}".strip())
    return RunItem(run.id, run.name, "unfinished", "unfinished", tip)


def _state(project: Project, run_id: str) -> tuple[str, str, int]:
    from particleseg_app.projects.segmentation_job import is_complete
    from particleseg_app.segmentation.run_folder import run_state

    try:
        state = run_state(project.run_folder(run_id))
    except UserError as error:
        return "failed", str(error), 0
    # Labels without their table: the program was ended between segmenting and measuring.
    if state.status == "finished" and not is_complete(project, run_id):
        return "unfinished", "", 0
    notes = "\n".join(state.notes)
    count = int((state.summary or {}).get("particle_count", 0))
    status = "unfinished" if state.status == "new" else state.status
    return status, notes if status == "finished" else state.message, count


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%d %B %Y, %H:%M").lstrip("0")
    except ValueError:
        return text
