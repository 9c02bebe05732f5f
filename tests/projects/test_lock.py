"""Two processes cannot write one project, and a dead one does not keep it."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from particleseg_app.errors import ProjectError
from particleseg_app.projects import (
    Project,
    ProjectLockedError,
    ProjectNotWritableError,
    lock_holder,
)

_HOLD = """
import sys
from particleseg_app.projects import Project
project = Project.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
project.close()
"""

_RACE = """
import sys, time
from particleseg_app.errors import ProjectError
from particleseg_app.projects import Project
while time.time() < float(sys.argv[2]):
    pass
try:
    project = Project.open(sys.argv[1])
except ProjectError:
    print("refused", flush=True)
else:
    print("open", flush=True)
    sys.stdin.readline()
"""


def _start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )


@contextmanager
def _held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with _start(_HOLD, str(folder)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "open"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Project.create(tmp_path / "p").close()
    return tmp_path / "p"


def test_open_in_another_process(folder: Path) -> None:
    with _held_elsewhere(folder) as process:
        with pytest.raises(ProjectError) as caught:
            Project.open(folder)
        assert str(process.pid) in caught.value.sentence
        assert caught.value.remedy
        holder = lock_holder(folder)
        assert holder is not None
        assert holder.pid == process.pid
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(30) == 0
    Project.open(folder).close()


def test_lock_of_a_killed_process_is_taken_over(folder: Path) -> None:
    with _held_elsewhere(folder) as process:
        process.kill()
        process.wait()
    assert (folder / ".lock").exists()
    assert lock_holder(folder) is None
    with Project.open(folder):
        holder = lock_holder(folder)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert not (folder / ".lock").exists()


def test_a_process_killed_while_it_takes_a_lock_over_keeps_nobody_out(folder: Path) -> None:
    with _held_elsewhere(folder) as process:
        process.kill()
    left = (folder / ".lock").read_bytes()
    (folder / ".lock.takeover").write_bytes(left)
    with Project.open(folder):
        assert (folder / ".lock").read_bytes() != left
    assert not list(folder.glob(".lock*"))


def test_only_one_of_many_takes_a_stale_lock_over(folder: Path) -> None:
    with _held_elsewhere(folder) as process:
        process.kill()
        process.wait()
    begin = str(time.time() + 2.5)
    racers = [_start(_RACE, str(folder), begin) for _ in range(4)]
    try:
        answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
        assert sorted(answers) == ["open", "refused", "refused", "refused"]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def test_same_process(folder: Path) -> None:
    with Project.open(folder), pytest.raises(ProjectError, match="this program"):
        Project.open(folder)


def _write_lock(folder: Path, **changes: object) -> None:
    content = {
        "pid": 1,
        "host": platform.node(),
        "user": "anna",
        "time": "2026-01-02T03:04:05",
        "process_started": 0.0,
    }
    (folder / ".lock").write_text(json.dumps({**content, **changes}))


def test_other_computer_is_named_and_never_taken_over(folder: Path) -> None:
    _write_lock(folder, host="lab-pc-3", pid=2**22 + 1)
    with pytest.raises(ProjectLockedError) as caught:
        Project.open(folder)
    assert caught.value.holder == lock_holder(folder)
    assert "lab-pc-3" in caught.value.sentence
    assert "anna" in caught.value.sentence
    assert ".lock" in caught.value.remedy
    assert (folder / ".lock").exists()


def test_process_number_given_to_another_program_since(folder: Path) -> None:
    _write_lock(folder, pid=os.getpid())
    Project.open(folder).close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, ProjectNotWritableError),
        (errno.EACCES, ProjectNotWritableError),
        (errno.ENOSPC, ProjectError),  # there is something better to do than to look at it
    ],
)
def test_a_folder_that_takes_no_lock_says_whether_it_never_will(
    folder: Path, number: int, kind: type[ProjectError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_rest: object) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr("particleseg_app.projects.lock.os.open", refuse)
    with pytest.raises(ProjectError, match=os.strerror(number)) as caught:
        Project.open(folder)
    assert type(caught.value) is kind and caught.value.remedy
    Project.open(folder, read_only=True).close()


def test_lock_without_content(folder: Path) -> None:
    lock = folder / ".lock"
    lock.write_bytes(b"")
    with pytest.raises(ProjectError, match="just being opened"):
        Project.open(folder)
    os.utime(lock, (time.time() - 60, time.time() - 60))
    Project.open(folder).close()


def test_release_leaves_the_lock_of_somebody_else(folder: Path) -> None:
    project = Project.open(folder)
    _write_lock(folder, host="lab-pc-3")
    project.close()
    assert (folder / ".lock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a start does not move")
def test_a_lock_stays_held_when_the_clock_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _held_elsewhere(folder) as process:
        # After the clock was set by an hour, psutil believes the computer was started later.
        began = psutil._pslinux.boot_time()
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: began + 3600)
        holder = lock_holder(folder)
        assert holder is not None and holder.pid == process.pid
        with pytest.raises(ProjectError):
            Project.open(folder)


@pytest.mark.parametrize("pid", ["Infinity", 10**30, "NaN", -1])
def test_an_impossible_lock_keeps_nobody_out_for_ever(folder: Path, pid: object) -> None:
    _write_lock(folder)
    lock = folder / ".lock"
    lock.write_text(lock.read_text().replace('"pid": 1', f'"pid": {pid}'))
    an_hour_ago = time.time() - 3600
    os.utime(lock, (an_hour_ago, an_hour_ago))
    Project.open(folder).close()
