"""Whole runs of noisy scans: more particles are right, and a run that goes on agrees."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from particleseg_app.errors import Cancelled, RunError
from particleseg_app.evaluation import evaluate
from particleseg_app.memory_limit import SMALLEST_LIMIT_BYTES, bytes_for_pieces
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import (
    RunResult,
    RunSettings,
    denoised_scan,
    estimate_cost,
    plan,
    run_state,
    segment,
)
from particleseg_app.segmentation.core_unions import (
    GRADES,
    Contacts,
    each_contact_alone,
    figures_of_scan,
    union_rule_of,
)
from particleseg_app.segmentation.denoised_scan import Denoising, denoising_note
from particleseg_app.segmentation.plan import network_bytes, plan_network_run
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.models.tiny_model import write_tiny_model
from tests.segmentation.tube_scans import grains
from tests.segmentation.whole_runs import labels_of, run

SHAPE = (44, 50, 56)
DIAMETER = 13.0
# Particles stand out by as many standard deviations of the noise.
TRUE_CONTRAST = 0.9


@pytest.fixture(scope="module")
def true() -> np.ndarray:
    return grains(np.random.default_rng(3), SHAPE, np.ones(SHAPE, bool), 0.3, DIAMETER)


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory: pytest.TempPathFactory, true: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    grey = ndimage.gaussian_filter(np.where(true > 0, 26000.0, 20000.0), 0.6)
    grey += np.random.default_rng(4).normal(0, 6000 / TRUE_CONTRAST, SHAPE)
    grey = np.clip(grey, 0, 65535).astype(np.uint16)
    tifffile.imwrite(folder / "noisy.tif", grey)
    import_scan(inspect_source(folder / "noisy.tif"), folder / "scan.h5", Progress(), CancelToken())
    return folder / "scan.h5"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> RunSettings:
    """With a tiny model that wants its scans without noise."""
    entry = write_tiny_model(
        tmp_path_factory.mktemp("models") / "tiny",
        seed=10,
        card_changes={"least_contrast_to_noise": 2.5, "target_diameter_voxels": DIAMETER},
    )
    return RunSettings(
        10.0, 10 * DIAMETER, model=str(entry.folder), device="cpu", inference="torch",
        min_relative_volume=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, scan_path: Path, asked: RunSettings
) -> RunResult:
    return run(scan_path, tmp_path_factory.mktemp("whole") / "run", asked)


@pytest.fixture
def measured_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(denoised_scan, "measure_noise", not_again)


def test_more_particles_are_right_and_the_run_says_so(
    scan_path: Path, true: np.ndarray, tmp_path: Path
) -> None:
    asked = RunSettings(
        10.0, 10 * DIAMETER, model="light", preset="fast", device="cpu", inference="torch"
    )
    result = run(scan_path, tmp_path / "denoised", asked)
    as_it_is = run(scan_path, tmp_path / "kept", replace(asked, denoise=False))
    better, worse = (evaluate(true, labels_of(each)) for each in (result, as_it_is))
    assert better.f1_match > worse.f1_match + 0.05
    assert better.f1_instance > worse.f1_instance + 0.08
    assert better.f1_match > 0.85

    recorded = json.loads((tmp_path / "denoised" / "origin.json").read_text())["denoising"]
    assert result.summary["model"]["denoising"] == recorded
    denoising = Denoising.from_dict(recorded)
    assert 0.6 * TRUE_CONTRAST < denoising.contrast_to_noise < 1.1 * TRUE_CONTRAST
    assert result.summary["notes"] == [denoising_note(denoising, 10.0)]
    assert np.bincount(labels_of(result).ravel())[1:].min() >= denoising.least_voxels

    assert "denoising" not in as_it_is.summary["model"]
    assert as_it_is.summary["notes"] == []

    # Where noise was taken off, no contact is judged by the others of the scan.
    rule = union_rule_of(find_model("light"))
    assert rule is not None
    rules = [
        json.loads((tmp_path / name / "origin.json").read_text())["union_rule"]
        for name in ("denoised", "kept")
    ]
    assert rules == [each_contact_alone(rule).fingerprint(), rule.fingerprint()]
    for made in (result, as_it_is):
        figures = figures_of_scan(made.summary)
        assert figures is not None
        np.testing.assert_array_equal(figures, np.clip(figures, rule.scan_low, rule.scan_high))


def test_a_rule_blind_to_the_scan_says_what_it_says_without_its_figures() -> None:
    rule = union_rule_of(find_model("default"))
    assert rule is not None
    random = np.random.default_rng(1)
    pairs = np.array([[i, i + 1] for i in range(1, 31)])
    contacts = Contacts(pairs, random.integers(0, 60, (30, GRADES)), np.full(32, 3000))
    alone = each_contact_alone(rule)
    of_scan = rule.scan_figures(contacts, 31)
    by_itself = rule.probabilities(contacts, None)
    np.testing.assert_allclose(alone.probabilities(contacts, of_scan), by_itself)
    assert not np.allclose(rule.probabilities(contacts, of_scan), by_itself)


@pytest.mark.parametrize("tiles_per_chunk", [1, 2, 100])
def test_chunks_do_not_change_a_denoised_run(
    scan_path: Path,
    asked: RunSettings,
    undisturbed: RunResult,
    tmp_path: Path,
    tiles_per_chunk: int,
) -> None:
    result = run(scan_path, tmp_path / "run", asked, tiles_per_chunk=tiles_per_chunk)
    assert undisturbed.particle_count > 3
    np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))


def test_a_cluster_finds_the_same_particles(
    scan_path: Path, asked: RunSettings, undisturbed: RunResult, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    from particleseg_app.segmentation.cluster import connect

    with connect("local:2") as cluster:
        cluster.shared_folder = tmp_path
        result = run(scan_path, tmp_path / "run", asked, tiles_per_chunk=2, workers=cluster)
    np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))
    assert result.summary["model"]["denoising"] == undisturbed.summary["model"]["denoising"]


SCRIPT = """
import json, sys
from pathlib import Path
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.volumes import open_scan
settings = RunSettings.from_dict(json.loads(sys.argv[3]))
with open_scan(Path(sys.argv[1])) as scan:
    segment(Path(sys.argv[2]), scan, settings, Progress(), CancelToken(), tiles_per_chunk=1)
