"""Processes beside a training: the same scenes from several, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from particleseg_app.training import fill_pool
from particleseg_app.training.scene_processes import processes_beside


@pytest.mark.slow
def test_several_processes_make_the_same_scenes(tmp_path: Path) -> None:
    fill_pool(tmp_path / "one", 60, 3, "touching", (32, 32, 32))
    fill_pool(tmp_path / "two", 60, 3, "touching", (32, 32, 32), processes=2)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    for name in names:
        one, two = (np.load(tmp_path / folder / name) for folder in ("one", "two"))
        assert np.array_equal(one["grey"], two["grey"])
        assert np.array_equal(one["labels"], two["labels"])


def test_only_a_card_leaves_cores_for_scenes() -> None:
    assert processes_beside("cpu") == 1
    assert processes_beside("cuda:0") >= 1


OWNER = """
import time
from pathlib import Path
from particleseg_app.training.scene_processes import scene_processes
if __name__ == "__main__":
    pool = scene_processes(2, Path({folder!r}))
    for _ in range(2):
        pool.submit(time.sleep, 1)  # so that both processes are there
    pool.submit(print, "begun", flush=True).result()
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills with a signal")
def test_processes_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    temporary = tmp_path / "scenes"
    temporary.mkdir()
    script = tmp_path / "owner.py"
    script.write_text(OWNER.format(folder=str(temporary)))
    owner = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    while "begun" not in owner.stdout.readline():
        assert owner.poll() is None
    children = psutil.Process(owner.pid).children(recursive=True)
    assert len(children) >= 2
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 60
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not temporary.exists()
