"""Progress and cancellation of long work, free of any user interface.

The worker calls `Progress.start`, `advance` and `note`; the window or the terminal polls
`Progress.snapshot` at its own pace. Both objects may be used from several threads.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from particleseg_app.errors import Cancelled


class CancelToken:
    """Set once by whoever wants the work to end; asked often by the work itself."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when the work is to end."""
        if self._event.is_set():
            raise Cancelled


@dataclass(frozen=True)
class ProgressSnapshot:
    """One moment of long work. `total` is 0 while the amount of work is unknown."""

    stage: str
    done: int
    total: int
    unit: str
    stage_elapsed_s: float
    elapsed_s: float
    remaining_s: float | None
    messages: tuple[str, ...]

    @property
    def fraction(self) -> float | None:
        """Share of the present stage that is done, 0 to 1, or None while it is unknown."""
        return min(1.0, self.done / self.total) if self.total else None


class Progress:
    """What the work says of itself: its stage, how much of it is done, and remarks for the user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._stage = ""
        self._stage_started = self._started
        self._unit = ""
        self._done = 0
        self._skipped = 0
        self._total = 0
        self._messages: list[str] = []

    def start(self, stage: str, total: int = 0, unit: str = "", done: int = 0) -> None:
        """Begin a stage of `total` steps; `done` of them were finished by an earlier attempt."""
        with self._lock:
            self._stage, self._unit = stage, unit
            self._stage_started = time.monotonic()
            self._total, self._done, self._skipped = total, done, done

    def advance(self, steps: int = 1) -> None:
        with self._lock:
            self._done += steps

    def note(self, message: str) -> None:
        """Tell the user something that happened on the way (shown, and kept in the run's log)."""
        with self._lock:
            self._messages.append(message)

    def snapshot(self) -> ProgressSnapshot:
        with self._lock:
            now = time.monotonic()
            stage_elapsed = now - self._stage_started
            fresh = self._done - self._skipped
            remaining = None
            if self._total and fresh > 0:
                remaining = stage_elapsed / fresh * max(0, self._total - self._done)
            return ProgressSnapshot(
                stage=self._stage,
                done=self._done,
                total=self._total,
                unit=self._unit,
                stage_elapsed_s=stage_elapsed,
                elapsed_s=now - self._started,
                remaining_s=remaining,
                messages=tuple(self._messages),
            )
