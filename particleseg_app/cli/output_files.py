"""The files that a command is asked to write: refused before any work is done for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from particleseg_app.errors import ExportError


def check_outputs(paths: Iterable[Path | None], replace: bool, project: Path | None = None) -> None:
    """Raise `ExportError` for a file that cannot, or must not, be written.

    What is there already is only replaced where `replace` says so; what a `project` is made of
    never.
    """
    from particleseg_app.particles.export import check_place

    seen: set[Path] = set()
    for path in paths:
        if path is None:
            continue
        check_place(path)
        place = path.resolve()
        if place in seen:
            raise ExportError(f"{path} is named twice.", "Give each file a name of its own.")
        seen.add(place)
        if project is not None and _is_part_of(place, project.resolve()):
            raise ExportError(f"{path} is kept for the project itself.", "Choose another folder.")
        if not replace and path.exists():
            raise ExportError(f"{path} is there already.", "Choose another name, or add --replace.")


def _is_part_of(place: Path, project: Path) -> bool:
    from particleseg_app.projects.project_file import PROJECT_FILE

    return place == project / PROJECT_FILE or any(
        place.is_relative_to(project / name) for name in ("scans", "runs")
    )
