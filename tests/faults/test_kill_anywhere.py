"""`particleseg segment` killed at more than a hundred moments, spread over all of its stages.

After each kill the same command goes on; in the end the results are those of a run that nobody
disturbed. The real process is killed by SIGKILL; see `faulty_process`.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from particleseg_app.projects import Project, is_project
from particleseg_app.segmentation import run_state
from tests.faults.small_scan import Results, Server

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and SIGKILL"),
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]

KILLS_PER_STAGE = 2
PROJECTS = [("nnunet", 1), ("specks", 2), ("threshwater", 3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("kill"))
    yield server
    server.close()


def check_project(project: Path) -> None:
    """A project opens at any time and says how its runs stand."""
    if not is_project(project):
        return
    with Project.open(project, read_only=True) as opened:
        for run in opened.runs:
            state = run_state(project / "runs" / run.id)
            assert state.status in ("new", "unfinished", "finished")


def kill_everywhere(server, project, method, undisturbed, seed) -> tuple[Counter, float]:
    """Kill attempt after attempt, each in the stage that follows; how often each was hit, CPU s."""
    rng = random.Random(seed)
    stages = list(undisturbed)
    hit: Counter = Counter()
    cpu_s = 0.0
    for index, stage in enumerate(stages):
        for _ in range(KILLS_PER_STAGE):
            # A resumed attempt has less to do in its stage: most kills come early in it.
            number = 1 + int(rng.random() ** 2 * undisturbed[stage])
            answer = server.attempt_again(
                project,
                method,
                harm=rng.choice(["kill", "kill_later"]),
                stage=stage,
                number=number,
                later_stages=stages[index + 1 :],
                delay_s=rng.random() * 0.004,
            )
            cpu_s += answer["cpu_s"]
            assert "Unexpected" not in answer["log"], answer["log"]
            if answer["exit_code"] == -9:
                hit[answer["stage"]] += 1
            else:
                assert answer["exit_code"] == 0, answer["log"]
            check_project(project)
    return hit, cpu_s


def test_killed_at_a_hundred_moments_and_nothing_is_lost(server, tmp_path):
    hit: Counter = Counter()
    cpu_s = 0.0
    all_stages: set[str] = set()
    for method, seed in PROJECTS:
        whole = tmp_path / f"{method} undisturbed"
        answer = server.attempt(whole, method)
        assert answer["exit_code"] == 0, answer["log"]
        undisturbed = answer["counts"]
        expected = Results.of(whole)
        assert expected.labels.max() > 3
        assert (expected.contacts_of_scan is not None) == (method == "nnunet")
        assert bool(expected.large_particles_completed) == (method == "nnunet")
        all_stages |= set(undisturbed)
        project = tmp_path / f"{method} {seed}"
        hits, seconds = kill_everywhere(server, project, method, undisturbed, seed)
        hit += hits
        cpu_s += seconds
        answer = server.attempt_again(project, method)
        assert answer["exit_code"] == 0, answer["log"]
        Results.of(project).assert_same(expected)
        left = [path.name for path in project.rglob("*") if path.name.endswith(".part")]
        left += [path.name for path in project.rglob(".importing*")]
        assert left == []
    lines = [f"{count:4} {stage}" for stage, count in hit.items()]
    lines.append(f"{sum(hit.values())} kills, {cpu_s:.0f} s of processor time")
    sys.stdout.write("\n".join(["", *lines, ""]))
    assert sum(hit.values()) >= 100
    assert all_stages - set(hit) == set(), "every stage is hit"
