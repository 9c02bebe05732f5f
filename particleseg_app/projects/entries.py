"""What a project file records: its scans, its runs, and how they are written as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from particleseg_app.units import Shape

PROJECT_FORMAT = "particleseg project"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ScanEntry:
    """One imported scan: `shape` (z, y, x), sizes in µm, None where the user has not answered."""

    id: str
    name: str
    shape: Shape
    dtype: str
    voxel_size_um: float | None
    particle_diameter_um: float | None
    proposed_voxel_size_um: float | None
    voxel_size_origin: str
    source: str
    imported_at: str
    remarks: tuple[str, ...] = ()
    source_state: str = ""  # of the files that were imported (`ScanSource.state`)


@dataclass(frozen=True)
class RunEntry:
    """One segmentation run of a scan, with the settings it was started with.

    `file_suffix` is what tells its files in the project's folder from those of other runs; "" for
    nothing, None until they are first written (`result_files`).
    """

    id: str
    scan_id: str
    name: str
    created_at: str
    settings: dict[str, Any] = field(hash=False)
    file_suffix: str | None = None


@dataclass(frozen=True)
class ProjectContent:
    """Everything in `project.json`. `to_delete` are folders that are no longer part of it."""

    name: str
    created_at: str
    scans: tuple[ScanEntry, ...] = ()
    runs: tuple[RunEntry, ...] = ()
    next_scan: int = 1
    next_run: int = 1
    to_delete: tuple[str, ...] = ()


def to_json(content: ProjectContent) -> dict[str, Any]:
    return {"format": PROJECT_FORMAT, "format_version": FORMAT_VERSION, **asdict(content)}


def from_json(value: dict[str, Any]) -> ProjectContent:
    """The content of a project file of this version; raise `KeyError`, `TypeError`, `ValueError`
    or `OverflowError` when something in it is missing or of the wrong kind."""
    scans = tuple(_scan(item) for item in value["scans"])
    runs = tuple(_run(item) for item in value["runs"])
    ids = [*(scan.id for scan in scans), *(run.id for run in runs)]
    if len(set(ids)) != len(ids):
        raise ValueError("an id is there twice")
    return ProjectContent(
        name=_text(value["name"]),
        created_at=_text(value["created_at"]),
        scans=scans,
        runs=runs,
        next_scan=int(value["next_scan"]),
        next_run=int(value["next_run"]),
        to_delete=tuple(_text(item) for item in value["to_delete"]),
    )


def _scan(item: dict[str, Any]) -> ScanEntry:
    known = _known_fields(item, ScanEntry)
    z, y, x = (int(n) for n in known["shape"])
    known["shape"] = (z, y, x)
    known["id"] = _folder_name(known["id"])
    for name in ("name", "dtype", "source", "voxel_size_origin"):
        _text(known[name])
    _text(known.get("source_state", ""))
    datetime.fromisoformat(_text(known["imported_at"]))
    known["remarks"] = tuple(_text(r) for r in known.get("remarks", ()))
    for name in ("voxel_size_um", "particle_diameter_um", "proposed_voxel_size_um"):
        known[name] = None if known[name] is None else float(known[name])
    return ScanEntry(**known)


def _run(item: dict[str, Any]) -> RunEntry:
    known = _known_fields(item, RunEntry)
    known["id"] = _folder_name(known["id"])
    for name in ("name", "scan_id", "created_at"):
        _text(known[name])
    if not isinstance(known["settings"], dict):
        raise TypeError("settings of a run are not a table")
    if known.get("file_suffix"):  # part of file names
        known["file_suffix"] = _folder_name(known["file_suffix"])
    return RunEntry(**known)


def _known_fields(item: dict[str, Any], kind: type) -> dict[str, Any]:
    names: Iterable[str] = (f.name for f in fields(kind))
    return {name: item[name] for name in names if name in item}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _folder_name(value: Any) -> str:
    """An id that is a plain folder name, so that no project file can point outside its folder."""
    name = _text(value)
    if not name or not all(c.isalnum() or c in "-_" for c in name):
        raise ValueError(f"{name!r} is not an id")
    return name
