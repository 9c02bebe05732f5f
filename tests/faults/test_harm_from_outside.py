"""Full disks, power cuts, drives that are pulled out and failing graphics cards: one sentence each,
and the same command ends with the results of a run that nobody disturbed."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from particleseg_app.projects import is_project
from particleseg_app.segmentation import run_state
from tests.faults.lossy_disk import lose
from tests.faults.small_scan import Results, Server

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork"),
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]

METHOD = "threshwater"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("harm"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory) -> dict[str, Any]:
    """An undisturbed run: its results and how much happens in each of its stages."""
    project = tmp_path_factory.mktemp("whole") / "project"
    answer = server.attempt(project, METHOD)
    assert answer["exit_code"] == 0, answer["log"]
    return {"results": Results.of(project), "stages": answer["counts"]}


def harm_in_each_stage(server, project, whole, seed, undo, **request) -> list[tuple[str, str]]:
    """One harmed attempt in each stage, `undo` after each; the stages and what was said."""
    rng = random.Random(seed)
    stages = list(whole["stages"])
    said = []
    for index, stage in enumerate(stages):
        number = 1 + int(rng.random() ** 2 * whole["stages"][stage])
        answer = server.attempt(
            project,
            METHOD,
            stage=stage,
            number=number,
            later_stages=stages[index + 1 :],
            **request,
        )
        assert "Unexpected" not in answer["log"], answer["log"]
        assert answer["exit_code"] in (0, 1), answer
        undo()
        if answer["exit_code"] == 1:
            said.append((answer["stage"], answer["log"].strip().splitlines()[-1]))
    answer = server.attempt(project, METHOD)
    assert answer["exit_code"] == 0, answer["log"]
    Results.of(project).assert_same(whole["results"])
    return said


def test_a_disk_that_is_full_from_any_moment_on(server, tmp_path, whole):
    said = harm_in_each_stage(server, tmp_path / "project", whole, 1, lambda: None, harm="no_space")
    assert len(said) >= len(whole["stages"]) - 6, said
    for stage, sentence in said:
        assert "space" in sentence or "cannot be written to" in sentence, (stage, sentence)


@pytest.fixture
def small_disk(tmp_path, request):
    """A real file system of a few MB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize("small_disk", [160], indirect=True)
def test_a_real_disk_that_fills_up_at_any_moment(server, small_disk, whole):
    ballast = small_disk / "ballast"
    said = harm_in_each_stage(
        server,
        small_disk / "project",
        whole,
        2,
        lambda: ballast.unlink(missing_ok=True),
        harm="fill_disk",
        ballast=str(ballast),
    )
    assert len(said) >= len(whole["stages"]) - 6, said
    for stage, sentence in said:
        assert "space" in sentence, (stage, sentence)


@pytest.mark.parametrize("small_disk", [20], indirect=True)
def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(server, small_disk):
    answer = server.attempt(small_disk / "project", METHOD)
    assert answer["exit_code"] == 1
    assert "GB of disk space" in answer["log"]
    assert not list(small_disk.rglob("scan.h5*"))


def test_a_drive_that_is_pulled_out_and_comes_back(server, tmp_path, whole):
    project, elsewhere = tmp_path / "drive", tmp_path / "pulled out"

    def put_back():
        if elsewhere.exists():
            assert not project.exists(), "nothing is written where the drive was"
            elsewhere.rename(project)

    said = harm_in_each_stage(
        server, project, whole, 3, put_back, harm="take_away", elsewhere=str(elsewhere)
    )
    assert len(said) >= len(whole["stages"]) - 6, said
    for stage, sentence in said:
        assert str(project) in sentence, (stage, sentence)


def test_a_power_cut_at_any_moment(server, tmp_path, whole):
    project, log, kept = tmp_path / "project", tmp_path / "disk.log", tmp_path / "kept"
    kept.mkdir()
    rng = random.Random(4)
    stages = list(whole["stages"])
    lost = cuts = 0
    for index, stage in enumerate(stages):
        for _ in range(2):
            answer = server.attempt_again(
                project,
                METHOD,
                harm="kill",
                stage=stage,
                number=1 + int(rng.random() ** 2 * whole["stages"][stage]),
                later_stages=stages[index + 1 :],
                disk_log=str(log),
                kept=str(kept),
            )
            assert "Unexpected" not in answer["log"], answer["log"]
            assert answer["exit_code"] in (0, -9), answer["log"]
            cuts += answer["exit_code"] == -9
            lost += lose(log, rng)
    answer = server.attempt_again(project, METHOD)
    assert answer["exit_code"] == 0, answer["log"]
    Results.of(project).assert_same(whole["results"])
    assert cuts >= len(stages)
    # How many names are at risk depends on when the kill lands; a few always are.
    assert lost >= 3, "there was something to lose"


# In whichever engine is the faster on this computer.
CARD_FAILS = """
import torch
from particleseg_app.models.predictor import FoldsAndFlips
predict, calls = FoldsAndFlips.predict, []
def failing(self, tiles):
    calls.append(1)
    if len(calls) == 5:
        raise {error}
    return predict(self, tiles)
FoldsAndFlips.predict = failing
"""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            'RuntimeError("CUDA error: unspecified launch failure\\nFor debugging")',
            "The graphics card reported an error (CUDA error: unspecified launch failure).",
        ),
        (
            'torch.AcceleratorError("CUDA error: device-side assert triggered")',
            "The graphics card reported an error (CUDA error: device-side assert triggered).",
        ),
        ('torch.OutOfMemoryError("no room")', "The graphics card has too little free memory"),
        ("MemoryError()", "The computer has too little free memory"),
    ],
)
def test_a_graphics_card_that_fails(server, tmp_path, error, sentence):
    answer = server.attempt(tmp_path / "project", setup=CARD_FAILS.format(error=error))
    assert answer["exit_code"] == 1
    assert sentence in answer["log"].strip().splitlines()[-1]
    assert "Unexpected" not in answer["log"]
    (folder,) = (tmp_path / "project" / "runs").iterdir()
    state = run_state(folder)
    assert state.status == "failed" and sentence in state.message
    assert is_project(tmp_path / "project")
    assert len(list((folder / "pieces").glob("classes_*.npy"))) >= 1
    answer = server.attempt(tmp_path / "project")
    assert answer["exit_code"] == 0
    assert f"Continuing the run that ended with: {sentence}" in answer["log"]
    answer = server.attempt(tmp_path / "undisturbed")
    Results.of(tmp_path / "project").assert_same(Results.of(tmp_path / "undisturbed"))


def test_the_seconds_of_a_run_are_those_of_all_attempts(server, tmp_path):
    import json

    project = tmp_path / "project"
    stage = "Finding particles with the network"
    slow = "import time\nreally = harm.event\n"
    slow += "def event(kind):\n    time.sleep(0.002)\n    really(kind)\nharm.event = event\n"
    for _ in range(2):
        answer = server.attempt(project, harm="kill", stage=stage, number=120, setup=slow)
        assert answer["exit_code"] == -9
    (folder,) = (project / "runs").iterdir()
    assert server.attempt(project)["exit_code"] == 0
    summary = json.loads((folder / "summary.json").read_text())
    attempts = json.loads((folder / "attempts.json").read_text())["attempts"]
    assert summary["attempts"] == 3 and len(attempts) == 3
    earlier = sum(one["seconds"] for one in attempts[:2])
    assert earlier > 0.2
    assert summary["seconds"] >= earlier
