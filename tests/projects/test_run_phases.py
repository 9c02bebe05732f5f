"""The phases of a run: kept beside its results, right after mends, in exports and on the command
line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from particleseg_app.cli import main
from particleseg_app.errors import Cancelled, InvalidValueError, ProjectError
from particleseg_app.particles import phase_files
from particleseg_app.particles.phase_counting import count_phases, shares_of
from particleseg_app.particles.phases import Phases, phase_names
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.phases import (
    phase_summaries,
    propose_run_phases,
    remove_run_phases,
    set_run_phases,
)
from particleseg_app.projects.review_files import open_review
from particleseg_app.projects.segmentation_job import run_table

RUN = "run-001"
SETTINGS = ["--voxel-size-um", "5", "--particle-diameter-um", "70", "--method", "threshwater"]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen balls of quartz and pyrite, one half and half."""
    folder = tmp_path_factory.mktemp("phases")
    shape = (40, 60, 80)
    grid = np.indices(shape)
    grey = np.random.default_rng(3).normal(2000, 100, shape)
    number = 0
    for z in (11, 29):
        for y in (11, 30, 49):
            for x in (11, 31, 51, 69):
                inside = sum((grid[a] - c) ** 2 for a, c in enumerate((z, y, x))) <= 64
                grey[inside] += 5000 if number % 3 else 9000
                if number == 5:
                    grey[inside & (grid[2] > x)] += 4000
                number += 1
    tifffile.imwrite(folder / "balls.tif", grey.astype(np.uint16), photometric="minisblack")
    out = folder / "project"
    assert main(["segment", str(folder / "balls.tif"), *SETTINGS, "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(segmented: Path) -> Path:
    """The run without phases and mends."""
    run = segmented / "runs" / RUN
    (run / "review.sqlite").unlink(missing_ok=True)
    phase_files.remove_phases(run)
    return segmented


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir()}


def find(project: Project) -> None:
    found = propose_run_phases(project, RUN, Progress(), CancelToken())
    phases = Phases(("Quartz", "Pyrite"), found.phases.thresholds)
    set_run_phases(project, RUN, phases, found.histogram, Progress(), CancelToken())


def test_a_run_gets_phases_and_loses_them_and_nothing_else_changes(folder):
    run = folder / "runs" / RUN
    before = contents(run)
    with Project.open(folder) as project:
        plain = run_table(project, RUN)
        find(project)
        table = run_table(project, RUN)
        assert phase_names(table) == ("Quartz", "Pyrite")
        assert (table["main_phase"] == "Pyrite").sum() == 8
        mixed = table[(table["share_pyrite"] > 0.2) & (table["share_pyrite"] < 0.8)]
        assert len(mixed) == 1
        # Half without the plane in the middle, and without the rim.
        assert mixed["share_pyrite"].iloc[0] == pytest.approx(0.43, abs=0.04)
        np.testing.assert_allclose(table["share_quartz"] + table["share_pyrite"], 1.0)
        stored = phase_files.load_phases(run)
        assert stored is not None
        quartz, pyrite = phase_summaries(table, stored.phases)
        assert quartz.up_to == pyrite.above == stored.phases.thresholds[0]
        assert pyrite.volume_share == pytest.approx(8.5 / 24, abs=0.03)
        assert quartz.particles == 16
        remove_run_phases(project, RUN)
        pd.testing.assert_frame_equal(run_table(project, RUN), plain)
    assert contents(run) == before


def test_the_table_with_mends_has_the_phases_of_the_mended_labels(folder):
    with Project.open(folder) as project:
        find(project)
        with open_review(project, RUN) as review, project.open_scan("scan-001") as scan:
            tools = review.mending(None)
            assert review.phases is not None
            table = review.table(scan, Progress(), CancelToken())
            segmented = table

            def check(changed: frozenset[int]) -> None:
                nonlocal table
                work = (Progress(), CancelToken())
                table = review.table_after(table, changed, scan, *work)
                pd.testing.assert_frame_equal(table, review.table(scan, *work), check_exact=True)
                thresholds = review.phases.phases.thresholds
                counts = count_phases(review.labels, scan, thresholds, *work)
                shares = shares_of(counts[table["label"].to_numpy()])
                np.testing.assert_array_equal(table[["share_quartz", "share_pyrite"]], shares)
                assert phase_names(table) == ("Quartz", "Pyrite")

            check(tools.apply(tools.preview_merge([1, 2]), "merge", "Merged").labels)
            assert table["share_pyrite"].iloc[0] == pytest.approx(0.5, abs=0.05)
            check(tools.apply(tools.preview_delete([5]), "delete", "Deleted").labels)
            check(tools.apply(tools.preview_erase([(11, 11, 69)], 3), "erase", "Erased").labels)
            for _ in range(3):
                check(review.journal.undo().labels)
            pd.testing.assert_frame_equal(table, segmented, check_exact=True)


def test_other_thresholds_replace_and_other_names_only_rename(folder, monkeypatch):
    run = folder / "runs" / RUN
    with Project.open(folder) as project:
        find(project)
        stored = phase_files.load_phases(run)
        shares = stored.shares_path.read_bytes()
        monkeypatch.setattr(
            "particleseg_app.projects.phases.count_phases", lambda *a, **k: pytest.fail("counted")
        )
        renamed = Phases(("A", "B"), stored.phases.thresholds)
        set_run_phases(project, RUN, renamed, stored.histogram, Progress(), CancelToken())
        monkeypatch.undo()
        assert stored.shares_path.read_bytes() == shares
        assert "share_b" in run_table(project, RUN)
        three = Phases.numbered((4000.0, 9000.0))
        set_run_phases(project, RUN, three, stored.histogram, Progress(), CancelToken())
        assert phase_names(run_table(project, RUN)) == ("Phase 1", "Phase 2", "Phase 3")
        assert len(list(run.glob("phase_shares-*"))) == 1


def test_whatever_stops_it_the_earlier_phases_stay_whole(folder, monkeypatch):
    run = folder / "runs" / RUN
    with Project.open(folder) as project:
        find(project)
        before = run_table(project, RUN)
        stored = phase_files.load_phases(run)
        other = Phases.numbered((4000.0, 9000.0))
        cancelled = CancelToken()
        cancelled.cancel()
        with pytest.raises(Cancelled):
            set_run_phases(project, RUN, other, stored.histogram, Progress(), cancelled)
        renamed = Phases(("Dark", *stored.phases.names[1:]), stored.phases.thresholds)
        with monkeypatch.context() as patched:
            patched.setattr(
                phase_files, "write_json", lambda *a: (_ for _ in ()).throw(OSError(28, "full"))
            )
            with pytest.raises(ProjectError, match="cannot be kept"):
                set_run_phases(project, RUN, renamed, stored.histogram, Progress(), CancelToken())
        for name in ("write_json", "_remove_shares"):  # before and after the last step
            monkeypatch.setattr(
                phase_files, name, lambda *a, **k: (_ for _ in ()).throw(OSError(28, "full"))
            )
            with pytest.raises(ProjectError, match="cannot be kept"):
                set_run_phases(project, RUN, other, stored.histogram, Progress(), CancelToken())
            monkeypatch.undo()
            if name == "write_json":
                pd.testing.assert_frame_equal(run_table(project, RUN), before)
        assert phase_names(run_table(project, RUN)) == other.names
        set_run_phases(project, RUN, stored.phases, stored.histogram, Progress(), CancelToken())
        assert len(list(run.glob("phase_shares-*"))) == 1


def test_damaged_or_foreign_phases_are_told(folder):
    run = folder / "runs" / RUN
    with Project.open(folder) as project:
        find(project)
        path = run / "phases.json"
        whole = json.loads(path.read_text())
        for change in ({"names": ["a"]}, {"histogram": None}, {"format": "else"}):
            path.write_text(json.dumps({**whole, **change}))
            with pytest.raises(ProjectError, match=r"cannot be read.*phases.json"):
                run_table(project, RUN)
        path.write_text(json.dumps({**whole, "format_version": 99}))
        with pytest.raises(ProjectError, match="newer"):
            open_review(project, RUN)
        path.write_text(json.dumps(whole))
        next(run.glob("phase_shares-*")).unlink()
        with pytest.raises(ProjectError, match="cannot be read"):
            run_table(project, RUN)


def test_a_read_only_project_keeps_no_phases(folder):
    with Project.open(folder, read_only=True) as project:
        found = propose_run_phases(project, RUN, Progress(), CancelToken())
        assert found.count == 2
        with pytest.raises(ProjectError, match="read only"):
            set_run_phases(project, RUN, found.phases, found.histogram, Progress(), CancelToken())
        with pytest.raises(ProjectError, match="read only"):
            remove_run_phases(project, RUN)


def test_the_command_finds_names_exports_and_removes_them(folder, tmp_path, capsys):
    assert main(["phases", str(folder)]) == 0
    found = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in found] == ["Phase", "Phase 1", "Phase 2"]
    assert found[2].rstrip().endswith("8 particles")
    assert main(["phases", str(folder), "--names", "Quartz, Pyrite"]) == 0
    assert main(["export", str(folder), "--csv", str(tmp_path / "t.csv")]) == 0
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table.columns)[-3:] == ["main_phase", "share_quartz", "share_pyrite"]
    assert table["main_phase"].value_counts().to_dict() == {"Quartz": 16, "Pyrite": 8}
    about = json.loads((tmp_path / "t.json").read_text())
    assert about["provenance"]["phases"]["names"] == ["Quartz", "Pyrite"]
    assert len(about["provenance"]["phases"]["thresholds"]) == 1
    assert about["columns"][-1]["title"] == "Pyrite share"
    capsys.readouterr()
    assert main(["phases", str(folder), "--thresholds", "4000,8000,9500"]) == 0
    assert "4000 to 8000" in capsys.readouterr().out
    assert main(["phases", str(folder), "--count", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    with Project.open(folder):  # what is only shown may be open elsewhere
        assert main(["phases", str(folder)]) == 0
        assert main(["phases", str(folder), "--again"]) == 1
    assert main(["phases", str(folder), "--remove"]) == 0
    assert main(["export", str(folder), "--csv", str(tmp_path / "t.csv"), "--replace"]) == 0
    assert "main_phase" not in pd.read_csv(tmp_path / "t.csv")
    assert "phases" not in json.loads((tmp_path / "t.json").read_text())["provenance"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--thresholds", "dark"], 2),
        (["--thresholds", "1000", "--count", "2"], 2),
        (["--remove", "--again"], 2),
        (["--thresholds", "9000,4000"], 1),
        (["--thresholds", "4000", "--names", "A,B,C"], 1),
        (["--run", "run-009"], 1),
    ],
)
def test_a_mistake_is_told(folder, options, code, capsys):
    assert main(["phases", str(folder), *options]) == code
    assert "Unexpected" not in capsys.readouterr().err
    assert not (folder / "runs" / RUN / "phases.json").exists()


def test_impossible_names_change_nothing(folder):
    with Project.open(folder) as project:
        find(project)
        stored = phase_files.load_phases(folder / "runs" / RUN)
        with pytest.raises(InvalidValueError):
            phase_files.rename_phases(folder / "runs" / RUN, stored, ("A", "a"))
        assert phase_names(run_table(project, RUN)) == ("Quartz", "Pyrite")
