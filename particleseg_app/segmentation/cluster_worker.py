"""What a worker process of a cluster does for a run (`cluster` is the other side).

A job is one function that is called with many items. It is sent to a process once, and what it
holds (scan, model) is opened there once. Locks in it become the process's own; its progress and
cancel token are tied to those of the process that leads the run.
"""

from __future__ import annotations

import errno
import importlib.metadata
import io
import os
import pickle
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle

from particleseg_app import __version__
from particleseg_app.durable_files import name_part_files_after
from particleseg_app.errors import RunError, UserError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.cores import keep_to_cores_of_worker

# What must be the same everywhere: it travels to and fro, or decides about voxels.
_PACKAGES = ("numpy", "torch", "openvino", "numba", "cloudpickle", "dask", "distributed")
SAME_EVERYWHERE = "Install the same versions on all machines (docs/cluster.md)."
_LOCK = type(threading.Lock())
# On a network drive a file may be seen, or seen anew, some seconds after another machine wrote it.
_WAITS_FOR_FILES_S = (0.2, 0.5, 1.0, 2.0, 4.0)


class JobMissingError(Exception):
    """The process does not know the job, because it was restarted meanwhile."""


@dataclass
class _Job:
    token: str
    cancel: CancelToken = field(default_factory=CancelToken)
    do: Callable[[Any], Any] | None = None
    slots: int = 1
    room: threading.Semaphore = field(default_factory=threading.Semaphore)


# Which call a thread works on, and how many steps of progress it made.
_call = threading.local()
_jobs: dict[str, _Job] = {}
_jobs_lock = threading.Lock()


def versions() -> dict[str, str]:
    """Versions of the program, of Python and of the packages that matter."""
    found = {"ParticleSeg": __version__, "Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def check_same_versions(who: str, there: dict[str, str], here: dict[str, str]) -> None:
    """Raise `RunError` for the first version that differs from that of the leading process."""
    for name, version in here.items():
        if there.get(name) != version:
            raise RunError(
                f"{who} has {name} {there.get(name, 'missing')}, this computer {version}.",
                SAME_EVERYWHERE,
            )


def packed(do: Callable[[Any], Any], at_once: Callable[[], int] | None) -> tuple[bytes, Progress]:
    """A job as bytes, and the progress that it reports to (an idle one if it holds none)."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump((do, at_once))
    return file.getvalue(), (pickler.progresses or [Progress()])[0]


def prepare(token: str, payload: bytes, shared_file: Path | None, leader: dict[str, str]) -> int:
    """Take on a job; return how many calls this process may do at once.

    Raises `RunError` when the process does not see the file `shared_file`, or has other versions
    than those of the process that leads.
    """
    from distributed import get_worker

    worker = get_worker()
    check_same_versions(f"The worker {worker.address}", versions(), leader)
    name_part_files_after(f".{platform.node()}-{os.getpid()}")
    keep_to_cores_of_worker(worker.state.nthreads)
    if shared_file is not None:
        _check_shared(shared_file, worker.address)
    with _jobs_lock:
        job = _jobs.setdefault(token, _Job(token))
        if job.do is None:
            try:
                job.do, at_once = _Unpickler(io.BytesIO(payload), job).load()
            except (UserError, OSError) as error:
                raise RunError(
                    f"The worker {worker.address} cannot begin: {error}",
                    "Scan, model and project must lie where all workers see them under one path.",
                ) from error
            most = worker.state.nthreads
            job.slots = max(1, most if at_once is None else min(most, at_once()))
            job.room = threading.Semaphore(job.slots)
        return job.slots


def work(token: str, key: str, item: Any) -> tuple[Any, int]:
    """Call the job's function; return its result and the steps of progress that it made."""
    job = _jobs.get(token)
    if job is None or job.do is None:
        raise JobMissingError(token)
    with job.room:
        _call.key, _call.steps = key, 0
        try:
            return _patiently(job.do, item, job.cancel), _call.steps
        finally:
            _call.key = None


def cancel_job(token: str) -> None:
    """Have the job's calls in this process end soon."""
    job = _jobs.get(token)
    if job is not None:
        job.cancel.cancel()


def forget_job(token: str) -> None:
    """Let go of the job and of what it holds."""
    _jobs.pop(token, None)


def _patiently(do: Callable[[Any], Any], item: Any, cancel: CancelToken) -> Any:
    """Call `do(item)`, again after a while where a file is not yet seen or is just being replaced.

    A call leaves only whole files of its own, so that it may be repeated.
    """
    for wait in (*_WAITS_FOR_FILES_S, None):
        cancel.check()
        steps = _call.steps
        try:
            return do(item)
        except OSError as error:
            passing = isinstance(error, FileNotFoundError | PermissionError)
            if wait is None or not (passing or error.errno == getattr(errno, "ESTALE", -1)):
                raise
            _call.steps = steps
            if error.filename is not None:
                _look_anew(Path(os.fsdecode(error.filename)).parent)
            time.sleep(wait)
    raise AssertionError("unreachable")


def _look_anew(folder: Path) -> None:
    """Have a network drive ask its server what is in a folder."""
    try:
        for _ in os.scandir(folder):
            break
    except OSError:
        pass


def _check_shared(path: Path, address: str) -> None:
    for wait in (*_WAITS_FOR_FILES_S, None):
        if path.exists():
            return
        if wait is not None:
            _look_anew(path.parent)
            time.sleep(wait)
    raise RunError(
        f"The worker {address} does not see the folder {path.parent}.",
        "Put the project on a drive that all workers see under the same path.",
    )


class _WorkerProgress(Progress):
    """Sends what it is told to the process that leads the run."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def advance(self, steps: int = 1) -> None:
        if getattr(_call, "key", None) is not None:
            _call.steps += steps
            self._send(["advance", _call.key, steps])

    def note(self, message: str) -> None:
        self._send(["note", getattr(_call, "key", None), message])

    def _send(self, message: list[Any]) -> None:
        from distributed import get_worker

        try:
            get_worker().log_event(self._topic, message)
        except ValueError:
            pass  # a thread of its own that the job started: nobody waits for its progress


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """Leaves out what belongs to a process: locks, progress, cancellation."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.progresses: list[Progress] = []
        self._locks: list[Any] = []

    def persistent_id(self, value: Any) -> tuple[str, int] | None:
        if isinstance(value, CancelToken):
            return "cancel", 0
        if isinstance(value, Progress):
            self.progresses.append(value)
            return "progress", 0
        if isinstance(value, _LOCK):
            self._locks.append(value)  # keeps its id from being used again
            return "lock", id(value)
        return None


class _Unpickler(pickle.Unpickler):
    """Puts in the job's own locks, progress and cancel token."""

    def __init__(self, file: io.BytesIO, job: _Job) -> None:
        super().__init__(file)
        self._job = job
        self._progress = _WorkerProgress(topic(job.token))
        self._locks: dict[int, Any] = {}

    def persistent_load(self, name: Any) -> Any:
        kind, number = name
        if kind == "cancel":
            return self._job.cancel
        if kind == "progress":
            return self._progress
        return self._locks.setdefault(number, threading.Lock())


def topic(token: str) -> str:
    """Where the calls of a job report their progress."""
    return f"particleseg-{token}"
