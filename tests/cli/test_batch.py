"""`particleseg batch`: many scans in a row, with errors among them, interrupted and continued."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.cli.main import main
from particleseg_app.projects import Project
from particleseg_app.segmentation import particles_of_run

SHAPE = (24, 32, 36)


def write_balls(path: Path, count: int) -> None:
    grey = np.random.default_rng(count).normal(10000, 800, SHAPE)
    z, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    for number in range(count):
        centre = (12, 8 + 15 * (number // 2), 8 + 17 * (number % 2))
        inside = sum((g - c) ** 2 for g, c in zip((z, y, x), centre, strict=True)) <= 25
        grey[inside] += 20000
    tifffile.imwrite(path, np.clip(grey, 0, 65535).astype(np.uint16), photometric="minisblack")


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for count in (2, 3, 4):
        write_balls(folder / f"balls {count}.tif", count)
    return folder


def run(scans: Path, out: Path, *more: str) -> int:
    return main(
        ["batch", str(scans), "--out", str(out), "--voxel-size-um", "10",
         "--particle-diameter-um", "100", "--method", "threshwater", *more]
    )  # fmt: skip


def summary(out: Path, name: str = "summary.csv") -> dict[str, dict[str, str]]:
    with (out / name).open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_folder_becomes_projects_and_a_summary(scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(scans, out) == 0
    rows = summary(out)
    assert {name: row["particles"] for name, row in rows.items()} == {
        "balls 2": "2",
        "balls 3": "3",
        "balls 4": "4",
    }
    for name, row in rows.items():
        assert row["state"] == "finished" and row["message"] == ""
        assert 80 < float(row["d10_um"]) <= float(row["d50_um"]) <= float(row["p80_um"])
        assert float(row["p80_um"]) <= float(row["d90_um"]) < 120
        assert float(row["seconds"]) >= 0
        assert row["run"] == "run-001"
        assert row["table"] == str(out / name / "particles.csv")
        assert Path(row["table"]).exists()
    printed = capsys.readouterr().out
    assert "balls 3  finished" in printed
    assert str(out / "summary.csv") in printed


def test_the_summary_says_what_is_odd_about_scans_and_runs(scans, tmp_path):
    cut_off = tifffile.imread(scans / "balls 3.tif")
    tifffile.imwrite(scans / "balls 3.tif", cut_off.clip(9500), photometric="minisblack")
    listed = scans.parent / "list.csv"
    listed.write_text(
        "path,voxel_size_um,particle_diameter_um,threshold\n"
        "scans/balls 2.tif,10,100,20000\n"
        "scans/balls 3.tif,10,100,20000\n"
        "scans/balls 4.tif,10,100,60000\n"
    )
    out = tmp_path / "out"
    command = ["batch", str(listed), "--out", str(out), "--method", "threshwater"]
    assert main(command) == 0
    rows = summary(out)
    assert rows["balls 2"]["notes"] == ""
    assert "of all voxels have the darkest grey value" in rows["balls 3"]["notes"]
    assert rows["balls 3"]["particles"] == "3"
    assert rows["balls 4"]["notes"].startswith("No particles were found.")
    assert main(command) == 0
    assert summary(out) == rows


def test_an_error_in_one_scan_does_not_stop_the_others(scans, tmp_path, capsys):
    (scans / "balls 3.tif").write_bytes(b"II*\0 this is no image")
    (scans.parent / "list.csv").write_text(
        "path,voxel_size_um,particle_diameter_um,name\n"
        "scans/balls 2.tif,10,100,two\n"
        "scans/balls 3.tif,10,100,three\n"
        "scans/missing.tif,10,100,missing\n"
        "scans/balls 4.tif,10,100,four\n"
    )
    out = tmp_path / "out"
    arguments = ["batch", str(scans.parent / "list.csv"), "--out", str(out)]
    assert main([*arguments, "--method", "threshwater"]) == 1
    rows = summary(out)
    assert [rows[name]["state"] for name in ("two", "three", "missing", "four")] == [
        "finished",
        "failed",
        "failed",
        "finished",
    ]
    assert "balls 3.tif" in rows["three"]["message"]
    assert "does not exist" in rows["missing"]["message"]
    assert rows["three"]["particles"] == ""
    assert "does not exist" in capsys.readouterr().out


def test_the_same_command_does_only_what_is_missing(scans, tmp_path, monkeypatch):
    out = tmp_path / "out"
    really = particles_of_run.particles_from_classes
    calls = []

    def failing_once(*arguments, **options):
        calls.append(len(calls))
        if len(calls) == 2:
            raise RuntimeError("a bug")
        return really(*arguments, **options)

    monkeypatch.setattr(particles_of_run, "particles_from_classes", failing_once)
    assert run(scans, out) == 1
    rows = summary(out)
    assert [row["state"] for row in rows.values()] == ["finished", "failed", "finished"]
    assert "a bug" in rows["balls 3"]["message"]
    first = (out / "balls 2" / "particles.csv").stat().st_mtime_ns
    assert run(scans, out) == 0
    assert len(calls) == 4, "only the failed scan was segmented again"
    assert (out / "balls 2" / "particles.csv").stat().st_mtime_ns == first
    again = summary(out)
    assert [row["state"] for row in again.values()] == ["finished"] * 3
    assert again["balls 2"] == rows["balls 2"]
    with Project.open(out / "balls 3") as project:
        assert len(project.scans) == len(project.runs) == 1


def test_a_cancel_ends_the_batch_and_says_what_is_left(scans, tmp_path, monkeypatch, capsys):
    from particleseg_app.errors import Cancelled

    def cancelled(*arguments, **options):
        raise Cancelled

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(particles_of_run, "particles_from_classes", cancelled)
        assert run(scans, out) == 1
    states = [row["state"] for row in summary(out).values()]
    assert states == ["interrupted", "waiting", "waiting"]
    assert run(scans, out) == 0
    assert [row["state"] for row in summary(out).values()] == ["finished"] * 3


def test_a_scan_that_needs_a_new_run_says_how(scans, tmp_path):
    out = tmp_path / "out"
    for scan in ("balls 3.tif", "balls 4.tif"):
        (scans / scan).unlink()
    assert run(scans, out) == 0
    folder = out / "balls 2" / "runs" / "run-001"
    (folder / "provenance.json").unlink()
    (folder / "settings.json").write_text("[]")
    assert run(scans, out) == 1
    assert summary(out)["balls 2"]["message"].endswith("start it again (segment --new-run).")


def test_other_settings_are_another_run_and_another_summary(scans, tmp_path, capsys):
    out = tmp_path / "out"
    for scan in ("balls 3.tif", "balls 4.tif"):
        (scans / scan).unlink()
    assert run(scans, out) == 0
    first = (out / "balls 2" / "particles.csv").read_bytes()
    first_summary = (out / "summary.csv").read_bytes()
    for _ in range(2):  # done, then found again
        assert main(
            ["batch", str(scans), "--out", str(out), "--voxel-size-um", "10",
             "--particle-diameter-um", "90", "--method", "threshwater"]
        ) == 0  # fmt: skip
        table = Path(summary(out, "summary_2.csv")["balls 2"]["table"])
        assert table == out / "balls 2" / "particles_balls_2_run-002.csv"
        assert table.exists()
    assert (out / "balls 2" / "particles.csv").read_bytes() == first
    assert (out / "summary.csv").read_bytes() == first_summary
    assert not (out / "summary_3.csv").exists()
    notes = capsys.readouterr().err
    assert f"summary.csv in {out} is of other scans or settings" in notes
    assert "writes summary_2.csv" in notes
    with Project.open(out / "balls 2") as project:
        assert len(project.scans) == 1
        assert len(project.runs) == 2


def test_a_summary_is_only_replaced_by_one_that_holds_its_scans(scans, tmp_path):
    out = tmp_path / "out"
    listed = tmp_path / "list.csv"
    header = "path,voxel_size_um,particle_diameter_um\n"
    one, two, three = (f"scans/balls {count}.tif,10,100\n" for count in (2, 3, 4))

    def names(*lines: str) -> dict[str, list[str]]:
        listed.write_text(header + "".join(lines))
        main(["batch", str(listed), "--out", str(out), "--method", "threshwater"])
        return {path.name: list(summary(out, path.name)) for path in out.glob("summary*")}

    assert names(one, "scans/lost.tif,10,100\n") == {"summary.csv": ["balls 2", "lost.tif"]}
    # Corrected and longer, it is the same batch still.
    assert names(one, two) == {"summary.csv": ["balls 2", "balls 3"]}
    # Without a finished scan, and with others only, it would be lost.
    both = {"summary.csv": ["balls 2", "balls 3"], "summary_2.csv": ["balls 3"]}
    assert names(two) == both
    assert names(two) == both
    assert names(one, two, three)["summary.csv"] == ["balls 2", "balls 3", "balls 4"]
    # Not one of this program's, or changed in another one.
    (out / "summary.csv").write_text("mine")
    assert names(three) == both | {"summary.csv": [], "summary_3.csv": ["balls 4"]}
    assert (out / "summary.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--voxel-size-um", "10"], "belong together"),
        (["--voxel-size-um", "10", "--particle-diameter-um", "11"], "average particle"),
        ([], "Voxel size and particle diameter are missing"),
        (["--method", "nnunet", "--threshold", "300"], "--threshold belongs to"),
        (
            ["--voxel-size-um", "10", "--particle-diameter-um", "99", "--cluster", "x"],
            "not the address of a cluster",
        ),
    ],
)
def test_wrong_usage_is_told_before_anything_is_done(scans, tmp_path, capsys, arguments, sentence):
    out = tmp_path / "out"
    options = ["--method", "threshwater", *arguments]
    assert main(["batch", str(scans), "--out", str(out), *options]) == 1
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_what_is_asked_for_reaches_the_runs(scans, tmp_path):
    out = tmp_path / "out"
    for scan in ("balls 3.tif", "balls 4.tif"):
        (scans / scan).unlink()
    assert main(
        ["batch", str(scans), "--out", str(out), "--voxel-size-um", "10", "--all-tiles",
         "--keep-containers", "--keep-noise",
         "--particle-diameter-um", "90", "--method", "threshwater", "--threshold", "20000"]
    ) == 0  # fmt: skip
    with Project.open(out / "balls 2") as project:
        (run,) = project.runs
        assert run.settings["threshold"] == 20000
        assert run.settings["skip_background"] is False
        assert run.settings["leave_out_containers"] is False
        assert run.settings["denoise"] is False


def test_an_output_folder_that_cannot_be(scans, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(scans, tmp_path / "file") == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_a_batch_on_a_cluster(scans, tmp_path):
    pytest.importorskip("distributed")
    (scans / "balls 3.tif").unlink()
    assert run(scans, tmp_path / "here") == 0
    assert run(scans, tmp_path / "there", "--cluster", "local:1") == 0
    for name in ("balls 2", "balls 4"):
        here, there = (tmp_path / place / name / "particles.csv" for place in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


def test_a_cluster_that_is_lost_may_come_back_for_the_next_scan(scans, tmp_path):
    from contextlib import nullcontext

    from particleseg_app.errors import RunError
    from particleseg_app.progress import CancelToken, Progress
    from particleseg_app.projects.batch import run_batch
    from particleseg_app.projects.batch_list import batch_entries
    from particleseg_app.segmentation import RunSettings

    common = RunSettings(10, 100, method="threshwater")
    entries = batch_entries(scans, common, lambda settings: settings)
    answers = iter([None, RunError("The cluster is lost.", "Wait."), None])

    def connect():
        answer = next(answers)
        if answer is not None:
            raise answer

    rows = run_batch(
        entries,
        tmp_path / "out",
        tmp_path / "out" / "summary.csv",
        lambda: nullcontext((Progress(), CancelToken())),
        connect=connect,
    )
    assert [row.state for row in rows] == ["finished", "failed", "finished"]
    assert rows[1].message == "The cluster is lost. Wait."
