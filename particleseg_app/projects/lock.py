"""The lock file of a project: one process at a time may write into a project folder."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from particleseg_app.errors import ProjectError
from particleseg_app.user_folders import user_name

LOCK_NAME = ".lock"
_TAKEOVER_NAME = ".lock.takeover"
# A lock file without content is being written right now, unless it is older than this.
_EMPTY_LOCK_S = 10.0
_TAKEOVER_S = _EMPTY_LOCK_S
_SAME_START_S = 3.0
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lock. `process_started` tells the process from others of the same number."""

    pid: int
    host: str
    user: str
    time: str
    process_started: str

    @property
    def here(self) -> bool:
        return self.host == platform.node()

    @property
    def gone(self) -> bool:
        """Whether the process ran on this computer and no longer does."""
        if not self.here:
            return False
        try:
            if not psutil.pid_exists(self.pid):
                return True
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            # Another process may have been given the same number since.
            return not _same_start(_start_of(self.pid), self.process_started)
        except (psutil.NoSuchProcess, OverflowError):
            return True
        except psutil.Error:
            return False


class ProjectLockedError(ProjectError):
    """A project that another program, `holder`, has open; it can be opened to be read only."""

    holder: LockHolder | None = None


class ProjectNotWritableError(ProjectError):
    """A project where nothing may be written: somebody else's, or on a read-only disk; it can be
    opened to be read only."""


class ProjectLock:
    """Holds the lock of one project folder from `acquire` to `release`."""

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / LOCK_NAME
        self._takeover = Path(folder) / _TAKEOVER_NAME
        self._held: LockHolder | None = None

    def acquire(self) -> None:
        """Take the lock; raise `ProjectError` that says who holds it and where.

        That is a `ProjectLockedError` for another program, and a `ProjectNotWritableError` where
        the folder may not be written to.
        """
        try:
            self._acquire()
        except OSError as error:
            kind = ProjectNotWritableError if error.errno in _NOT_ALLOWED else ProjectError
            raise kind(
                f"The project folder {self.path.parent} cannot be written to "
                f"({error.strerror or error}).",
                "Check your permissions, or copy the project to another place.",
            ) from error

    def release(self) -> None:
        """Give the lock back, if it is still ours. May be called twice."""
        held, self._held = self._held, None
        if held is not None and _read(self.path) == held:
            self.path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        if self._create():
            return
        if self._is_stale():
            self._take_over()
            return
        raise _locked(self.path)

    def _create(self) -> bool:
        self._held = _write_new(self.path)
        return self._held is not None

    def _is_stale(self) -> bool:
        holder = _read(self.path)
        if holder is None:
            return _age(self.path) > _EMPTY_LOCK_S
        return holder.gone

    def _take_over(self) -> None:
        """Replace the lock of a dead process; a second file keeps two takers apart."""
        taker = _read(self._takeover)
        if _age(self._takeover) > _TAKEOVER_S if taker is None else taker.gone:
            self._takeover.unlink(missing_ok=True)
        if _write_new(self._takeover) is None:
            raise _locked(self.path)
        try:
            if self.path.exists() and not self._is_stale():
                raise _locked(self.path)
            self.path.unlink(missing_ok=True)
            if not self._create():
                raise _locked(self.path)
        finally:
            self._takeover.unlink(missing_ok=True)


def _write_new(path: Path) -> LockHolder | None:
    """Write this process into a new file; None where the file is there already."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    me = _this_process()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(me), file)
        file.flush()
        os.fsync(file.fileno())
    return me


def lock_holder(folder: Path) -> LockHolder | None:
    """Who holds the lock of a project folder now, None when nobody (alive) does."""
    holder = _read(Path(folder) / LOCK_NAME)
    return None if holder is None or holder.gone else holder


def _locked(path: Path) -> ProjectError:
    holder, folder = _read(path), path.parent
    if holder is None:
        return ProjectError(
            f"The project {folder} is just being opened by another program.", "Try again."
        )
    since = f"since {holder.time.replace('T', ' ')}"
    if holder.pid == os.getpid() and holder.here:
        return ProjectError(
            f"The project {folder} is already open in this program.", "Close it there first."
        )
    if holder.here:
        return _held_by(
            holder,
            f"The project {folder} is open in another window or program of {holder.user} on this "
            f"computer (process {holder.pid}, {since}).",
            "Close it there first.",
        )
    return _held_by(
        holder,
        f"The project {folder} is open on the computer {holder.host} by {holder.user} ({since}).",
        f"Close it there; if that computer was switched off meanwhile, delete the file {path}.",
    )


def _held_by(holder: LockHolder, sentence: str, remedy: str) -> ProjectLockedError:
    error = ProjectLockedError(sentence, remedy)
    error.holder = holder
    return error


def _this_process() -> LockHolder:
    pid = os.getpid()
    return LockHolder(
        pid=pid,
        host=platform.node(),
        user=user_name(),
        time=datetime.now().isoformat(timespec="seconds"),
        process_started=_start_of(pid),
    )


def _start_of(pid: int) -> str:
    """When a process was started, in a form that does not change when the clock is set.

    On Linux psutil reckons from the present time of day; the kernel's own count since the computer
    was started does not. Raises `psutil.NoSuchProcess`.
    """
    if sys.platform != "linux":
        return f"{psutil.Process(pid).create_time():.3f}"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # After the name, which may hold anything, the 22nd field is the start.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error
    return f"{boot} {ticks}"


def _same_start(one: str, other: str) -> bool:
    try:
        return abs(float(one) - float(other)) <= _SAME_START_S
    except ValueError:
        return one == other


def _read(path: Path) -> LockHolder | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return LockHolder(
            pid=int(content["pid"]),
            host=str(content["host"]),
            user=str(content["user"]),
            time=str(content["time"]),
            process_started=str(content["process_started"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
