"""How long a run took, over all of its attempts, killed ones included.

attempts.json in the run's folder lists them: start (seconds since 1970) and seconds, null while an
attempt is under way. One that was killed left the time of its last file.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from particleseg_app.durable_files import write_json

ATTEMPTS = "attempts.json"


class RunClock:
    """The clock of one attempt; it runs from its making on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started_at = time.time()
        self._started = time.monotonic()
        self._earlier: list[dict[str, float]] | None = None

    def begin(self) -> None:
        """Note that an attempt is under way; the run's folder must be there."""
        self._earlier = _earlier_attempts(self.folder)
        self._write(None)

    def end(self) -> None:
        """Note how long the attempt took; a disk that cannot take it is left alone."""
        if self._earlier is not None:
            with suppress(OSError):
                self._write(self._seconds())

    @property
    def total_seconds(self) -> float:
        """Seconds of all attempts up to now."""
        return sum(one["seconds"] for one in self._earlier or ()) + self._seconds()

    @property
    def attempts(self) -> int:
        return len(self._earlier or ()) + 1

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _write(self, seconds: float | None) -> None:
        this = {"started_at": self._started_at, "seconds": seconds}
        write_json(self.folder / ATTEMPTS, {"attempts": [*(self._earlier or ()), this]})


def _earlier_attempts(folder: Path) -> list[dict[str, float]]:
    """What is known of earlier attempts; nothing that can be read is an answer, too."""
    try:
        noted: Any = json.loads((folder / ATTEMPTS).read_text(encoding="utf-8"))["attempts"]
        starts = [float(one["started_at"]) for one in noted]
        seconds = [one["seconds"] for one in noted]
        if seconds and seconds[-1] is None:
            seconds[-1] = max(0.0, _last_sign_of_life(folder) - starts[-1])
        return [
            {"started_at": start, "seconds": round(max(0.0, float(took or 0.0)), 3)}
            for start, took in zip(starts, seconds, strict=True)
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _last_sign_of_life(folder: Path) -> float:
    """When the newest file in the run's folder, or in the folders in it, was written."""
    newest = 0.0
    for place in (folder, *(child for child in folder.iterdir() if child.is_dir())):
        for path in place.iterdir():
            with suppress(OSError):
                newest = max(newest, path.stat().st_mtime)
    return newest
