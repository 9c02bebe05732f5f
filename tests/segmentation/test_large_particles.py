"""Particles several times as large as the average are whole, and small ones stay as they are."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import Cancelled, NewRunError
from particleseg_app.evaluation import evaluate
from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import (
    RunSettings,
    cost,
    estimate_cost,
    large_particles,
    network_looks,
)
from particleseg_app.segmentation.border_core import BACKGROUND, BORDER, CORE
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.completed_classes import CompletedClasses, Inside
from particleseg_app.segmentation.large_particles import LOOKING_FOR_LARGE, coarser_settings
from particleseg_app.segmentation.plan import plan_network_run
from particleseg_app.segmentation.trial import NetworkTrial
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.models.tiny_model import write_tiny_model
from tests.segmentation.class_volumes import Classes, separate_balls
from tests.segmentation.whole_runs import labels_of, run_stopped
from tests.segmentation.whole_runs import run as run_scan

SHAPE = (96, 104, 112)
DIAMETER = 12.0
GIANT = 1
# The scan is kept at its own scale by a model made for particles of 12 voxels.
SIGHT = 6


def widened(values: torch.Tensor, by: int) -> torch.Tensor:
    """The maximum within a cube, one axis after the other."""
    for axis in range(3):
        size, padding = [1, 1, 1], [0, 0, 0]
        size[axis], padding[axis] = 2 * by + 1, by
        values = torch.max_pool3d(values, tuple(size), 1, tuple(padding))
    return values


class ShortSighted:
    """Sees what is bright, but takes for matrix what lies deeper than `SIGHT` inside it."""

    device, passes = torch.device("cpu"), 1

    def predict(self, tiles: torch.Tensor) -> torch.Tensor:
        bright = tiles > 0.5
        dark = (~bright).float()
        deep = widened(dark, SIGHT) == 0
        core = widened(dark, 1) == 0
        seen = bright & ~deep
        classes = torch.cat([~seen, seen & core, seen & ~core], dim=1).float()
        return 0.02 + 0.94 * classes


def short_sighted(*_: object) -> ShortSighted:
    return ShortSighted()


@pytest.fixture(scope="module")
def true() -> np.ndarray:
    balls = [((48, 40, 44), 30.0)]
    places = itertools.product((12, 36, 60, 84), (12, 36, 60, 90), (12, 36, 60, 100))
    for place in places:
        if np.linalg.norm(np.subtract(place, (48, 40, 44))) > 39:
            balls.append((place, 6.0))
    balls += [((48, 76, 44), 6.0), ((48, 40, 80), 6.0)]  # these touch the giant
    return separate_balls(SHAPE, balls)


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory: pytest.TempPathFactory, true: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    grey = ndimage.gaussian_filter(np.where(true > 0, 30000.0, 10000.0), 0.5)
    # A film of matrix where two balls touch, as the network needs it to see two.
    edge = ndimage.maximum_filter(true, 3) != ndimage.minimum_filter(
        np.where(true > 0, true, 99), 3
    )
    grey[edge & (true > 0) & (ndimage.maximum_filter(true, 3) != true)] -= 12000
    tifffile.imwrite(folder / "scan.tif", grey.astype(np.uint16))
    import_scan(inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken())
    return folder / "scan.h5"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> RunSettings:
    model = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    return RunSettings(
        10,
        10 * DIAMETER,
        model=str(model.folder),
        device="cpu",
        inference="torch",
        preset="fast",
        denoise=False,
    )


@pytest.fixture(scope="module")
def completed(
    tmp_path_factory: pytest.TempPathFactory, scan_path: Path, asked: RunSettings
) -> tuple[np.ndarray, dict]:
    result = run_scan(
        scan_path, tmp_path_factory.mktemp("run") / "run", asked, make_predictor=short_sighted
    )
    return labels_of(result), result.summary


def test_a_large_particle_is_whole_and_small_ones_are_as_without_it(
    tmp_path: Path,
    scan_path: Path,
    asked: RunSettings,
    true: np.ndarray,
    completed: tuple[np.ndarray, dict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels, summary = completed
    monkeypatch.setattr(network_looks, "coarser_settings", lambda *_: [])
    alone = labels_of(run_scan(scan_path, tmp_path / "alone", asked, make_predictor=short_sighted))
    giant = true == GIANT
    assert (alone[giant] > 0).mean() < 0.8, "the finer scale alone loses its inside"
    found = np.bincount(labels[giant])
    assert found[1:].max() / giant.sum() > 0.95
    assert evaluate(true, labels).f1_match == 1.0
    assert summary["large_particles_completed"] == 1
    assert summary["notes"][-1] == "One particle much larger than the average was completed."
    same = (labels > 0) == (alone > 0)
    assert same[ndimage.distance_transform_edt(~giant) > 5].all()


@pytest.mark.parametrize(
    ("stage", "steps"),
    [(LOOKING_FOR_LARGE, 1), ("Looking at large particles", 1), ("Writing labels", 1)],
)
def test_an_interrupted_run_ends_with_the_same_voxels(
    tmp_path: Path,
    scan_path: Path,
    asked: RunSettings,
    completed: tuple[np.ndarray, dict],
    stage: str,
    steps: int,
) -> None:
    with pytest.raises(Cancelled):
        run_stopped(scan_path, tmp_path / "run", asked, stage, steps, make_predictor=short_sighted)
    result = run_scan(scan_path, tmp_path / "run", asked, make_predictor=short_sighted)
    np.testing.assert_array_equal(labels_of(result), completed[0])
    assert result.summary["large_particles_completed"] == 1
    assert not (tmp_path / "run" / "pieces").exists()


def test_any_block_and_memory_limit_give_the_same_voxels(
    tmp_path: Path,
    scan_path: Path,
    asked: RunSettings,
    completed: tuple[np.ndarray, dict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_particles, "_BLOCK", (7, 11, 13))
    result = run_scan(
        scan_path, tmp_path / "run", asked, make_predictor=short_sighted, tiles_per_chunk=1
    )
    np.testing.assert_array_equal(labels_of(result), completed[0])


def test_damaged_findings_are_told(tmp_path: Path, scan_path: Path, asked: RunSettings) -> None:
    with pytest.raises(Cancelled):
        run_stopped(
            scan_path, tmp_path / "run", asked, "Writing labels", 1, make_predictor=short_sighted
        )
    path = tmp_path / "run" / "pieces" / "large_0" / "completed.json"
    path.write_text(json.dumps({"count": 1, "blocks": [-3]}))
    with pytest.raises(NewRunError, match=r"completed\.json is damaged"):
        run_scan(scan_path, tmp_path / "run", asked, make_predictor=short_sighted)


def test_coarser_looks_are_taken_where_their_particles_find_room() -> None:
    settings = RunSettings(10, 200)  # 20 voxels; the looks are for 64, 205 and 655
    found = [
        [round(one.particle_diameter_um / 10) for one in coarser_settings(settings, shape)]
        for shape in ((60, 90, 90), (40, 110, 110), (500, 500, 500), (1000, 1256, 1256))
    ]
    assert found == [[], [64], [64, 205], [64, 205, 655]]


def test_the_estimate_counts_them(
    scan_path: Path, asked: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many seconds for each tile that nothing else of the estimate counts.
    trial = NetworkTrial(0, per_tile=1000, per_look=0, per_reach_voxel=0, empty_share=0)
    monkeypatch.setattr(cost, "try_network", lambda *_: (trial, np.zeros((8, 8, 8), np.uint8)))
    monkeypatch.setattr(cost, "try_particles", lambda *_: 0.0)
    card = find_model(asked.model).card
    (coarser,) = coarser_settings(asked, SHAPE)
    tiles = [plan_network_run(SHAPE, one, card).tile_count for one in (asked, coarser)]
    assert min(tiles) > 0
    with open_scan(scan_path) as scan:
        seconds = estimate_cost(SHAPE, asked, CancelToken(), scan).seconds
    assert seconds == pytest.approx(1000 * sum(tiles), abs=500)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_any_box_reads_the_same_classes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, ratio: int
) -> None:
    random = np.random.default_rng(seed)
    coarse = tuple(int(n) for n in random.integers(3, 9, 3))
    fine = tuple(int(n * ratio + random.integers(0, 2)) for n in coarse)
    inside = random.choice([0, CORE, BORDER], coarse).astype(np.uint8)
    middle = coarse[0] // 2
    boxes = [
        Box((0, 0, 0), (middle, *coarse[1:])),
        Box((middle, 0, 0), coarse),  # type: ignore[arg-type]
    ]
    pieces = ClassPieces(tmp_path_factory.mktemp("pieces"), coarse, boxes)  # type: ignore[arg-type]
    pieces.write(1, inside[middle:])
    inside[:middle] = 0  # a block in which there is nothing is not written
    finer = random.integers(0, 4, fine).astype(np.uint8)
    completed = CompletedClasses(Classes(finer.copy()), Inside(pieces, frozenset({1}), 1))
    index = [(2 * np.arange(n) + 1) * c // (2 * n) for n, c in zip(fine, coarse, strict=True)]
    near = inside[np.ix_(*index)]
    expected = finer.copy()
    expected[(near == BORDER) & (finer == BACKGROUND)] = BORDER
    expected[near == CORE] = CORE
    start = tuple(int(random.integers(0, n)) for n in fine)
    stop = tuple(int(random.integers(a + 1, n + 1)) for a, n in zip(start, fine, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    np.testing.assert_array_equal(completed.read(box), expected[box.slices])
    np.testing.assert_array_equal(completed.finer.read(Box.whole(fine)), finer)  # type: ignore[arg-type]
