"""The command line as people and scripts use it: files, messages, exit codes."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from particleseg_app import __version__
from particleseg_app.cli import main
from particleseg_app.errors import Cancelled, CardError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.segmentation_job import run_segmentation_job
from particleseg_app.segmentation.network_stage import ChunkPredictor
from particleseg_app.units import Box
from particleseg_app.volumes import open_labels

from ..models.tiny_model import write_tiny_model

REPOSITORY = Path(__file__).parents[2]
SETTINGS = ["--voxel-size-um", "5", "--particle-diameter-um", "60", "--method", "threshwater"]


def write_scan(path: Path, depth: int = 30, balls: int = 2) -> None:
    """Bright balls of 12 voxels in dark noise, as a 16-bit TIFF stack."""
    rng = np.random.default_rng(3)
    width = 20 * balls
    grey = rng.normal(2000, 100, (depth, width, width))
    ball = (np.indices((13, 13, 13)) - 6.0) ** 2
    inside = 6000 * (ball.sum(0) <= 36)
    for z in range(10, depth - 8, 18):
        for y in range(10, width, 20):
            for x in range(10, width, 20):
                grey[z - 6 : z + 7, y - 6 : y + 7, x - 6 : x + 7] += inside
    tifffile.imwrite(path, grey.astype(np.uint16), photometric="minisblack")


def labels_of(project: Path, run_id: str = "run-001") -> np.ndarray:
    with open_labels(project / "runs" / run_id / "labels.h5") as labels:
        return labels.read(Box.whole(labels.shape))


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "balls.tif"
    write_scan(path)
    return path


@pytest.fixture(scope="module")
def finished(scan, tmp_path_factory) -> Path:
    project = tmp_path_factory.mktemp("projects") / "balls"
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    return project


@pytest.fixture
def project(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "balls"))


def test_propose_diameter_says_how_large_particles_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "scan.tif", depth=60, balls=4)
    assert main(["propose-diameter", str(tmp_path / "scan.tif"), "--voxel-size-um", "5"]) == 0
    told = re.match(r"particle diameter: ([\d.]+) µm \(([\d.]+) voxels\), between",
                    capsys.readouterr().out)  # fmt: skip
    assert told is not None
    assert float(told[1]) == pytest.approx(60, rel=0.15)
    assert float(told[2]) == pytest.approx(12, rel=0.15)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.tif"]


def test_propose_diameter_says_that_there_are_no_particles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.full((30, 40, 50), 7, np.uint16))
    assert main(["propose-diameter", str(tmp_path / "scan.tif")]) == 1
    assert "Nothing like particles" in capsys.readouterr().err


def test_segment_leaves_a_project_labels_and_a_table(finished, scan):
    table = pd.read_csv(finished / "particles.csv")
    labels = tifffile.imread(finished / "labels.tif")
    assert len(table) == labels.max() == 4
    assert table.equivalent_diameter_um.between(55, 70).all()
    assert np.array_equal(labels, labels_of(finished))
    about = json.loads((finished / "particles.json").read_text(encoding="utf-8"))
    provenance = about["provenance"]
    assert provenance["scan_name"] == "balls"
    assert Path(provenance["scan_source"]) == scan
    assert provenance["scan_shape_zyx"] == [30, 40, 40]
    assert provenance["voxel_size_um"] == 5
    assert provenance["particle_diameter_um"] == 60
    assert provenance["method"] == "threshwater"
    assert provenance["program_version"] == __version__
    assert provenance["particle_count"] == about["row_count"] == 4
    assert provenance["run_seconds"] >= 0
    with Project.open(finished) as opened:
        assert len(opened.scans) == len(opened.runs) == 1
        assert opened.scans[0].voxel_size_um == 5


def test_the_same_command_again_writes_the_same_files(project, scan, capsys):
    before = (project / "particles.csv").read_bytes()
    (project / "labels.tif").unlink()
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("4 particles")
    assert "finished already" in captured.err
    assert (project / "particles.csv").read_bytes() == before
    assert (project / "labels.tif").exists()
    with Project.open(project) as opened:
        assert len(opened.runs) == 1


def test_other_settings_or_new_run_add_a_run_but_not_a_scan(project, scan):
    out = ["--out", str(project)]
    assert main(["segment", str(scan), *SETTINGS, "--threshold", "5000", *out]) == 0
    assert main(["segment", str(scan), *SETTINGS, "--new-run", *out]) == 0
    with Project.open(project) as opened:
        assert [run.id for run in opened.runs] == ["run-001", "run-002", "run-003"]
        assert opened.runs[1].settings["threshold"] == 5000
        assert [run.settings["denoise"] for run in opened.runs] == [True] * 3
        assert len(opened.scans) == 1


def test_two_scans_and_two_runs_of_one_project_keep_their_files(project, tmp_path, capsys):
    first = {path.name: path.read_bytes() for path in project.glob("*.*")}
    del first["project.json"]
    assert set(first) == {"particles.csv", "particles.json", "labels.tif"}
    other = tmp_path / "drum 2.tif"
    write_scan(other, balls=1)
    out = ["--out", str(project)]
    assert main(["segment", str(other), *SETTINGS, *out]) == 0
    captured = capsys.readouterr()
    assert str(project / "particles_drum_2_run-002.csv") in captured.out
    assert "stay as they are" in captured.err
    assert main(["segment", str(other), *SETTINGS, "--threshold", "5000", *out]) == 0
    for name, content in first.items():
        assert (project / name).read_bytes() == content
    for run in ("run-002", "run-003"):
        about = json.loads((project / f"particles_drum_2_{run}.json").read_text())
        assert (about["provenance"]["run"], about["file"]) == (run, f"particles_drum_2_{run}.csv")
        labels = tifffile.imread(project / f"labels_drum_2_{run}.tif")
        assert np.array_equal(labels, labels_of(project, run))
    before = sorted(path.name for path in project.iterdir())
    capsys.readouterr()
    assert main(["segment", str(other), *SETTINGS, *out]) == 0
    assert str(project / "particles_drum_2_run-002.csv") in capsys.readouterr().out
    assert sorted(path.name for path in project.iterdir()) == before


def test_files_of_others_beside_a_project_are_not_replaced(project, scan):
    with Project.open(project) as opened:
        opened.remove_run("run-001")
    (project / "labels.tif").unlink()
    (project / "particles.json").unlink()
    (project / "particles.csv").write_text("mine")
    (project / "labels_balls_run-002.tif").write_text("mine, too")
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    assert (project / "particles.csv").read_text() == "mine"
    assert (project / "labels_balls_run-002.tif").read_text() == "mine, too"
    assert len(pd.read_csv(project / "particles_balls_run-002_2.csv")) == 4


def test_a_run_whose_files_were_written_before_names_were_recorded_keeps_them(project, scan):
    file = project / "project.json"
    content = json.loads(file.read_text())
    assert content["runs"][0].pop("file_suffix") == ""
    file.write_text(json.dumps(content))
    (project / "labels.tif").write_text("old")
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    assert np.array_equal(tifffile.imread(project / "labels.tif"), labels_of(project))
    assert len(list(project.glob("*.csv"))) == 1


def test_a_project_file_cannot_send_results_elsewhere(project, scan, capsys):
    file = project / "project.json"
    content = json.loads(file.read_text())
    content["runs"][0]["file_suffix"] = "/../../out"
    file.write_text(json.dumps(content))
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_keeping_the_noise_is_another_run(project, scan):
    assert main(["segment", str(scan), *SETTINGS, "--keep-noise", "--out", str(project)]) == 0
    with Project.open(project) as opened:
        assert [run.settings["denoise"] for run in opened.runs] == [True, False]


def test_a_scan_that_has_changed_is_imported_again(tmp_path):
    scan, project = tmp_path / "scan.tif", tmp_path / "project"
    write_scan(scan)
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    later = scan.stat().st_mtime + 100
    os.utime(scan, (later, later))
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    with Project.open(project) as opened:
        assert len(opened.scans) == 2


def test_where_a_new_run_helps_the_option_is_named(project, scan, capsys):
    with Project.open(project) as opened:
        settings = {**opened.runs[0].settings}
        opened.remove_run("run-001")
        run = opened.new_run(opened.scans[0].id, settings)
        folder = opened.run_folder(run.id)
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "origin.json").write_text('{"method": "of another time"}')
    out = ["--out", str(project)]
    assert main(["segment", str(scan), *SETTINGS, *out]) == 1
    (error,) = capsys.readouterr().err.splitlines()[-1:]
    assert error.endswith("since this run was started. Start a new run (segment --new-run).")
    assert main(["segment", str(scan), *SETTINGS, *out, "--new-run"]) == 0
    (folder / "settings.json").write_text("{")
    assert main(["info", str(project)]) == 0
    assert "start it again (segment --new-run)" in capsys.readouterr().out


def test_what_simulate_wrote_can_be_segmented(tmp_path, capsys):
    simulated, project = tmp_path / "simulated", tmp_path / "project"
    size = ["--edge", "32", "--diameter-voxels", "10"]
    assert main(["simulate", str(simulated), *size]) == 0
    assert main(["segment", str(simulated), *SETTINGS, "--out", str(project)]) == 0
    assert "the scan in the folder scan is taken" in capsys.readouterr().err
    with Project.open(project) as opened:
        (entry,) = opened.scans
        assert entry.name == "simulated"
        assert Path(entry.source) == simulated / "scan"
        with opened.open_scan(entry.id) as scan:
            labels = tifffile.imread(simulated / "labels.tif")
            assert scan.statistics.maximum > labels.max()
    # Pointed at directly it is the same scan; a folder of labels alone is none.
    assert main(["segment", str(simulated / "scan"), *SETTINGS, "--out", str(project)]) == 0
    assert "finished already" in capsys.readouterr().err
    assert main(["segment", str(project), *SETTINGS, "--out", str(tmp_path / "again")]) == 1
    error = capsys.readouterr().err
    assert "holds labels (labels.tif), not a scan. Choose the folder with the scan's" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "again").exists()


def test_scans_of_a_project_can_be_told_apart_and_are_known_again_by_any_name(
    tmp_path, monkeypatch, capsys
):
    project = ["--out", str(tmp_path / "project")]
    for name in ("one", "two", "more/one"):
        (tmp_path / name).mkdir(parents=True)
        tifffile.imwrite(tmp_path / name / "labels.tif", np.zeros((8, 8, 8), np.uint8))
        (tmp_path / name / "scan").mkdir()
        write_scan(tmp_path / name / "scan" / "slices.tif")
    for name in ("one", "two/scan", "more/one"):
        assert main(["segment", str(tmp_path / name), *SETTINGS, *project]) == 0
    with Project.open(tmp_path / "project") as opened:
        assert [scan.name for scan in opened.scans] == ["one", "two", "one (2)"]
        opened.rename_scan(opened.scans[0].id, "drum 7")
    capsys.readouterr()
    monkeypatch.chdir(tmp_path / "one" / "scan")
    for name in ("one", "two", "more/one", "one/scan/slices.tif", "."):
        place = name if name == "." else str(tmp_path / name)
        assert main(["segment", place, *SETTINGS, *project]) == 0
        assert "finished already" in capsys.readouterr().err
    with Project.open(tmp_path / "project") as opened:
        assert [scan.name for scan in opened.scans] == ["drum 7", "two", "one (2)"]


def test_slices_that_were_lost_are_said_at_import(tmp_path, capsys):
    path = tmp_path / "scan.tif"
    write_scan(path)
    grey = tifffile.imread(path)
    grey[3], grey[21] = 2000, grey[20]
    tifffile.imwrite(path, grey, photometric="minisblack")
    assert main(["segment", str(path), *SETTINGS, "--out", str(tmp_path / "project")]) == 0
    said = capsys.readouterr().err
    assert "Slice 4 is blank" in said
    assert "Slice 22 is the same, voxel by voxel, as the slice before" in said


class CancelsAt(Progress):
    """Sets the cancel token when a stage of that name begins."""

    def __init__(self, stage: str, cancel: CancelToken) -> None:
        super().__init__()
        self.wanted, self.token = stage, cancel

    def start(self, stage: str, *args, **kwargs) -> None:
        super().start(stage, *args, **kwargs)
        if stage.startswith(self.wanted):
            self.token.cancel()


@pytest.mark.parametrize("stage", ["Finding particles", "Measuring particles"])
def test_a_cancelled_run_is_continued_and_gives_the_same(finished, project, scan, stage, capsys):
    with Project.open(project) as opened:
        settings = {**opened.runs[0].settings}
        opened.remove_run("run-001")
        run = opened.new_run(opened.scans[0].id, settings)
        cancel = CancelToken()
        with pytest.raises(Cancelled):
            run_segmentation_job(opened, run.id, CancelsAt(stage, cancel), cancel)
        assert not (opened.run_folder(run.id) / "particles.parquet").exists()
    assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 0
    assert "Continuing" in capsys.readouterr().err
    assert np.array_equal(labels_of(project, run.id), labels_of(finished))
    assert (project / "particles.csv").read_bytes() == (finished / "particles.csv").read_bytes()


def test_a_run_that_the_graphics_card_failed_goes_on_on_the_processor(
    tmp_path, scan, capsys, monkeypatch
):
    model = write_tiny_model(tmp_path / "tiny").folder
    command = ["segment", str(scan), *SETTINGS[:4], "--model", str(model)]
    command += ["--inference", "torch", "--out", str(tmp_path / "project")]

    def failing(*_: object) -> None:
        raise CardError("The graphics card reported an error.", "Continue on the processor.")

    with monkeypatch.context() as patched:
        patched.setattr(ChunkPredictor, "sums", failing)
        assert main(command) == 1
    assert "Continue on the processor (--device cpu)." in capsys.readouterr().err
    assert main([*command, "--device", "cpu"]) == 0
    assert "Continuing the run that ended with: The graphics card" in capsys.readouterr().err
    with Project.open(tmp_path / "project") as opened:
        assert [run.settings["device"] for run in opened.runs] == ["cpu"]
    # A finished run keeps the device that it was done on.
    assert main([*command, "--device", "auto"]) == 0
    with Project.open(tmp_path / "project") as opened:
        assert [run.settings["device"] for run in opened.runs] == ["cpu"]


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent differently there")
def test_ctrl_c_ends_with_one_sentence(tmp_path):
    scan = tmp_path / "scan.tif"
    write_scan(scan, depth=180, balls=8)
    command = [sys.executable, "-m", "particleseg_app.cli", "segment", str(scan), *SETTINGS]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "project")],
        cwd=REPOSITORY, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(("Importing", "Finding")):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 1
    assert rest.splitlines()[-1] == "Cancelled; the same command continues the run."
    assert "Traceback" not in rest
    with Project.open(tmp_path / "project"):
        pass


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ""),
        (["fly"], 2, "fly"),
        (["segment", "scan.tif"], 2, "voxel-size-um"),
        (["segment", "scan.tif", *SETTINGS, "--out", "p", "--preset", "lazy"], 2, "lazy"),
        (["segment", "scan.tif", *SETTINGS[:4], "--out", "p", "--threshold", "3"], 2, "threshold"),
        (["export", "p"], 2, "--csv"),
        (["segment", "missing.tif", *SETTINGS, "--out", "p"], 1, "missing.tif does not exist"),
        (["segment", "missing.tif", "--voxel-size-um", "0", *SETTINGS[2:], "--out", "p"], 1,
         "voxel size of 0 µm is not possible"),
        (["segment", "missing.tif", *SETTINGS[:4], "--model", "nothing", "--out", "p"], 1,
         "no model “nothing”"),
        (["info", "missing"], 1, "does not exist"),
        (["export", "missing", "--csv", "a.csv"], 1, "no folder"),
        (["evaluate", "missing.tif", "missing.tif"], 1, "missing.tif"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_so(arguments, code, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert words in captured.err + (captured.out if not arguments else "")
    assert "Traceback" not in captured.err
    if code == 1:
        assert len(captured.err.splitlines()) == 1
        assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_in_it_is_left_alone(scan, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["segment", str(scan), *SETTINGS, "--out", str(tmp_path)]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_verbose_shows_the_trace_and_unexpected_errors_are_named(monkeypatch, capsys):
    assert main(["info", "missing", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err
    import particleseg_app.models

    def broken():
        raise RuntimeError("a bug")

    monkeypatch.setattr(particleseg_app.models, "list_models", broken)
    assert main(["model", "list"]) == 1
    error = capsys.readouterr().err
    assert "Unexpected error (RuntimeError: a bug)" in error
    assert "Traceback" not in error


def test_version_from_a_shell():
    done = subprocess.run(
        [sys.executable, "-m", "particleseg_app.cli", "--version"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, f"ParticleSeg {__version__}")


def test_the_command_line_starts_without_the_heavy_libraries():
    code = (
        "import sys, particleseg_app.cli, particleseg_app.particles\n"
        "print([m for m in ('torch', 'numba', 'PySide6', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_evaluate_prints_and_writes_the_scores(tmp_path, capsys):
    labels = np.zeros((12, 12, 12), np.uint16)
    labels[2:6, 2:6, 2:6], labels[2:6, 2:6, 8:11] = 1, 2
    joined = np.where(labels > 0, 1, 0).astype(np.uint16)
    for name, array in (("reference.tif", labels), ("joined.tif", joined)):
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack")
    reference = str(tmp_path / "reference.tif")
    scores = tmp_path / "scores.json"
    assert main(["evaluate", reference, reference]) == 0
    assert "1.0000" in capsys.readouterr().out
    assert main(["evaluate", reference, str(tmp_path / "joined.tif"), "--json", str(scores)]) == 0
    assert "Merger ratio" in capsys.readouterr().out
    assert main(["evaluate", reference, reference, "--json", str(scores)]) == 1
    told = capsys.readouterr()
    assert f"{scores} is there already" in told.err
    assert "--replace" in told.err
    assert told.out == "", "it is refused before the labels are compared"
    written = json.loads(scores.read_text())["scores"]
    assert written["merger_ratio"] == 0.5
    assert written["f1"] == 1.0
    tifffile.imwrite(tmp_path / "small.tif", labels[:8], photometric="minisblack")
    assert main(["evaluate", reference, str(tmp_path / "small.tif")]) == 1
    assert main(["evaluate", reference, reference, "--json", str(tmp_path / "no" / "s.json")]) == 1
    assert "not there" in capsys.readouterr().err
    again = ["--json", str(scores), "--replace"]
    assert main(["evaluate", reference, reference, *again]) == 0
    assert json.loads(scores.read_text())["scores"]["merger_ratio"] == 0


def test_export_writes_what_was_asked_for(project, tmp_path, capsys):
    table, tiff, hdf5 = (tmp_path / name for name in ("t.csv", "l.tif", "l.h5"))
    arguments = ["--csv", str(table), "--labels-tiff", str(tiff), "--labels-hdf5", str(hdf5)]
    assert main(["export", str(project), *arguments]) == 0
    assert capsys.readouterr().out.split() == [
        str(p) for p in (table, table.with_suffix(".json"), tiff, hdf5)
    ]
    assert table.read_bytes() == (project / "particles.csv").read_bytes()
    import h5py

    with h5py.File(hdf5) as file:
        assert np.array_equal(file["labels"][:], tifffile.imread(tiff))


@pytest.mark.parametrize("there", ["t.csv", "t.json", "l.tif", "l.h5"])
def test_export_replaces_files_only_when_it_is_asked_to(there, project, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("t.csv", "l.tif", "l.h5")]
    options = ["--csv", paths[0], "--labels-tiff", paths[1], "--labels-hdf5", paths[2]]
    (tmp_path / there).write_text("mine")
    assert main(["export", str(project), *options]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / there} is there already" in error
    assert "--replace" in error
    assert [path.name for path in tmp_path.glob("?.*")] == [there]
    assert (tmp_path / there).read_text() == "mine"
    assert main(["export", str(project), *options, "--replace"]) == 0
    assert (tmp_path / there).read_bytes() != b"mine"


def test_what_cannot_be_exported_is_refused_before_anything_is_written(project, tmp_path, capsys):
    def refused(*options: str) -> str:
        assert main(["export", str(project), "--csv", str(tmp_path / "t.csv"), *options]) == 1
        assert not list(tmp_path.glob("t.*"))
        return capsys.readouterr().err

    same = str(tmp_path / "same")
    assert "same is named twice" in refused("--labels-tiff", same, "--labels-hdf5", same)
    assert "t.json is named twice" in refused("--labels-tiff", str(tmp_path / "t.json"))
    assert "no is not there" in refused("--labels-tiff", str(tmp_path / "no" / "l.tif"))
    assert f"{tmp_path} is a folder" in refused("--labels-tiff", str(tmp_path))
    assert "is a folder" in refused("--csv", ".")
    assert "no name for a CSV file" in refused("--csv", str(tmp_path / "t.json"))
    own = project / "runs" / "run-001" / "labels.h5"
    before = own.read_bytes()
    for path in (own, project / "project.json"):
        told = refused("--labels-hdf5", str(path), "--replace")
        assert f"{path} is kept for the project itself. Choose another folder." in told
    assert own.read_bytes() == before


def test_export_of_runs_that_are_not_there_or_not_finished(project, tmp_path, capsys):
    out = ["--csv", str(tmp_path / "t.csv")]
    assert main(["export", str(project), *out, "--run", "run-009"]) == 1
    assert "has no run run-009. It has run-001." in capsys.readouterr().err
    with Project.open(project) as opened:
        opened.new_run(opened.scans[0].id, dict(opened.runs[0].settings))
    assert main(["export", str(project), *out, "--run", "run-002"]) == 1
    assert "not finished" in capsys.readouterr().err
    assert main(["export", str(project), *out]) == 0
    with Project.open(project) as opened:
        opened.remove_run("run-001")
    assert main(["export", str(project), *out]) == 1
    assert "no finished run" in capsys.readouterr().err


def test_a_project_open_elsewhere_is_not_touched(project, scan, capsys):
    with Project.open(project):
        assert main(["segment", str(scan), *SETTINGS, "--out", str(project)]) == 1
    assert "open" in capsys.readouterr().err


def test_a_project_open_in_the_window_can_be_looked_at_and_exported(project, tmp_path, capsys):
    table = tmp_path / "t.csv"
    with Project.open(project):
        assert main(["info", str(project)]) == 0
        assert "finished, 4 particles" in capsys.readouterr().out
        assert main(["export", str(project), "--csv", str(table)]) == 0
    assert table.read_bytes() == (project / "particles.csv").read_bytes()


def test_info_of_a_project_and_a_scan(project, scan, capsys):
    assert main(["info", str(project)]) == 0
    about = capsys.readouterr().out
    assert "balls" in about
    assert "30 × 40 × 40 voxels" in about
    assert "finished, 4 particles" in about
    assert main(["info", str(scan)]) == 0
    assert "not stated" in capsys.readouterr().out


def test_models_and_devices(tmp_path, monkeypatch, capsys):
    assert main(["devices"]) == 0
    assert "cpu: Processor" in capsys.readouterr().out
    monkeypatch.setenv("PARTICLESEG_RESOURCES", str(tmp_path))
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    assert main(["model", "list"]) == 0
    assert "No models" in capsys.readouterr().out


def test_the_list_of_models_says_what_each_is_for(tmp_path, monkeypatch, capsys):
    from tests.models.tiny_model import write_tiny_model

    monkeypatch.setenv("PARTICLESEG_RESOURCES", str(tmp_path))
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    light = {"title": "Light model", "purpose": "Quicker, a little less accurate."}
    write_tiny_model(tmp_path / "models" / "light", card_changes=light)
    write_tiny_model(tmp_path / "models" / "default", card_changes={"title": "Default model"})
    assert main(["model", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "default: Default model, version 1.0",
        "light: Light model, version 1.0",
        "  Quicker, a little less accurate.",
    ]


def test_a_model_is_imported_listed_and_removed(tmp_path, monkeypatch, capsys):
    from tests.models.tiny_model import write_tiny_model

    monkeypatch.setenv("PARTICLESEG_RESOURCES", str(tmp_path))
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    folder = str(write_tiny_model(tmp_path / "tiny").folder)
    assert main(["model", "import", folder, "--name", "mine"]) == 0
    assert main(["model", "list"]) == 0
    assert "mine: mine, imported\n" in capsys.readouterr().out
    assert main(["model", "import", folder, "--name", "mine"]) == 1
    assert "There is a model “mine” already." in capsys.readouterr().err
    assert main(["model", "remove", "mine"]) == 0
    assert main(["model", "remove", "mine"]) == 1


def test_a_network_named_by_its_folder(scan, tmp_path, monkeypatch, capsys):
    from tests.models.tiny_model import write_tiny_model

    write_tiny_model(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "project"
    arguments = [*SETTINGS[:4], "--model", "tiny", "--device", "cpu", "--preset", "fast"]
    assert main(["segment", str(scan), *arguments, "--out", "project"]) == 0
    provenance = json.loads((out / "particles.json").read_text(encoding="utf-8"))["provenance"]
    assert provenance["model_name"] == "tiny"
    assert provenance["model_version"] == "1.0"
    assert provenance["preset"] == "fast"
    assert provenance["settings"]["model"] == str(tmp_path / "tiny")
    assert main(["info", "tiny"]) == 0
    assert "Tiny test model" in capsys.readouterr().out
    assert main(["segment", str(scan), *arguments, "--device", "gpu9", "--out", "project"]) == 1
    assert "no device “gpu9”" in capsys.readouterr().err


def test_a_simulated_scan_can_be_segmented_and_judged(tmp_path, capsys):
    out = tmp_path / "simulated"
    arguments = ["--preset", "soil", "--seed", "3", "--edge", "48", "--diameter-voxels", "12"]
    assert main(["simulate", str(out), *arguments]) == 0
    assert "120 µm (12 voxels) wide" in capsys.readouterr().out
    project = tmp_path / "project"
    sizes = ["--voxel-size-um", "10", "--particle-diameter-um", "120", "--method", "threshwater"]
    assert main(["segment", str(out / "scan"), *sizes, "--out", str(project)]) == 0
    assert main(["evaluate", str(out / "labels.tif"), str(project / "labels.tif")]) == 0
    assert "F1" in capsys.readouterr().out
    assert main(["simulate", str(out), *arguments]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["simulate", str(tmp_path / "other"), "--preset", "cheese"]) == 1
    assert "varied" in capsys.readouterr().err


def test_an_imported_model_says_what_is_assumed_of_it_and_how_it_is_used(
    tmp_path, monkeypatch, capsys
):
    from tests.models.tiny_model import write_tiny_model

    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    folder = write_tiny_model(tmp_path / "foreign").folder
    (folder / "model_card.json").unlink()
    command = ["model", "import", str(folder), "--name"]
    assert main([*command, "mine"]) == 0
    out = capsys.readouterr().out
    assert "particle diameter: 60 voxels, border thickness: 3 voxels" in out
    assert "grey scale: from each scan itself" in out
    assert "Use it with --model mine" in out
    assert main([*command, "other", "--grey-mean", "5"]) == 1
    assert capsys.readouterr().err.strip().endswith("Give both, or neither.")
    assert main([*command, "other", "--grey-mean", "5", "--grey-std", "2"]) == 0
    assert "grey scale: mean 5, standard deviation 2" in capsys.readouterr().out


def test_a_scan_that_cannot_be_simulated_is_told_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for out, options, words in (
        ("file", [], "is not an empty folder"),
        ("file/below", [], "Nothing can be written into"),
        ("small", ["--edge", "16", "--seed", "10"], "finds room in 16 voxels along each edge"),
        ("other", ["--preset", "cheese"], "no preset"),
    ):
        command = ["simulate", str(tmp_path / out), "--preset", "spaced", *options]
        assert main(command) == 1
        told = capsys.readouterr()
        assert words in told.err
        assert "Unexpected" not in told.err
        assert not (tmp_path / out).is_dir()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"),
         "There is no space left to write {out}/scan. Free some space, or choose a folder on"),
        (MemoryError(), "too little free memory for a scan of 32 voxels along each edge. Choose"),
    ],
)  # fmt: skip
def test_a_simulation_that_does_not_fit_is_told(error, words, tmp_path, monkeypatch, capsys):
    import particleseg_app.training.sample as sample

    def fails(path):
        raise error

    monkeypatch.setattr(sample, "part_file", fails)
    out = tmp_path / "out"
    assert main(["simulate", str(out), "--edge", "32", "--diameter-voxels", "9"]) == 1
    assert words.format(out=out) in capsys.readouterr().err
    assert not out.exists()


def test_a_simulated_scan_is_whole_or_not_there(tmp_path, monkeypatch):
    import particleseg_app.training.sample as sample

    out = tmp_path / "out"
    command = ["simulate", str(out), "--preset", "spaced", "--edge", "32", "--diameter-voxels", "9"]
    really, seen = sample.part_file, []

    def dies(path):
        seen.append({path.name for path in out.iterdir()})
        if len(seen) == 20:
            raise Cancelled
        return really(path)

    with monkeypatch.context() as patched:
        patched.setattr(sample, "part_file", dies)
        assert main(command) == 1
    assert seen[-1] == {"scan.part"}, "half of it does not look like a scan"
    assert not out.exists()
    # Killed in the last moment that there is, it begins anew.
    (out / "scan.part").mkdir(parents=True)
    (out / "scan.part" / "left.tif").write_text("half")
    (out / "labels.tif").write_text("half")
    assert main(command) == 0
    assert {path.name for path in out.iterdir()} == {"scan", "labels.tif"}
    assert len(list((out / "scan").iterdir())) == 32
    # What is whole is not replaced, nor labels that stand alone.
    assert main(command) == 1
    (out / "scan").rename(tmp_path / "elsewhere")
    assert main(command) == 1


def test_the_cost_of_a_run_is_told_without_beginning_it(scan, tmp_path, capsys):
    project = tmp_path / "project"
    command = ["segment", str(scan), *SETTINGS, "--out", str(project)]
    assert main([*command, "--estimate"]) == 0
    out = capsys.readouterr().out
    assert "time: about" in out
    assert "GB at most" in out
    assert out.rstrip().endswith("The same command without --estimate begins it.")
    with Project.open(project, read_only=True) as opened:
        assert len(opened.scans) == 1
        assert not opened.runs
    assert main(command) == 0
    with Project.open(project, read_only=True) as opened:
        assert len(opened.scans) == len(opened.runs) == 1  # not imported again


def test_the_cost_of_a_noisy_run_names_scale_tiles_and_noise():
    from particleseg_app.cli.cost_lines import cost_lines
    from particleseg_app.models import GreyScaling
    from particleseg_app.segmentation import CostEstimate
    from particleseg_app.segmentation.denoised_scan import Denoising
    from particleseg_app.segmentation.even_slices import Evening
    from particleseg_app.segmentation.rings import Rings

    noise = Denoising(1.1, 1.0, 180, GreyScaling(0, 1, 0, 1), None)
    uneven = Evening((1.0,) * 30, 0.31)
    rings = Rings((9.5, 4.5), np.zeros((7, 12), np.float32), 0.62)
    cost = CostEstimate(
        1.5, (30, 20, 10), 27, 200.0, int(3e8), int(2.5e9), "Processor", 3, noise, uneven, rings
    )
    text = "\n".join(cost_lines(cost, 10.0))
    for part in (
        "scale: 1.50 ×, enlarged",
        "size: 10 × 20 × 30 voxels (across, down, slices)",
        "tiles: 27, about 3 of them empty",
        "rings: ring artefacts (the strongest has 62 % of what particles stand out by)",
        "slices: of uneven brightness (by 31 % of what particles stand out by)",
        "stand out by 1.1 times the noise",
        "particles below about 70 µm are left out",
        "time: about 3 min 20 s",
        "disk: 0.3 GB at most",
        "memory: 2.5 GB at most",
        "runs on: Processor",
    ):
        assert part in text


def test_a_particle_wider_than_the_scan_is_refused_before_anything_is_copied(
    scan, tmp_path, capsys
):
    sizes = ["--voxel-size-um", "5", "--particle-diameter-um", "500", "--method", "threshwater"]
    assert main(["segment", str(scan), *sizes, "--out", str(tmp_path / "project")]) == 1
    told = capsys.readouterr().err
    assert "100 voxels wide, wider than the whole scan of 40 × 40 × 30 voxels" in told
    assert not (tmp_path / "project").exists()


def test_a_run_without_particles_says_so_and_what_to_check(tmp_path, capsys):
    path = tmp_path / "empty.tif"
    tifffile.imwrite(path, np.full((30, 40, 40), 2000, np.uint16), photometric="minisblack")
    command = ["segment", str(path), *SETTINGS, "--threshold", "9000", "--out"]
    assert main([*command, str(tmp_path / "project")]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("0 particles")
    assert "No particles were found. Check voxel size" in told.err
    assert main(["info", str(tmp_path / "project")]) == 0
    assert "No particles were found." in capsys.readouterr().out


def test_a_batch_of_nothing_is_told(tmp_path, capsys):
    sizes = ["--voxel-size-um", "5", "--particle-diameter-um", "60"]
    out = ["--out", str(tmp_path / "results")]
    assert main(["batch", str(tmp_path / "nowhere"), *sizes, *out]) == 1
    assert "nowhere does not exist. Give a folder of scans" in capsys.readouterr().err


def test_a_scan_that_is_gone_goes_on_from_the_copy_in_the_project(tmp_path, capsys):
    path, project = tmp_path / "drive" / "balls.tif", tmp_path / "project"
    path.parent.mkdir()
    write_scan(path)
    command = ["segment", str(path), *SETTINGS, "--out", str(project)]
    assert main(command) == 0
    path.unlink()
    capsys.readouterr()
    assert main([*command, "--threshold", "5000"]) == 0
    assert "is gone; the copy in the project is used." in capsys.readouterr().err
    assert main(["info", str(project)]) == 0
    told = capsys.readouterr().out
    assert told.count("Scan scan-") == 1
    assert "run run-002: Run 2, threshwater, particle 60.0 µm: finished" in told
    assert main([*command[:-1], str(tmp_path / "other")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_an_older_scan_put_in_its_place_is_another_scan(tmp_path, capsys):
    path, project = tmp_path / "balls.tif", tmp_path / "project"
    write_scan(path)
    command = ["segment", str(path), *SETTINGS, "--out", str(project)]
    assert main(command) == 0
    found = path.stat()
    write_scan(path, balls=3)
    os.utime(path, (found.st_atime - 10**6, found.st_mtime - 10**6))
    assert main(command) == 0
    assert "The files of the scan balls have changed since they were" in capsys.readouterr().err


def test_a_scan_that_has_changed_is_imported_again_and_that_is_said(tmp_path, capsys):
    path, project = tmp_path / "balls.tif", tmp_path / "project"
    write_scan(path)
    command = ["segment", str(path), *SETTINGS, "--out", str(project)]
    assert main(command) == 0
    assert "have changed" not in capsys.readouterr().err
    write_scan(path, balls=3)
    assert main(command) == 0
    assert "The files of the scan balls have changed since they were" in capsys.readouterr().err
    assert main(["info", str(project)]) == 0
    told = capsys.readouterr().out
    assert told.count("Scan scan-") == 2
    assert "have changed" not in told  # it says nothing about the particles


def test_the_results_of_a_batch_do_not_lie_among_its_scans(scan, capsys):
    folder = str(scan.parent)
    sizes = ["--voxel-size-um", "5", "--particle-diameter-um", "60"]
    assert main(["batch", folder, *sizes, "--out", folder]) == 1
    assert "cannot lie among the scans" in capsys.readouterr().err
    assert not (scan.parent / "summary.csv").exists()


def test_grey_values_that_may_spoil_the_run_are_told_as_in_the_window(tmp_path, capsys):
    path, project = tmp_path / "balls.tif", tmp_path / "project"
    write_scan(path)
    grey = tifffile.imread(path).astype(np.float32)
    grey[3, 4, 5] = np.nan
    tifffile.imwrite(path, grey, photometric="minisblack")
    command = ["segment", str(path), *SETTINGS, "--out", str(project)]
    assert main(command) == 0
    assert "hold no number (NaN or infinite); they were set to 0." in capsys.readouterr().err
    tifffile.imwrite(
        tmp_path / "mask.tif", (grey > 5000).astype(np.uint8), photometric="minisblack"
    )
    assert main(["segment", str(tmp_path / "mask.tif"), *command[2:-1], str(tmp_path / "b")]) == 0
    assert "it looks as if it was segmented before" in capsys.readouterr().err


def test_info_gives_the_voxel_size_in_full_and_figures_by_their_names(tmp_path, capsys):
    from tests.models.tiny_model import write_tiny_model

    path = tmp_path / "balls.tif"
    write_scan(path)
    sizes = ["--voxel-size-um", "13.15", "--particle-diameter-um", "158", *SETTINGS[4:]]
    assert main(["segment", str(path), *sizes, "--out", str(tmp_path / "project")]) == 0
    assert main(["info", str(tmp_path / "project")]) == 0
    assert "voxel size: 13.15 µm" in capsys.readouterr().out
    figures = {"f1_match": 0.9, "f1_match_before": 0.8, "merger_ratio": 0.1, "scans": [1, 2]}
    folder = write_tiny_model(tmp_path / "tiny", card_changes={"figures": figures}).folder
    assert main(["info", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "  F1 match: 0.9\n  F1 match, before the training: 0.8\n  merger ratio: 0.1\n" in told
    assert "[1, 2]" not in told


def test_a_damaged_run_does_not_hide_the_others(finished, tmp_path, capsys):
    project = tmp_path / "copy"
    shutil.copytree(finished, project)
    command = ["segment", str(project / "labels.tif"), *SETTINGS, "--out", str(project)]
    assert main(command) == 0
    (project / "runs" / "run-001" / "summary.json").write_text("garbage")
    capsys.readouterr()
    assert main(["info", str(project)]) == 0
    told = capsys.readouterr().out
    assert "run run-001" in told
    assert "damaged (" in told
    assert "run run-002" in told


def test_a_file_that_cannot_be_written_and_a_folder_of_labels_are_told(finished, scan, capsys):
    if not Path("/proc").is_dir():
        pytest.skip("needs a place where nobody can write")
    assert main(["export", str(finished), "--csv", "/proc/table.csv"]) == 1
    told = capsys.readouterr().err
    assert "cannot be written" in told
    assert "Errno" not in told
    assert main(["evaluate", str(scan.parent), str(scan)]) == 1
    assert "is a folder. Give a .tif or .h5 file with labels." in capsys.readouterr().err
