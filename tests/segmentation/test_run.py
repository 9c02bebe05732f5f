"""Whole runs: the same particles however often one is interrupted, and clear words on failure."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from particleseg_app.errors import Cancelled, InvalidValueError, RunError
from particleseg_app.evaluation import evaluate
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import (
    RunSettings,
    estimate_cost,
    plan,
    run_inference,
    run_state,
    segment,
    trial,
)
from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from tests.models.tiny_model import write_tiny_model

SHAPE = (40, 52, 60)
THRESHWATER = RunSettings(10, 120, method="threshwater", erosion_radius=4)


def balls():
    """Reference labels of a few balls, two of them touching."""
    labels = np.zeros(SHAPE, np.uint32)
    z, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    centres = [(10, 12, 12), (10, 26, 12), (25, 30, 40), (25, 30, 51), (30, 10, 30), (33, 44, 10)]
    for label, (a, b, c) in enumerate(centres, 1):
        radius = 6.2 if label < 5 else 5
        labels[((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 <= radius**2) & (labels == 0)] = label
    return labels


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    grey = np.where(balls() > 0, 30000, 10000).astype(np.float32)
    grey += np.random.default_rng(7).normal(0, 1500, SHAPE)
    tifffile.imwrite(folder / "balls.tif", grey.astype(np.uint16))
    path = folder / "scan.h5"
    import_scan(inspect_source(folder / "balls.tif"), path, Progress(), CancelToken())
    return path


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return str(write_tiny_model(tmp_path_factory.mktemp("models") / "tiny").folder)


def network_settings(model):
    # Which engine "auto" takes may depend on the load of the machine while it is tried.
    return RunSettings(
        10, 120, model=model, device="cpu", min_relative_volume=0.0, inference="torch"
    )


def run(folder, scan_path, settings, **options):
    with open_scan(scan_path) as scan:
        return segment(folder, scan, settings, Progress(), CancelToken(), **options)


def labels_of(result):
    with open_labels(result.labels_path) as labels:
        return labels.read(Box.whole(labels.shape))


def test_threshwater_finds_and_separates_balls(tmp_path, scan_path):
    result = run(tmp_path / "run", scan_path, THRESHWATER)
    score = evaluate(balls(), labels_of(result))
    assert result.particle_count == 6
    assert score.f1 > 0.97
    assert score.f1_match == 1
    assert run_state(tmp_path / "run").status == "finished"
    assert not (tmp_path / "run" / "pieces").exists()
    assert not (tmp_path / "run" / "work").exists()


def test_chunks_do_not_change_the_particles(tmp_path, scan_path, tiny_model):
    settings = network_settings(tiny_model)
    whole = run(tmp_path / "whole", scan_path, settings, tiles_per_chunk=100)
    cut = run(tmp_path / "cut", scan_path, settings, tiles_per_chunk=1)
    np.testing.assert_array_equal(labels_of(whole), labels_of(cut))
    assert whole.particle_count == labels_of(whole).max()


@pytest.mark.parametrize("method", ["nnunet", "threshwater"])
def test_a_killed_run_goes_on_to_the_same_files(tmp_path, scan_path, tiny_model, method):
    settings = network_settings(tiny_model)
    if method == "threshwater":
        settings = THRESHWATER
    expected = run(tmp_path / "whole", scan_path, settings)
    script = tmp_path / "run.py"
    script.write_text(
        "import json, sys\n"
        "from pathlib import Path\n"
        "from particleseg_app.progress import CancelToken, Progress\n"
        "from particleseg_app.segmentation import RunSettings, segment\n"
        "from particleseg_app.volumes import open_scan\n"
        "settings = RunSettings.from_dict(json.loads(sys.argv[3]))\n"
        "with open_scan(Path(sys.argv[1])) as scan:\n"
        "    segment(Path(sys.argv[2]), scan, settings, Progress(), CancelToken())\n"
    )
    folder = tmp_path / "killed"
    command = [sys.executable, script, scan_path, folder, json.dumps(settings.as_dict())]
    kills = 0
    for pieces_before_kill in (1, 2, 4, 7):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        while process.poll() is None and len(_finished_files(folder)) < pieces_before_kill:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    result = run(folder, scan_path, settings)
    assert kills >= 1
    assert _digest(result.labels_path) == _digest(expected.labels_path)
    assert result.particle_count == expected.particle_count


def _finished_files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part"]


def _digest(path):
    with open_labels(path) as labels:
        return hashlib.sha256(labels.read(Box.whole(labels.shape)).tobytes()).hexdigest()


def test_a_cancelled_run_keeps_what_it_has(tmp_path, scan_path, tiny_model):
    cancel = CancelToken()
    progress = Progress()
    settings = network_settings(tiny_model)
    advance = progress.advance

    def cancel_after_three(steps=1):
        advance(steps)
        if progress.snapshot().done >= 3:
            cancel.cancel()

    progress.advance = cancel_after_three
    with open_scan(scan_path) as scan, pytest.raises(Cancelled):
        segment(tmp_path / "run", scan, settings, progress, cancel, tiles_per_chunk=1)
    assert run_state(tmp_path / "run").status == "unfinished"
    assert len(list((tmp_path / "run" / "pieces").glob("classes_*.npy"))) == 3
    result = run(tmp_path / "run", scan_path, settings, tiles_per_chunk=1)
    assert run_state(tmp_path / "run").status == "finished"
    assert result.summary["tiles"] > 3


def test_a_finished_run_is_returned_without_work(tmp_path, scan_path):
    settings = THRESHWATER
    first = run(tmp_path / "run", scan_path, settings)
    before = first.labels_path.stat().st_mtime_ns
    again = run(tmp_path / "run", scan_path, settings)
    assert again.labels_path.stat().st_mtime_ns == before
    assert again.summary == first.summary


@pytest.mark.parametrize("left", ["work", "pieces"])
def test_nothing_stays_of_a_run_that_was_killed_before_it_tidied_up(
    left, tmp_path, scan_path, monkeypatch
):
    class Killed(BaseException):
        pass

    labels, removed = tmp_path / "run" / "labels.h5", shutil.rmtree

    def killed_at(folder, *more, **options):
        if Path(folder).name == left and labels.exists():
            raise Killed
        removed(folder, *more, **options)

    def killed_with_its_pieces(work):
        if left == "work" and labels.exists():
            raise Killed

    monkeypatch.setattr(shutil, "rmtree", killed_at)
    monkeypatch.setattr(BlockWork, "remove_pieces", killed_with_its_pieces)
    with pytest.raises(Killed):
        run(tmp_path / "run", scan_path, THRESHWATER)
    assert (tmp_path / "run" / left).is_dir()
    monkeypatch.undo()
    result = run(tmp_path / "run", scan_path, THRESHWATER)
    assert result.particle_count > 0
    assert not (tmp_path / "run" / "work").exists() and not (tmp_path / "run" / "pieces").exists()


def test_labels_that_were_taken_away_are_made_again(tmp_path, scan_path):
    with open_scan(scan_path) as scan:
        first = segment(tmp_path / "run", scan, THRESHWATER, Progress(), CancelToken())
        before = labels_of(first)
        first.labels_path.unlink()
        again = segment(tmp_path / "run", scan, THRESHWATER, Progress(), CancelToken())
    assert np.array_equal(labels_of(again), before)
    assert again.particle_count == first.particle_count


def test_other_settings_do_not_continue_a_run(tmp_path, scan_path):
    run(tmp_path / "run", scan_path, THRESHWATER)
    with pytest.raises(RunError, match="other settings"):
        run(tmp_path / "run", scan_path, RunSettings(10, 130, method="threshwater"))


def test_a_changed_model_does_not_continue_a_run(tmp_path, scan_path):
    model = write_tiny_model(tmp_path / "model", seed=0)
    settings = network_settings(str(model.folder))
    cancel = CancelToken()
    progress = Progress()
    progress.advance = lambda steps=1: cancel.cancel()
    with open_scan(scan_path) as scan, pytest.raises(Cancelled):
        segment(tmp_path / "run", scan, settings, progress, cancel, tiles_per_chunk=1)
    write_tiny_model(tmp_path / "model", seed=1)
    with pytest.raises(RunError, match="model has changed"):
        run(tmp_path / "run", scan_path, settings, tiles_per_chunk=1)
    assert run_state(tmp_path / "run").status == "failed"
    assert "model has changed" in run_state(tmp_path / "run").message


def test_tiles_that_overlap_otherwise_do_not_continue_a_run(
    tmp_path, scan_path, tiny_model, monkeypatch
):
    settings = network_settings(tiny_model)
    progress, cancel = Progress(), CancelToken()
    progress.advance = lambda steps=1: cancel.cancel()
    with open_scan(scan_path) as scan, pytest.raises(Cancelled):
        segment(tmp_path / "run", scan, settings, progress, cancel, tiles_per_chunk=1)
    # As a version of the program with other presets would.
    monkeypatch.setitem(plan.OVERLAP_SHARE, settings.preset, 0.1)
    with pytest.raises(RunError, match="the program or the model has changed"):
        run(tmp_path / "run", scan_path, settings, tiles_per_chunk=1)


def test_a_full_disk_is_told_and_the_run_can_go_on(tmp_path, scan_path, monkeypatch):
    import errno

    from particleseg_app.segmentation import class_pieces

    settings = THRESHWATER

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(class_pieces, "write_array", no_space)
        with pytest.raises(RunError, match="no space left"):
            run(tmp_path / "run", scan_path, settings)
    assert run_state(tmp_path / "run").status == "failed"
    assert run(tmp_path / "run", scan_path, settings).particle_count == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"voxel_size_um": 0},
        {"particle_diameter_um": -1},
        {"particle_diameter_um": 1e9},
        {"method": "magic"},
        {"preset": "slow"},
        {"erosion_radius": -1},
        {"threshold": float("inf")},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(InvalidValueError) as caught:
        RunSettings(**({"voxel_size_um": 10, "particle_diameter_um": 100} | changes)).check()
    assert caught.value.remedy


def test_settings_survive_the_way_through_json():
    settings = RunSettings(12.5, 300, method="threshwater", threshold=1234.5)
    assert RunSettings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


@pytest.mark.parametrize("method", ["nnunet", "threshwater"])
def test_cost_is_that_of_the_run(tmp_path, scan_path, tiny_model, method):
    settings = network_settings(tiny_model) if method == "nnunet" else THRESHWATER
    measured = []

    def measure(labels_path, part):
        with open_labels(labels_path) as labels:
            assert labels.shape == part.shape == part.read(Box.whole(part.shape)).shape
            measured.append(labels.count)

    with open_scan(scan_path) as scan:
        cost = estimate_cost(SHAPE, settings, CancelToken(), scan, measure)
        untried = estimate_cost(SHAPE, settings, CancelToken())
    assert cost.seconds > 0
    assert len(measured) == 2
    assert untried.seconds is None
    assert (untried.tiles, untried.disk_bytes) == (cost.tiles, cost.disk_bytes)
    if method == "nnunet":
        result = run(tmp_path / "run", scan_path, settings)
        assert cost.tiles == result.summary["tiles"]
        assert list(cost.working_shape) == result.summary["working_shape"]
        assert cost.empty_tiles == 0 == result.summary["tiles_skipped"]


def test_a_trial_keeps_to_the_patch_where_a_run_has_larger_tiles(tmp_path, monkeypatch):
    shape = (20, 30, 128)
    tifffile.imwrite(
        tmp_path / "wide.tif",
        np.random.default_rng(0).normal(20000, 3000, shape).astype(np.uint16),
    )
    import_scan(
        inspect_source(tmp_path / "wide.tif"), tmp_path / "wide.h5", Progress(), CancelToken()
    )
    seen = []

    class Recording:
        device, passes = torch.device("cpu"), 1

        def predict(self, tiles):
            seen.append(tuple(tiles.shape[2:]))
            return torch.softmax(torch.cat([tiles, -tiles, 0 * tiles], dim=1), dim=1)

    monkeypatch.setattr(trial, "open_predictor", lambda *_: Recording())
    settings = RunSettings(10, 260, model="light", device="cpu", inference="torch", denoise=False)
    with open_scan(tmp_path / "wide.h5") as scan:
        cost = estimate_cost(shape, settings, CancelToken(), scan)
    assert cost.tiles == 1  # of 32 × 32 × 128 voxels
    assert set(seen) == {(32, 32, 96)}
    assert cost.seconds > 0


def test_a_trial_can_be_cancelled(scan_path, tiny_model):
    cancel = CancelToken()
    cancel.cancel()
    with open_scan(scan_path) as scan, pytest.raises(Cancelled):
        estimate_cost(SHAPE, network_settings(tiny_model), cancel, scan)


def test_a_run_keeps_the_engine_it_was_begun_with(tmp_path, scan_path, tiny_model, monkeypatch):
    pytest.importorskip("openvino")
    settings = replace(network_settings(tiny_model), inference="openvino")
    whole = run(tmp_path / "whole", scan_path, settings)
    assert whole.summary["inference"].startswith("OpenVINO")
    cancel, progress = CancelToken(), Progress()
    progress.advance = lambda steps=1: cancel.cancel()
    with open_scan(scan_path) as scan, pytest.raises(Cancelled):
        segment(tmp_path / "cut", scan, settings, progress, cancel, tiles_per_chunk=1)
    begun_with = json.loads((tmp_path / "cut" / "origin.json").read_text())["inference"]
    with monkeypatch.context() as patched:
        patched.setattr(run_inference, "openvino_version", lambda: None)
        with pytest.raises(RunError, match="begun with OpenVINO, which is not installed"):
            run(tmp_path / "cut", scan_path, settings)
    # Another choice today does not matter to a run that has begun.
    monkeypatch.setattr(run_inference, "choose_inference", lambda *_: pytest.fail("chosen anew"))
    result = run(tmp_path / "cut", scan_path, settings)
    assert result.summary["model"]["inference"] == begun_with
    np.testing.assert_array_equal(labels_of(result), labels_of(whole))


def test_a_run_that_goes_on_elsewhere_says_so(tiny_model):
    entry, progress = find_model(tiny_model), Progress()
    origin = {"inference": "torch float16"}
    here = run_inference.inference_of_run(origin, entry, "cpu", "auto", progress, CancelToken())
    assert here.engine == "torch"
    assert "begun with PyTorch, float16" in progress.snapshot().messages[0]
    with pytest.raises(RunError, match="not known here"):
        run_inference.inference_of_run(
            {"inference": "magic 3"}, entry, "cpu", "auto", progress, CancelToken()
        )
    older = run_inference.inference_of_run({}, entry, "cpu", "auto", Progress(), CancelToken())
    assert older == here
