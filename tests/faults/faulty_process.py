"""Runs the command line again and again in child processes, and does harm to them at will.

    python -m tests.faults.faulty_process

A server: it imports everything once and forks a child for each request, so that an attempt costs
no more than its own work. Requests come as lines of JSON on standard input, answers go to standard
output. Only on systems that can fork.

A child counts its events: stages begun, steps of progress, renames and flushes. Where an event is
the one that was asked for, harm is done: "kill" (SIGKILL, at once), "kill_later" (SIGKILL by the
server after `delay_s`, whatever the child is doing then), "fill_disk", "no_space", "take_away".
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import functools
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

# Before torch is imported: a pool of threads would not survive the fork.
os.environ["OMP_NUM_THREADS"] = "1"

BLOCK_SHAPE = (32, 32, 32)


class Harm:
    """Counts events of this process by stage and does what was asked for at one of them."""

    def __init__(self, request: dict[str, Any], tell: int) -> None:
        self.request = request
        self.tell = tell
        self.stage = "Starting"
        self.counts: dict[str, int] = {}
        self.done = False
        self.lock = threading.Lock()

    def event(self, kind: str) -> None:
        with self.lock:
            count = self.counts[self.stage] = self.counts.get(self.stage, 0) + 1
            wanted = self.request.get("stage")
            if self.done or wanted is None:
                return
            late = self.stage in self.request.get("later_stages", ())
            if late or (self.stage == wanted and count >= self.request["number"]):
                self.done = True
                self.do(kind)

    def begin(self, stage: str) -> None:
        with self.lock:
            self.stage = stage
        self.event("stage")

    def say(self, message: dict[str, Any]) -> None:
        os.write(self.tell, (json.dumps(message) + "\n").encode())

    def do(self, kind: str) -> None:
        self.say({"harm": self.request["harm"], "stage": self.stage, "kind": kind})
        getattr(self, self.request["harm"])()

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_later(self) -> None:
        """The server has been told and kills while this process goes on."""

    def fill_disk(self) -> None:
        ballast = Path(self.request["ballast"])
        free = shutil.disk_usage(ballast.parent).free
        with open(ballast, "wb") as file:
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, free)
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
                    file.flush()

    def no_space(self) -> None:
        """From now on the system says that the disk is full."""
        usage, really_open, fsync = shutil.disk_usage, builtins.open, os.fsync
        project = self.request["project"]

        def refuse(path: Any) -> None:
            if os.path.abspath(os.fspath(path)).startswith(project):  # noqa: PTH100
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        def opening(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if not isinstance(file, int) and any(letter in mode for letter in "wxa"):
                # A full disk still takes the name of a file.
                really_open(file, mode, *rest, **options).close()
                refuse(file)
            return really_open(file, mode, *rest, **options)

        def flushing(descriptor: int) -> None:
            refuse(Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        shutil.disk_usage = lambda path: usage(path)._replace(free=0)  # type: ignore[assignment]
        builtins.open = io.open = opening  # type: ignore[assignment]
        os.fsync = flushing

    def take_away(self) -> None:
        Path(self.request["project"]).rename(self.request["elsewhere"])


def watch(harm: Harm) -> None:
    """Have everything that happens in this process be an event."""
    from particleseg_app import durable_files
    from particleseg_app.progress import Progress

    start, advance = Progress.start, Progress.advance
    replace, fsync = os.replace, os.fsync

    def starting(self: Progress, stage: str, *rest: Any, **options: Any) -> None:
        start(self, stage, *rest, **options)
        harm.begin(stage)

    def advancing(self: Progress, steps: int = 1) -> None:
        advance(self, steps)
        harm.event("step")

    def replacing(source: Any, target: Any, *rest: Any, **options: Any) -> None:
        name = Path(target).name
        if name in FILE_STAGES:
            harm.begin(f"Writing {name}")
        harm.event("before rename")
        replace(source, target, *rest, **options)
        harm.event("after rename")

    def flushing(descriptor: int) -> None:
        harm.event("flush")
        fsync(descriptor)

    Progress.start, Progress.advance = starting, advancing  # type: ignore[method-assign]
    durable_files.os.replace, durable_files.os.fsync = replacing, flushing


# Files whose renaming is a stage of its own, since no progress tells of it.
FILE_STAGES = {
    "project.json",
    "summary.json",
    "particles.parquet",
    "provenance.json",
    "particles.csv",
    "particles.json",
}


def small_pieces() -> None:
    """Many chunks and blocks even in a very small scan; torch, whose choice needs no measuring."""
    from particleseg_app.models import inference
    from particleseg_app.segmentation import large_particles, particles_of_run, run

    inference.QUICK_TILE_S = 1e9
    for room in (particles_of_run, large_particles):
        room.particles_from_classes = functools.partial(
            room.particles_from_classes, block_shape=BLOCK_SHAPE
        )
    large_particles._BLOCK = BLOCK_SHAPE
    run.plan_network_run = functools.partial(_in_small_chunks, run.plan_network_run)
    run.run_threshold_stage = functools.partial(run.run_threshold_stage, block_shape=BLOCK_SHAPE)


def _in_small_chunks(
    plan: Any, shape: Any, settings: Any, card: Any, *rest: Any, **options: Any
) -> Any:
    return plan(shape, settings, card, 1, *rest[1:], **options)


def attempt(request: dict[str, Any], tell: int) -> int:
    """In the child: run the command line with harm."""
    harm = Harm(request, tell)
    if "disk_log" in request:
        from tests.faults.lossy_disk import DiskLog

        DiskLog(request["project"], request["disk_log"], request["kept"]).install()
    watch(harm)
    errors = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    if request.get("setup"):
        exec(request["setup"], {"harm": harm})
    from particleseg_app.cli.main import main

    code = main(request["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    harm.say({"counts": harm.counts})
    return code


def serve_one(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a child for the request; what became of it."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.close(hear)
            code = attempt(request, tell)
        finally:
            os._exit(code)
    os.close(tell)
    answer: dict[str, Any] = {}
    with os.fdopen(hear) as heard:
        for line in heard:
            answer.update(json.loads(line))
            if answer.get("harm") == "kill_later" and "killed" not in answer:
                answer["killed"] = True
                time.sleep(request["delay_s"])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    answer["cpu_s"] = used.ru_utime + used.ru_stime
    answer["exit_code"] = os.waitstatus_to_exitcode(status)
    return answer


def serve() -> None:
    import torch

    torch.set_num_threads(1)
    import particleseg_app.cli.main
    import particleseg_app.particles.kernels
    import particleseg_app.projects.scan_to_results
    import particleseg_app.segmentation.block_counts
    import particleseg_app.segmentation.growth_across_blocks
    import particleseg_app.segmentation.region_growth
    import particleseg_app.volumes.grey_kernels  # noqa: F401

    small_pieces()
    answer({"ready": True})
    for line in sys.stdin:
        answer(serve_one(json.loads(line)))


def answer(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
