"""Slices of uneven brightness are found and evened out; everything real along z stays."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from particleseg_app.errors import Cancelled, RunError
from particleseg_app.evaluation import evaluate
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunResult, RunSettings, network_input
from particleseg_app.segmentation.even_slices import (
    EvenedScan,
    Evening,
    evening_for,
    evening_note,
)
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source
from tests.segmentation.tube_scans import grains
from tests.segmentation.volumes import ArrayVolume
from tests.segmentation.whole_runs import labels_of, run, run_stopped, with_damage

SHAPE = (60, 70, 80)
DIAMETER = 14.0
DARK, CONTRAST, NOISE = 9000.0, 6000.0, 600.0


@pytest.fixture(scope="module")
def true() -> np.ndarray:
    return grains(np.random.default_rng(5), SHAPE, np.ones(SHAPE, bool), 0.3, DIAMETER)


@pytest.fixture(scope="module")
def even(true: np.ndarray) -> np.ndarray:
    grey = ndimage.gaussian_filter(np.where(true > 0, DARK + CONTRAST, DARK), 0.6)
    return grey + np.random.default_rng(6).normal(0, NOISE, SHAPE)


def flicker(share: float, slices: int = SHAPE[0], seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, share * CONTRAST, slices)


def evening(grey: np.ndarray) -> Evening | None:
    return evening_for(ArrayVolume(grey), CancelToken())


@pytest.mark.parametrize("share", [0.15, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_most_of_what_differs_is_taken_off(even: np.ndarray, share: float, dtype: type) -> None:
    added = flicker(share)
    grey = even + added[:, None, None]
    scale = 1 / 120 if dtype is np.uint8 else 1.0
    found = evening((np.clip(grey, 0, 30000) * scale).astype(dtype))
    assert found is not None
    left = added - np.asarray(found.offsets) / scale
    left -= ndimage.median_filter(left, 15)
    assert left.std() < 0.45 * added.std()
    assert 0.6 * share < found.unevenness < 1.4 * share


def test_padding_around_a_cylinder_does_not_hide_it(even: np.ndarray) -> None:
    _, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    outside = (y - SHAPE[1] / 2) ** 2 + (x - SHAPE[2] / 2) ** 2 > 26**2
    assert outside.mean() > 0.55
    added = flicker(0.3)
    found = evening(np.where(outside, 0, even + added[:, None, None]).astype(np.uint16))
    assert found is not None
    assert np.corrcoef(found.offsets, added)[0, 1] > 0.9


def in_layers(period: int) -> np.ndarray:
    """Balls on a lattice, a little out of place: many at some heights, few between them."""
    random = np.random.default_rng(11)
    places = np.stack(
        np.meshgrid(*(np.arange(period / 2, n, period) for n in SHAPE), indexing="ij"), -1
    ).reshape(-1, 3)
    places += random.uniform(-period / 8, period / 8, places.shape)
    where = np.stack(np.indices(SHAPE), -1).reshape(-1, 3)
    distance, _ = cKDTree(places).query(where)
    inside = (distance < 0.48 * period).reshape(SHAPE)
    return ndimage.gaussian_filter(DARK + CONTRAST * inside, 0.6)


def scans_that_are_even(even: np.ndarray) -> dict[str, np.ndarray]:
    z = np.arange(SHAPE[0])[:, None, None]
    floor, plate, blank = even.copy(), even.copy(), even.copy()
    floor[:15] = 2000 + even[:15] / 10
    plate[30:33] += 2 * CONTRAST
    blank[[10, 40]] = 0
    layers = [in_layers(period) for period in (8, 14, 20)]
    foils = [DARK + CONTRAST * (z // thickness % 2) for thickness in (4, 7)]
    speckles = np.random.default_rng(10).normal(0, NOISE, SHAPE)
    return {
        "as it is": even,
        **{f"particles in layers {n}": grey + speckles for n, grey in enumerate(layers)},
        **{f"flat foils {n}": grey + speckles for n, grey in enumerate(foils)},
        "brighter upwards": even + 2 * CONTRAST * z / SHAPE[0],
        "noise as strong as the contrast": even
        + np.random.default_rng(8).normal(0, CONTRAST, SHAPE),
        "air above": floor,
        "a plate through the whole scan": plate,
        "two blank slices": blank,
        "noise alone": np.random.default_rng(9).normal(9000, 500, SHAPE),
        "one grey value": np.full(SHAPE, 7000.0),
        "few slices": even[:7] + flicker(0.5, 7)[:, None, None],
        "one voxel": even[:1, :1, :1],
    }


def test_what_is_real_along_z_stays(even: np.ndarray) -> None:
    for name, grey in scans_that_are_even(even).items():
        assert evening(np.clip(grey, 0, 65535).astype(np.uint16)) is None, name


def test_memory_does_not_follow_the_number_of_slices() -> None:
    class Endless:
        """Even slices, made when they are read."""

        shape = (20_000, 160, 160)
        statistics = ArrayVolume(np.arange(4000, dtype=np.uint16).reshape(40, 10, 10)).statistics

        def read(self, box: Box) -> np.ndarray:
            return np.full(box.shape, 700, np.uint16)

    tracemalloc.start()
    try:
        assert evening_for(Endless(), CancelToken()) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6


@given(st.data())
def test_any_box_is_read_alike(data: st.DataObject) -> None:
    shape = (9, 6, 5)
    grey = np.random.default_rng(1).integers(0, 65535, shape, dtype=np.uint16)
    offsets = tuple(np.random.default_rng(2).normal(0, 900, 9))
    scan = EvenedScan(ArrayVolume(grey), offsets)
    whole = scan.read(Box.whole(shape))
    np.testing.assert_allclose(whole, grey - np.array(offsets)[:, None, None], rtol=1e-3, atol=0.01)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    box = Box(start, stop)
    np.testing.assert_array_equal(scan.read(box), whole[box.slices])


def test_it_ends_at_once_when_cancelled(even: np.ndarray) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        evening_for(ArrayVolume(even.astype(np.uint16)), cancel)


@pytest.fixture(scope="module")
def scan_path(tmp_path_factory: pytest.TempPathFactory, even: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    grey = np.clip(even + flicker(0.9)[:, None, None], 0, 65535).astype(np.uint16)
    tifffile.imwrite(folder / "uneven.tif", grey)
    source = inspect_source(folder / "uneven.tif")
    import_scan(source, folder / "scan.h5", Progress(), CancelToken())
    return folder / "scan.h5"


ASKED = RunSettings(
    10.0, 10 * DIAMETER, model="light", preset="fast", device="cpu", inference="torch"
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, scan_path: Path) -> RunResult:
    return run(scan_path, tmp_path_factory.mktemp("whole") / "run", ASKED)


def test_more_particles_are_right_and_the_run_says_so(
    scan_path: Path, true: np.ndarray, undisturbed: RunResult, tmp_path: Path
) -> None:
    as_it_is = run(scan_path, tmp_path / "kept", replace(ASKED, denoise=False))
    better, worse = (evaluate(true, labels_of(each)) for each in (undisturbed, as_it_is))
    assert better.f1_match > max(0.99, worse.f1_match + 0.05)
    assert better.f1_instance > worse.f1_instance + 0.08
    recorded = json.loads((undisturbed.labels_path.parent / "origin.json").read_text())["evening"]
    found = Evening.from_dict(recorded, SHAPE[0])
    assert evening_note(found) in undisturbed.summary["notes"]
    assert as_it_is.summary["notes"] == []


def test_a_run_that_goes_on_uses_the_same_figures(
    scan_path: Path, undisturbed: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Cancelled):
        run_stopped(
            scan_path, folder, ASKED, "Finding particles with the network", 1, tiles_per_chunk=1
        )
    assert list((folder / "pieces").glob("classes_*.npy"))

    def not_again(*_: object) -> None:
        raise AssertionError("compared again")

    monkeypatch.setattr(network_input, "evening_for", not_again)
    result = run(scan_path, folder, ASKED, tiles_per_chunk=1)
    np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))


def test_a_cluster_finds_the_same_particles(
    scan_path: Path, undisturbed: RunResult, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    from particleseg_app.segmentation.cluster import connect

    with connect("local:2") as cluster:
        cluster.shared_folder = tmp_path
        result = run(scan_path, tmp_path / "run", ASKED, workers=cluster)
    np.testing.assert_array_equal(labels_of(result), labels_of(undisturbed))


@pytest.mark.parametrize(
    "damage",
    [
        {"offsets": [1.0] * (SHAPE[0] - 1)},
        {"offsets": ["much"] * SHAPE[0]},
        {"offsets": [float("nan")] * SHAPE[0]},
        {"unevenness": 0},
        {"offsets": None},
    ],
)
def test_damaged_figures_are_told(
    scan_path: Path, tmp_path: Path, damage: dict[str, Any], undisturbed: RunResult
) -> None:
    folder = with_damage(undisturbed, tmp_path / "run", "evening", damage)
    with pytest.raises(RunError, match="uneven slices"):
        run(scan_path, folder, ASKED)
