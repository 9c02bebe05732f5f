"""Measures a step that runs in a process of its own: seconds, processor seconds, peak memory.

The process is watched from outside, so that no lock of its interpreter can hide a peak, and its own
child processes count, shared pages once. In the child, `step()` marks what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from particleseg_app.progress import Progress

_BEGIN, _END, _STAGE = "@begin", "@end", "@stage "
_SECONDS_BETWEEN_LOOKS = 0.02
# Looking at the pages of large processes takes long and may hold them up: it is done more seldom.
_SHARE_OF_LOOKING = 0.02


def memory_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and all that it started; 0 when it is gone."""
    with suppress(psutil.Error, OSError):
        children = process.children(recursive=True)
        if not children:
            return int(process.memory_info().rss)
        return sum(_proportional_bytes(one) for one in (process, *children))
    return 0


def _proportional_bytes(process: psutil.Process) -> int:
    """Resident memory with pages that n processes share counted as an n-th (where it is known)."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


class MemoryWatch(threading.Thread):
    """Keeps the highest memory of a process since `begin` until `stop`."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._over = threading.Event()
        self.before = self.peak = 0
        self.stage = ""
        self.stage_peaks: dict[str, int] = {}

    def run(self) -> None:
        pause = _SECONDS_BETWEEN_LOOKS
        while not self._over.wait(pause):
            began = time.perf_counter()
            stage, now = self.stage, memory_bytes(self._process)
            looked = time.perf_counter() - began
            pause = max(_SECONDS_BETWEEN_LOOKS, looked / _SHARE_OF_LOOKING)
            self.peak = max(self.peak, now)
            self.stage_peaks[stage] = max(self.stage_peaks.get(stage, 0), now)

    def begin(self) -> None:
        self.before = self.peak = memory_bytes(self._process)
        self.start()

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def step(**about: Any) -> Iterator[dict[str, Any]]:
    """In the child: what happens inside is measured; what is put into the dict is handed back."""
    print(_BEGIN, flush=True)
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield about
    about |= {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu}
    print(_END, json.dumps(about), flush=True)


def cpu_seconds() -> float:
    """Processor seconds of this process and of its children that ended."""
    ended = os.times()
    # Of this process in microseconds, which psutil rounds to hundredths of a second.
    return time.process_time() + ended.children_user + ended.children_system


def measured_apart(module: str, *arguments: str) -> dict[str, Any]:
    """Run `python -m MODULE ARGUMENTS` and return what its `step` gave, with memory in bytes:
    `before_bytes`, `peak_bytes` (of the process), `extra_bytes` (peak above before) and
    `stage_peaks`, for the stages that a `StageClock` announced.
    """
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    watch = MemoryWatch(psutil.Process(child.pid))
    result: dict[str, Any] = {}
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(_BEGIN):
            watch.begin()
        elif line.startswith(_END):
            watch.stop()
            result = json.loads(line[len(_END) :])
        elif line.startswith(_STAGE):
            watch.stage = line[len(_STAGE) :].strip()
        else:
            print(line, end="", flush=True)
    if child.wait() or not result:
        raise SystemExit(f"{module} {' '.join(arguments)} failed ({child.returncode})")
    return result | {
        "before_bytes": watch.before,
        "peak_bytes": watch.peak,
        "extra_bytes": max(0, watch.peak - watch.before),
        "stage_peaks": watch.stage_peaks,
    }


class StageClock(Progress):
    """Progress that remembers how long each stage took, and in processor seconds."""

    def __init__(self, announce: bool = False) -> None:
        """With `announce` the watching process hears of each stage, and keeps its peak."""
        super().__init__()
        self._announce = announce
        self.stages: list[tuple[str, float, float, int]] = []

    def start(self, stage: str, total: int = 0, unit: str = "", done: int = 0) -> None:
        self.stages.append((stage, time.perf_counter(), cpu_seconds(), total))
        if self._announce:
            print(_STAGE + stage, flush=True)
        super().start(stage, total, unit, done)

    def finish(self) -> None:
        """End the last stage; what comes later is not counted to it."""
        self.stages.append(("", time.perf_counter(), cpu_seconds(), 0))

    def seconds(self) -> dict[str, tuple[float, float, int]]:
        """Wall seconds, processor seconds and pieces of work of each stage."""
        ends = [*self.stages[1:], ("", time.perf_counter(), cpu_seconds(), 0)]
        result: dict[str, tuple[float, float, int]] = {}
        for (stage, start, cpu, total), (_, end, cpu_end, _) in zip(self.stages, ends, strict=True):
            if stage:
                before = result.get(stage, (0.0, 0.0, 0))
                spent = (end - start, cpu_end - cpu, total)
                result[stage] = tuple(a + b for a, b in zip(before, spent, strict=True))  # type: ignore[assignment]
        return result


def machine() -> str:
    """The machine in words, for the head of a table."""
    load = f", load {psutil.getloadavg()[0]:.1f}" if hasattr(psutil, "getloadavg") else ""
    return f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB{load}"
