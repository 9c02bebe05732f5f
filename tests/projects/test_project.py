"""The project folder: made, opened, changed and tidied up, and refused when it must be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.errors import Cancelled, InvalidValueError, ProjectError, ScanError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project, ScanEntry, is_project
from particleseg_app.volumes import inspect_source


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "Sample 7.tif"
    volume = np.random.default_rng(0).integers(0, 60000, (12, 40, 50), dtype=np.uint16)
    tifffile.imwrite(path, volume, resolution=(800, 800), resolutionunit="CENTIMETER")
    return path


def _add(project: Project, stack: Path) -> ScanEntry:
    return project.add_scan(inspect_source(stack), Progress(), CancelToken())


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "project.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _refused(folder: Path) -> str:
    with pytest.raises(ProjectError) as caught:
        Project.open(folder)
    assert caught.value.sentence.endswith(".")
    return caught.value.sentence


def test_everything_is_there_after_reopening(tmp_path: Path, stack: Path) -> None:
    folder = tmp_path / "Ore body äöü"
    with Project.create(folder) as project:
        assert project.name == "Ore body äöü"
        entry = _add(project, stack)
        assert entry.name == "Sample 7"
        assert entry.proposed_voxel_size_um == pytest.approx(12.5)
        assert entry.voxel_size_um is None
        project.set_scan_answers(entry.id, voxel_size_um=13.0)
        project.set_scan_answers(entry.id, particle_diameter_um=200.0)
        run = project.new_run(entry.id, {"method": "nnunet", "scale": 1.5, "µ": None})
        (project.run_folder(run.id) / "labels.h5").write_bytes(b"x")
        project.rename("Ore 12")
        before = project.scans, project.runs
    assert is_project(folder)
    with Project.open(folder / "project.json") as project:
        assert project.name == "Ore 12"
        assert (project.scans, project.runs) == before
        assert project.scans[0].shape == (12, 40, 50)
        assert project.scans[0].voxel_size_um == 13.0
        assert project.scans[0].particle_diameter_um == 200.0
        assert project.runs[0].settings == {"method": "nnunet", "scale": 1.5, "µ": None}
        with project.open_scan(entry.id) as scan:
            np.testing.assert_array_equal(scan.read_slice(0, 3), tifffile.imread(stack, key=3))
    assert sorted(p.name for p in folder.iterdir()) == ["project.json", "runs", "scans"]


def test_removed_scans_and_runs_are_gone_and_their_numbers_stay_unused(
    tmp_path: Path, stack: Path
) -> None:
    with Project.create(tmp_path / "p") as project:
        first, second = _add(project, stack), _add(project, stack)
        run = project.new_run(first.id, {})
        with pytest.raises(ProjectError, match="1 run"):
            project.remove_scan(first.id)
        project.remove_run(run.id)
        assert not (project.folder / "runs" / run.id).exists()
        project.remove_scan(first.id)
        assert project.scans == (second,)
        assert not project.scan_folder(first.id).exists()
        third = _add(project, stack)
        assert third.id not in (first.id, second.id)
        project.new_run(third.id, {})
        project.remove_scan(third.id, with_runs=True)
        assert project.runs == ()
        with pytest.raises(ProjectError):
            project.open_scan(third.id)
        with pytest.raises(ProjectError):
            project.run_folder(run.id)


def test_impossible_answers_are_refused_and_not_kept(tmp_path: Path, stack: Path) -> None:
    with Project.create(tmp_path / "p") as project:
        entry = _add(project, stack)
        for answers in ({"voxel_size_um": -1.0}, {"particle_diameter_um": float("nan")}):
            with pytest.raises(InvalidValueError):
                project.set_scan_answers(entry.id, **answers)
        project.set_scan_answers(entry.id, voxel_size_um=10)
        with pytest.raises(InvalidValueError):
            project.set_scan_answers(entry.id, particle_diameter_um=11)
        assert project.scan(entry.id).particle_diameter_um is None
        with pytest.raises(ProjectError):
            project.rename("  ")


def test_failed_and_cancelled_imports_leave_the_project_as_it_was(
    tmp_path: Path, stack: Path
) -> None:
    with Project.create(tmp_path / "p") as project:
        source = inspect_source(stack)
        cancel = CancelToken()
        cancel.cancel()
        with pytest.raises(Cancelled):
            project.add_scan(source, Progress(), cancel)
        stack.unlink()
        with pytest.raises(ScanError):
            project.add_scan(source, Progress(), CancelToken())
        assert project.scans == ()
        assert list((project.folder / "scans").iterdir()) == []


def test_an_interrupted_import_is_undone_or_finished_when_opening(
    tmp_path: Path, stack: Path
) -> None:
    folder = tmp_path / "p"
    with Project.create(folder) as project:
        entry = _add(project, stack)
    # Killed while importing: no entry yet. Killed just before the last step: entry, old folder.
    half = folder / "scans" / ".importing-scan-002"
    half.mkdir()
    (half / "scan.h5.part").write_bytes(b"half")
    (folder / "scans" / entry.id).rename(folder / "scans" / f".importing-{entry.id}")
    (folder / "project.json.part").write_bytes(b"half")
    with Project.open(folder) as project:
        assert [p.name for p in (folder / "scans").iterdir()] == [entry.id]
        assert not (folder / "project.json.part").exists()
        project.open_scan(entry.id).close()


def test_an_interrupted_removal_is_finished_when_opening(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    Project.create(folder).close()
    gone = folder / "runs" / "run-001"
    gone.mkdir(parents=True)
    outside = tmp_path / "precious"
    outside.mkdir()
    _edit(folder, to_delete=["runs/run-001", "../precious", "runs/../../precious"])
    with Project.open(folder):
        assert not gone.exists()
        assert outside.exists()


def test_missing_scan_file(tmp_path: Path, stack: Path) -> None:
    with Project.create(tmp_path / "p") as project:
        entry = _add(project, stack)
        (project.scan_folder(entry.id) / "scan.h5").unlink()
        with pytest.raises(ScanError):
            project.open_scan(entry.id)


def test_what_is_no_project(tmp_path: Path) -> None:
    assert "no folder" in _refused(tmp_path / "nowhere")
    assert "not a ParticleSeg project" in _refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_newer_version_is_refused_politely(tmp_path: Path) -> None:
    Project.create(tmp_path / "p").close()
    _edit(tmp_path / "p", format_version=2, new_things={"a": 1})
    before = (tmp_path / "p" / "project.json").read_bytes()
    assert "newer version" in _refused(tmp_path / "p")
    assert (tmp_path / "p" / "project.json").read_bytes() == before
    assert not (tmp_path / "p" / ".lock").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00\x00",
        "{}",
        '{"format": "particleseg project"}',
        '{"format": "particleseg project", "format_version": "one"}',
        '{"format": "particleseg project", "format_version": 1, "scans": 3}',
        "[" * 100_000,
    ],
)
def test_damaged_project_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "project.json").write_text(content)
    assert "damaged" in _refused(tmp_path)
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("bad", ["../outside", "/etc", "", "a/b", "a\\b", "."])
def test_project_files_cannot_point_outside(tmp_path: Path, stack: Path, bad: str) -> None:
    with Project.create(tmp_path / "p") as project:
        _add(project, stack)
    scans = json.loads((tmp_path / "p" / "project.json").read_text())["scans"]
    scans[0]["id"] = bad
    _edit(tmp_path / "p", scans=scans)
    assert "damaged" in _refused(tmp_path / "p")


def test_new_projects_go_into_empty_folders_only(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ProjectError, match="not empty"):
        Project.create(tmp_path)
    with pytest.raises(ProjectError, match="is a file"):
        Project.create(tmp_path / "photo.jpg")
    with pytest.raises(ProjectError, match="cannot be written"):
        Project.create(tmp_path / "photo.jpg" / "below")
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / "empty").mkdir()
    Project.create(tmp_path / "empty", "Name").close()
    with pytest.raises(ProjectError, match="already"):
        Project.create(tmp_path / "empty")


def test_a_closed_project_cannot_be_changed(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    project.close()
    project.close()
    with pytest.raises(ProjectError, match="closed"):
        project.rename("x")


def test_missing_run_folder_is_made_again(tmp_path: Path, stack: Path) -> None:
    with Project.create(tmp_path / "p") as project:
        run = project.new_run(_add(project, stack).id, {})
        project.run_folder(run.id).rmdir()
        assert project.run_folder(run.id).is_dir()


def test_files_of_others_in_the_folder_stay(tmp_path: Path) -> None:
    Project.create(tmp_path / "p").close()
    (tmp_path / "p" / "download.zip.part").write_text("mine")
    (tmp_path / "p" / "films.part").mkdir()
    (tmp_path / "p" / "project.json.part").mkdir()
    (tmp_path / "p" / "particles-2.csv.part").write_text("half written")
    Project.open(tmp_path / "p").close()
    assert (tmp_path / "p" / "download.zip.part").read_text() == "mine"
    assert (tmp_path / "p" / "films.part").is_dir()
    assert not (tmp_path / "p" / "particles-2.csv.part").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"next_scan": float("inf")},
        {"voxel_size_um": 10**400},
        {"imported_at": "yesterday"},
        {"imported_at": 5},
        {"source": ["a"]},
        {"name": None},
        {"shape": [1, 2]},
    ],
)
def test_impossible_entries_are_told(
    tmp_path: Path, stack: Path, changes: dict[str, object]
) -> None:
    with Project.create(tmp_path / "p") as project:
        _add(project, stack)
    path = tmp_path / "p" / "project.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        (content if key == "next_scan" else content["scans"][0])[key] = value
    path.write_text(json.dumps(content))
    assert "damaged" in _refused(tmp_path / "p")
