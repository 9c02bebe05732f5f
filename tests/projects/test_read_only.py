"""A project opened to be read only: beside whoever has it open, and without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.errors import ProjectError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.segmentation_job import run_segmentation_job
from particleseg_app.volumes import inspect_source


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "sand.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 60000, (9, 20, 20), np.uint16))
    return path


@pytest.fixture
def folder(tmp_path: Path, stack: Path) -> Path:
    with Project.create(tmp_path / "project") as project:
        scan = project.add_scan(inspect_source(stack), Progress(), CancelToken())
        project.new_run(scan.id, {"method": "threshwater"})
    return tmp_path / "project"


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *sorted(folder.rglob("*")))
    }


def test_it_can_be_read_while_it_is_open_elsewhere(folder: Path) -> None:
    with Project.open(folder) as mine, Project.open(folder, read_only=True) as seen:
        assert seen.read_only
        assert not mine.read_only
        assert (seen.name, seen.scans, seen.runs) == (mine.name, mine.scans, mine.runs)
        with seen.open_scan("scan-001") as scan:
            assert scan.shape == (9, 20, 20)
        seen.close()
        mine.rename("still mine")
        with pytest.raises(ProjectError, match="already open"):
            Project.open(folder)


def test_reading_leaves_no_trace_and_tidies_nothing_up(folder: Path) -> None:
    (folder / "runs" / "run-001").rmdir()
    (folder / "scans" / ".importing-scan-002").mkdir()
    (folder / "project.json.part").write_text("half")
    before = _contents(folder)
    with Project.open(folder, read_only=True) as project:
        assert not project.run_folder("run-001").exists()
        project.open_scan("scan-001").close()
    assert _contents(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda project, source: project.rename("other"),
        lambda project, source: project.add_scan(source, Progress(), CancelToken()),
        lambda project, source: project.set_scan_answers("scan-001", voxel_size_um=2.0),
        lambda project, source: project.rename_scan("scan-001", "other"),
        lambda project, source: project.remove_scan("scan-001", with_runs=True),
        lambda project, source: project.new_run("scan-001", {}),
        lambda project, source: project.rename_run("run-001", "other"),
        lambda project, source: project.remove_run("run-001"),
        lambda project, source: run_segmentation_job(project, "run-001", Progress(), CancelToken()),
    ],
)
def test_what_would_change_it_is_refused_and_says_why(
    folder: Path, stack: Path, change: Callable[..., object]
) -> None:
    source = inspect_source(stack)
    before = _contents(folder)
    with (
        Project.open(folder, read_only=True) as project,
        pytest.raises(ProjectError, match="read only and cannot be changed"),
    ):
        change(project, source)
    assert _contents(folder) == before


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not a ParticleSeg project"):
        Project.open(tmp_path, read_only=True)
