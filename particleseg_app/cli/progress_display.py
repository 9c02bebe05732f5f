"""Shows the progress of long work: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from particleseg_app.progress import CancelToken, Progress, ProgressSnapshot

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_STAGES = 1.0
_POLL_SECONDS = 0.2


def duration(seconds: float) -> str:
    """A duration for people: `8 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def line_for(snapshot: ProgressSnapshot) -> str:
    """One plain line: stage, share, steps, time left."""
    parts = [snapshot.stage]
    if snapshot.fraction is not None:
        parts[0] += f": {snapshot.fraction:.0%}"
        parts.append(f"{snapshot.done} of {snapshot.total} {snapshot.unit}".rstrip())
    if snapshot.remaining_s is not None and snapshot.done < snapshot.total:
        parts.append(f"{duration(snapshot.remaining_s)} left")
    return ", ".join(parts)


class _View(Protocol):
    def show(self, snapshot: ProgressSnapshot) -> None: ...
    def say(self, remark: str) -> None: ...
    def close(self) -> None: ...


class PlainLines:
    """Writes a line when a stage begins and every few seconds, and every remark."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._stage = ""
        self._last = -SECONDS_BETWEEN_LINES
        self._remarks = 0

    def show(self, snapshot: ProgressSnapshot) -> None:
        for message in snapshot.messages[self._remarks :]:
            self.say(message)
        self._remarks = len(snapshot.messages)
        now = time.monotonic()
        new_stage = snapshot.stage != self._stage
        gap = SECONDS_BETWEEN_STAGES if new_stage else SECONDS_BETWEEN_LINES
        if snapshot.stage and now - self._last >= gap:
            self._stage, self._last = snapshot.stage, now
            self._write(line_for(snapshot))

    def say(self, remark: str) -> None:
        self._write(remark)

    def close(self) -> None:
        pass


class Bar:
    """A bar for the present stage; finished stages and remarks stay above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TextColumn("{task.fields[left]}", style="cyan", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("Starting", total=None, amount="", left="")
        self._bar.start()
        self._before: ProgressSnapshot | None = None
        self._remarks = 0

    def show(self, snapshot: ProgressSnapshot) -> None:
        for message in snapshot.messages[self._remarks :]:
            self.say(message)
        self._remarks = len(snapshot.messages)
        before = self._before
        if before is not None and before.stage and before.stage != snapshot.stage:
            self._finish_stage(before)
        self._before = snapshot
        fraction = snapshot.fraction
        amount = ""
        if fraction is not None:
            amount = f"{fraction:4.0%}  {snapshot.done}/{snapshot.total} {snapshot.unit}".rstrip()
        left = "" if snapshot.remaining_s is None else f"{duration(snapshot.remaining_s)} left"
        self._bar.update(
            self._task,
            description=snapshot.stage or "Starting",
            total=snapshot.total or None,
            completed=snapshot.done,
            amount=amount,
            left=left,
        )

    def say(self, remark: str) -> None:
        self._console.print(f"  {remark}", style="yellow", markup=False)

    def _finish_stage(self, before: ProgressSnapshot) -> None:
        self._console.print(
            f"✓ {before.stage} ({duration(before.stage_elapsed_s)})", style="green", markup=False
        )

    def close(self) -> None:
        before = self._before
        self._bar.stop()
        if before is not None and before.stage and before.fraction == 1.0:
            self._finish_stage(before)


class ProgressDisplay:
    """Shows `progress` on standard error from a thread of its own until the `with` block ends."""

    def __init__(self, progress: Progress, cancel: CancelToken) -> None:
        self._progress = progress
        self._cancel = cancel
        self._view: _View = Bar() if sys.stderr.isatty() else PlainLines(_to_stderr)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="show-progress", daemon=True)

    def _poll(self) -> None:
        told = False
        while not self._ended.wait(_POLL_SECONDS):
            self._view.show(self._progress.snapshot())
            if self._cancel.cancelled and not told:
                told = True
                self._view.say("Cancelling…")

    def __enter__(self) -> Self:
        self._view.show(self._progress.snapshot())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._view.show(self._progress.snapshot())
        self._view.close()


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def cancel_on_interrupt(cancel: CancelToken) -> Iterator[None]:
    """Let Ctrl-C (and a request to end the process) cancel the work; a second Ctrl-C breaks it."""

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Nothing is printed here: the signal may have interrupted a print.
        cancel.cancel()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def long_work() -> Iterator[tuple[Progress, CancelToken]]:
    """Progress and cancel token for work that a terminal waits for."""
    progress, cancel = Progress(), CancelToken()
    with cancel_on_interrupt(cancel), ProgressDisplay(progress, cancel):
        yield progress, cancel
