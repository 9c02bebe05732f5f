"""What the accuracy benchmark has measured, so that a method need not be measured with every other.

A method's figures are taken over into a new table only where its scans and the method itself are
the same. The version of a simulated scan is a digest of the code that makes it, that of a method
of its weights and the code that its result depends on, comments and docstrings aside.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from particleseg_app.durable_files import write_json
from tests.independent_scans import LabelledScan

RECORD = Path(__file__).with_name("accuracy_record.json")


@dataclass(frozen=True)
class Measured:
    """One method: its title, when and where it was measured, and its figures by case and name."""

    title: str
    date: str
    machine: str
    version: str
    figures: dict[str, dict[str, float]]
    note: str = ""


@dataclass
class Record:
    """`scans`: version of each case; `panels`: the methods in the pictures, from left to right."""

    scans: dict[str, str] = field(default_factory=dict)
    methods: dict[str, Measured] = field(default_factory=dict)
    panels: list[str] = field(default_factory=list)


def read_record(path: Path = RECORD) -> Record:
    """The record, empty where nothing was measured yet."""
    if not path.exists():
        return Record()
    raw = json.loads(path.read_text(encoding="utf-8"))
    methods = {name: Measured(**value) for name, value in raw["methods"].items()}
    return Record(raw["scans"], methods, raw["panels"])


def write_record(record: Record, path: Path = RECORD) -> None:
    write_json(path, asdict(record))


def scan_digest(case: LabelledScan) -> str:
    """Tells two cases apart that differ in a voxel, a label or the diameter."""
    digest = hashlib.sha256(f"{case.diameter_voxels:g}".encode())
    for part in (case.grey, case.labels):
        digest.update(str((part.shape, part.dtype)).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def code_version(modules: Iterable[ModuleType | Path], *more: str) -> str:
    """Digest of texts and of the code of modules or source files, but for comments in it."""
    digest = hashlib.sha256(repr(more).encode())
    for module in modules:
        path = module if isinstance(module, Path) else Path(str(module.__file__))
        digest.update(without_comments(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def without_comments(source: str) -> str:
    """Python source with neither comments nor docstrings, laid out in one way."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def why_not_kept(
    measured: Measured, record: Record, scans: dict[str, str], version: str | None
) -> str:
    """Why a recorded method cannot stand in a new table; empty where it can.

    `scans`: versions of the cases as they are now; `version`: of the method now, None without it.
    """
    if version is None:
        return "it is not there any more"
    if version != measured.version:
        return "the method has changed since"
    for key, digest in scans.items():
        if key not in measured.figures or key not in record.scans:
            return f"it was not measured on {key}"
        if record.scans[key] != digest:
            return f"the scan {key} has changed since"
    return ""


def when_measured(methods: Iterable[Measured], today: str) -> list[str]:
    """One sentence for each day and machine, the methods of `today` first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for measured in methods:
        groups.setdefault((measured.date, measured.machine), []).append(measured.title)
    lines = []
    for (date, machine), titles in sorted(groups.items(), reverse=True):
        which = f": {'; '.join(titles)}" if len(groups) > 1 else ""
        kept = "" if date == today else " (taken over from then)"
        lines.append(f"Measured {date}, {machine}{which}{kept if which else ''}.")
    return lines
