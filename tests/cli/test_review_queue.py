"""`particleseg review-queue`."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.cli import main
from particleseg_app.projects import Project, review_queue
from particleseg_app.projects.review_files import open_review
from particleseg_app.projects.review_queue import read_review_queue
from particleseg_app.review import queue
from particleseg_app.review.looking_order import in_looking_order

SETTINGS = ["--voxel-size-um", "5", "--particle-diameter-um", "60", "--method", "threshwater"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three balls, of which the threshold joins two by a bridge."""
    folder = tmp_path_factory.mktemp("project")
    grid = np.indices((30, 40, 60))
    bright = np.zeros(grid.shape[1:], bool)
    for centre in ((14, 12, 12), (14, 12, 30), (14, 30, 46)):
        bright |= ((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= 49
    bright[10:19, 8:17, 12:30] = True
    grey = np.random.default_rng(3).normal(2000, 100, bright.shape) + 6000 * bright
    tifffile.imwrite(folder / "balls.tif", grey.astype(np.uint16), photometric="minisblack")
    out = folder / "balls"
    assert main(["segment", str(folder / "balls.tif"), *SETTINGS, "--out", str(out)]) == 0
    return out


def test_it_prints_cases_and_rates_and_keeps_the_queue(project, capsys):
    assert main(["review-queue", str(project), "--most", "3"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^ *\d+\.\d%", out, re.MULTILINE)) == 3
    assert re.search(r"Merger ratio, estimated: 0?\.?\d.* interval", out)
    with Project.open(project, read_only=True) as opened:
        path = opened.review_paths("run-001").cases
        queue = read_review_queue(opened, "run-001")
    assert queue.particle_count == 2
    assert list(queue.cases) == in_looking_order(queue.cases)
    made = path.stat().st_mtime_ns
    assert main(["review-queue", str(project), "--most", "0"]) == 0
    assert path.stat().st_mtime_ns == made
    assert "%" not in capsys.readouterr().out.split("particles")[0]
    assert main(["review-queue", str(project), "--again"]) == 0
    assert path.stat().st_mtime_ns != made


def test_a_queue_is_printed_while_the_window_has_the_project_open(project, capsys):
    assert main(["review-queue", str(project)]) == 0
    with Project.open(project):
        capsys.readouterr()
        assert main(["review-queue", str(project), "--most", "1"]) == 0
        assert "2 particles" in capsys.readouterr().out
        assert main(["review-queue", str(project), "--again"]) == 1
        assert "open" in capsys.readouterr().err


def test_a_damaged_queue_is_told_and_made_again(project, capsys):
    with Project.open(project, read_only=True) as opened:
        opened.review_paths("run-001").cases.write_bytes(b"nothing")
    assert main(["review-queue", str(project)]) == 1
    assert "Make the queue again" in capsys.readouterr().err
    assert main(["review-queue", str(project), "--again"]) == 0


def test_what_the_run_knows_of_all_contacts_is_passed_on(project, monkeypatch):
    with Project.open(project, read_only=True) as opened:
        path = opened.run_folder("run-001") / "summary.json"
    figures, passed = [0.5, -1.0, -3.0, 2.0, 0.25], []
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(summary | {"contacts_of_scan": figures}), encoding="utf-8")
    really = queue.find_cases

    def noted(*arguments, **options):
        passed.append(options["of_scan"].tolist())
        return really(*arguments, **options)

    monkeypatch.setattr(queue, "find_cases", noted)
    assert main(["review-queue", str(project), "--again"]) == 0
    assert passed == [figures]


def test_a_queue_that_cannot_be_kept_is_told(project, monkeypatch, capsys):
    def fails(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(review_queue, "write_cases", fails)
    assert main(["review-queue", str(project), "--again"]) == 1
    error = capsys.readouterr().err
    assert f"{project} cannot be written to (No space left on device). Check your" in error


def test_the_queue_knows_the_mends(project):
    assert main(["review-queue", str(project), "--again"]) == 0
    with Project.open(project) as opened:
        count = read_review_queue(opened, "run-001").particle_count
        with open_review(opened, "run-001") as review:
            mending = review.mending(None)
            mending.apply(mending.preview_delete([1]), "delete", "gone")
    assert main(["review-queue", str(project), "--again"]) == 0
    with Project.open(project, read_only=True) as opened:
        queue = read_review_queue(opened, "run-001")
    assert queue.particle_count == count - 1
    assert all(1 not in case.labels for case in queue.cases)


def test_without_a_finished_run_there_is_no_queue(tmp_path, capsys):
    with Project.create(tmp_path / "empty"):
        pass
    assert main(["review-queue", str(tmp_path / "empty")]) == 1
    assert "no finished run" in capsys.readouterr().err