"""


def test_a_killed_run_goes_on_with_the_same_figures(
    scan_path: Path,
    asked: RunSettings,
    undisturbed: RunResult,
    tmp_path: Path,
    measured_no_more: None,
) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, scan_path, folder, json.dumps(asked.as_dict())]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 120
    while len(list((folder / "pieces").glob("classes_*.npy"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert run_state(folder).status == "unfinished"
    result = run(scan_path, folder, asked)
    np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))
    assert result.summary["model"]["denoising"] == undisturbed.summary["model"]["denoising"]
    assert result.summary["notes"] == undisturbed.summary["notes"]


@pytest.fixture
def begun(scan_path: Path, asked: RunSettings, tmp_path: Path) -> Iterator[Path]:
    """The folder of a run that was cancelled in the network stage."""
    cancel, progress = CancelToken(), Progress()
    progress.advance = lambda steps=1: cancel.cancel()  # type: ignore[method-assign]
    with open_scan(scan_path) as scan, pytest.raises(Cancelled):
        segment(tmp_path / "begun", scan, asked, progress, cancel, tiles_per_chunk=1)
    yield tmp_path / "begun"


def test_damaged_figures_end_a_run_with_one_clear_sentence(
    scan_path: Path, asked: RunSettings, begun: Path, measured_no_more: None
) -> None:
    origin = json.loads((begun / "origin.json").read_text())
    origin["denoising"]["weight"] = "heavy"
    (begun / "origin.json").write_text(json.dumps(origin))
    with pytest.raises(RunError, match="noise of its scan cannot be read") as caught:
        run(scan_path, begun, asked)
    assert "start it again" in caught.value.remedy
    assert "noise of its scan" in run_state(begun).message


def test_a_run_begun_without_denoising_goes_on_without(
    scan_path: Path, asked: RunSettings, begun: Path, measured_no_more: None
) -> None:
    """As runs of earlier versions were."""
    origin = json.loads((begun / "origin.json").read_text())
    del origin["denoising"]
    (begun / "origin.json").write_text(json.dumps(origin))
    result = run(scan_path, begun, asked)
    assert "denoising" not in result.summary["model"] and result.summary["notes"] == []


def test_keeping_the_noise_is_another_run(
    scan_path: Path, asked: RunSettings, begun: Path, measured_no_more: None
) -> None:
    with pytest.raises(RunError, match="other settings"):
        run(scan_path, begun, replace(asked, denoise=False))


def test_the_estimate_counts_the_denoising(
    scan_path: Path, asked: RunSettings, undisturbed: RunResult
) -> None:
    with open_scan(scan_path) as scan:
        cost = estimate_cost(SHAPE, asked, CancelToken(), scan)
        as_it_is = estimate_cost(SHAPE, replace(asked, denoise=False), CancelToken(), scan)
    assert cost.seconds is not None and cost.seconds > 0
    assert cost.denoising is not None
    assert cost.denoising.as_dict() == undisturbed.summary["model"]["denoising"]
    assert cost.tiles == undisturbed.summary["tiles"]
    assert as_it_is.denoising is None
    # Grey values, answer and the six parts of the dual field of the whole of this small scan.
    assert cost.memory_bytes - as_it_is.memory_bytes >= 32 * np.prod(SHAPE)


def test_denoising_has_its_room_in_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    card, asked = find_model("default").card, RunSettings(10.0, 260.0)
    shape, reading = (800, 800, 800), 210 * 10**6
    at_least = plan_network_run(
        shape, asked, card, memory_limit_bytes=SMALLEST_LIMIT_BYTES, reading_bytes=reading
    )
    assert network_bytes(at_least) <= bytes_for_pieces(SMALLEST_LIMIT_BYTES)
    limit = 3 * 10**9
    for bytes_each in (36, 60, 90, 130):
        monkeypatch.setattr(plan, "_BYTES_PER_CHUNK_VOXEL", bytes_each)
        plain = plan_network_run(shape, asked, card, memory_limit_bytes=limit)
        denoising = plan_network_run(
            shape, asked, card, memory_limit_bytes=limit, reading_bytes=reading
        )
        assert denoising.tiles_per_chunk <= plain.tiles_per_chunk
        assert network_bytes(denoising) <= bytes_for_pieces(limit)
        same = plan_network_run(shape, asked, card, plain.tiles_per_chunk, reading_bytes=reading)
        assert network_bytes(same) == network_bytes(plain) + reading
