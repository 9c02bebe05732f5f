"""What befalls a run from outside, in words; and its seconds over several attempts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from particleseg_app.segmentation.failures import failures_in_words, in_words
from particleseg_app.segmentation.run_clock import ATTEMPTS, RunClock


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (os_error(errno.ENOSPC), "no space left on the disk that holds"),
        (os_error(errno.EDQUOT), "no space left on the disk that holds"),
        (RuntimeError("HDF5: write failed: No space left on device"), "no space left"),
        (os_error(errno.EIO), "can no longer be read or written"),
        (os_error(errno.ESTALE), "can no longer be read or written"),
        (os_error(errno.EACCES), "cannot be written to"),
        (os_error(errno.EROFS), "cannot be written to"),
        (MemoryError(), "too little free memory"),
        (RuntimeError("CUDA error: launch failed\nmore"), "graphics card reported an error (CUDA"),
        (RuntimeError("cuDNN error: NOT_SUPPORTED."), "(cuDNN error: NOT_SUPPORTED)"),
        (torch.OutOfMemoryError("CUDA out of memory"), "graphics card reported an error"),
    ],
)
def test_each_has_one_sentence_and_ends_with_going_on(tmp_path: Path, error, part) -> None:
    problem = in_words(error, tmp_path)
    assert problem is not None
    assert part in problem.sentence
    assert "continue the run" in problem.remedy
    assert "\n" not in str(problem)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    problem = in_words(FileNotFoundError(errno.ENOENT, "no such file"), tmp_path / "gone")
    assert problem is not None
    assert problem.sentence == f"The folder {tmp_path / 'gone'} is no longer there."


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), KeyError("x"), FileNotFoundError("x")]
)
def test_a_bug_stays_a_bug(tmp_path: Path, error) -> None:
    assert in_words(error, tmp_path) is None
    with pytest.raises(type(error)), failures_in_words(tmp_path):
        raise error


def clock(folder: Path) -> RunClock:
    made = RunClock(folder)
    made.begin()
    return made


def test_seconds_add_up_and_a_killed_attempt_counts_until_its_last_file(tmp_path: Path) -> None:
    killed = clock(tmp_path)
    assert killed.attempts == 1
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "last").touch()
    started = json.loads((tmp_path / ATTEMPTS).read_text())["attempts"][0]["started_at"]
    os.utime(tmp_path / "pieces" / "last", (started + 50, started + 50))
    cancelled = clock(tmp_path)
    assert cancelled.attempts == 2
    assert 50 <= cancelled.total_seconds < 60
    time.sleep(0.02)
    cancelled.end()
    third = clock(tmp_path)
    assert third.attempts == 3
    assert 50.02 <= third.total_seconds < 60


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"attempts": [{"started_at": "x", "seconds": 1}]}', "[[[["]
)
def test_notes_that_are_damaged_are_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / ATTEMPTS).write_text(content)
    assert clock(tmp_path).attempts == 1


def test_an_attempt_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    RunClock(tmp_path / "not there").end()
    assert not (tmp_path / "not there").exists()


def test_torch_on_a_full_disk_is_told_by_the_disk(tmp_path: Path, monkeypatch) -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    assert in_words(error, tmp_path) is None  # there is room, so it is something else
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=4096))
    problem = in_words(error, tmp_path)
    assert problem is not None
    assert "no space left on the disk" in problem.sentence
