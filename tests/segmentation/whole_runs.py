"""Runs from a stored scan to labels, for tests of whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunResult, RunSettings, segment
from particleseg_app.units import Box
from particleseg_app.volumes import open_labels, open_scan


def run(
    path: Path, folder: Path, asked: RunSettings, cancel: CancelToken | None = None, **options: Any
) -> RunResult:
    """Segment the scan at `path` into `folder`."""
    with open_scan(path) as scan:
        return segment(folder, scan, asked, Progress(), cancel or CancelToken(), **options)


def run_stopped(
    path: Path, folder: Path, asked: RunSettings, stage: str, steps: int, **options: Any
) -> None:
    """The same, cancelled as soon as so many steps of a stage are done; raises `Cancelled`."""
    progress, cancel = Progress(), CancelToken()
    advance = progress.advance

    def advance_and_stop(count: int = 1) -> None:
        advance(count)
        now = progress.snapshot()
        if now.stage == stage and now.done >= steps:
            cancel.cancel()

    progress.advance = advance_and_stop  # type: ignore[method-assign]
    with open_scan(path) as scan:
        segment(folder, scan, asked, progress, cancel, **options)


def with_damage(result: RunResult, folder: Path, key: str, damage: dict[str, Any]) -> Path:
    """`folder`, made to look as if `result` had been begun there, with some figures changed."""
    begun = result.labels_path.parent
    origin = json.loads((begun / "origin.json").read_text())
    origin[key].update(damage)
    folder.mkdir()
    (folder / "origin.json").write_text(json.dumps(origin))
    (folder / "settings.json").write_text((begun / "settings.json").read_text())
    return folder


def labels_of(result: RunResult) -> np.ndarray:
    """Labels uint32 (z, y, x)."""
    with open_labels(result.labels_path) as labels:
        return np.asarray(labels.read(Box.whole(labels.shape)))
