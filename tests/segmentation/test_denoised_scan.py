"""A noisy scan as the network is shown it: the same in any box, and what a run notes about it."""

from __future__ import annotations

import io
import json
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import Cancelled, RunError
from particleseg_app.models import GreyScaling, ModelCard, Normalisation
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import denoised_scan
from particleseg_app.segmentation.denoised_scan import (
    DenoisedScan,
    Denoising,
    denoising_for,
    denoising_note,
)
from particleseg_app.segmentation.network_input import network_input
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.total_variation import denoised
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.segmentation.tube_scans import grains
from tests.segmentation.volumes import ArrayVolume

SHAPE = (56, 60, 64)
DIAMETER = 13.0
FIGURES = Denoising(1.5, 700.0, 100.0, GreyScaling(100.0, 900.0, 500.0, 80.0), -0.5)


def card(least: float) -> ModelCard:
    return ModelCard(
        "m", "M", "1", DIAMETER, 1, Normalisation("scan_clipped"), (32, 32, 32),
        least_contrast_to_noise=least,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    random = np.random.default_rng(7)
    inside = grains(random, SHAPE, np.ones(SHAPE, bool), 0.3, DIAMETER) > 0
    return ndimage.gaussian_filter(np.where(inside, 26000.0, 20000.0), 0.6)


@pytest.fixture(scope="module")
def grey(clean: np.ndarray) -> np.ndarray:
    """True contrast: 1.5 times the noise."""
    return (clean + np.random.default_rng(1).normal(0, 4000, SHAPE)).astype(np.uint16)


def denoising(grey: np.ndarray, least: float = 2.5, scale: float = 1.0) -> Denoising | None:
    return denoising_for(
        ArrayVolume(grey),
        card(2.5).normalisation,
        least,
        DIAMETER,
        scale,
        Progress(),
        CancelToken(),
    )


@settings(max_examples=25, deadline=None)
@given(st.data(), st.tuples(*[st.integers(1, 40)] * 3), st.integers(3, 50))
def test_any_box_is_that_of_the_whole(data: st.DataObject, shape: Any, part_edge: int) -> None:
    values = np.random.default_rng(sum(shape)).normal(0, 1, shape).astype(np.float32)
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(denoised_scan, "PART_EDGE", part_edge)
        found = DenoisedScan(ArrayVolume(values), 0.8, CancelToken()).read(box)
    np.testing.assert_array_equal(found, denoised(values, 0.8)[box.slices])


def test_a_large_box_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoised_scan, "PART_EDGE", 24)
    volume = ArrayVolume(np.random.default_rng(2).normal(0, 1, (90, 70, 9)).astype(np.float32))
    scan = DenoisedScan(volume, 0.8, CancelToken())
    box = Box((3, 2, 0), (88, 70, 9))
    np.testing.assert_array_equal(scan.read(box), denoised(volume.array, 0.8)[box.slices])
    assert volume.largest_read <= 76 * 70 * 9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_reading_takes_no_more_memory_than_it_says(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoised_scan, "PART_EDGE", 24)
    volume = ArrayVolume(np.full((80, 84, 20), 9, dtype))
    scan = DenoisedScan(volume, 0.8, CancelToken())
    scan.read(Box((0, 0, 0), (3, 3, 3)))  # compiled functions are loaded
    tracemalloc.start()
    try:
        result = scan.read(Box.whole(scan.shape))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    taken = peak - result.nbytes
    assert 0.8 * scan.reading_bytes < taken < 1.02 * scan.reading_bytes


def test_it_reads_the_same_after_a_way_to_a_worker(tmp_path: Path, grey: np.ndarray) -> None:
    pytest.importorskip("distributed")
    from particleseg_app.segmentation.cluster_worker import _Job, _Unpickler, packed

    tifffile.imwrite(tmp_path / "scan.tif", grey)
    path = tmp_path / "scan.h5"
    import_scan(inspect_source(tmp_path / "scan.tif"), path, Progress(), CancelToken())
    with open_scan(path) as scan:
        here = DenoisedScan(scan, 3000.0, CancelToken())
        payload, _ = packed(here.read, None)
        job = _Job("job")
        there, _ = _Unpickler(io.BytesIO(payload), job).load()
        box = Box((5, 10, 0), (20, 30, 40))
        np.testing.assert_array_equal(there(box), here.read(box))
        job.cancel.cancel()
        with pytest.raises(Cancelled):
            there(box)
        here.read(box)


def test_threads_that_read_at_once_do_not_disturb_each_other(grey: np.ndarray) -> None:
    scan = DenoisedScan(ArrayVolume(grey), 3000.0, CancelToken())
    boxes = [Box((i, i, 0), (i + 20, i + 25, 30)) for i in range(6)]
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: scan.read(boxes[i])}))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, box in enumerate(boxes):
        np.testing.assert_array_equal(found[i], scan.read(box))


def test_a_noisy_scan_is_denoised_and_a_clean_one_is_not(
    clean: np.ndarray, grey: np.ndarray
) -> None:
    found = denoising(grey)
    assert found is not None
    assert 1.0 < found.contrast_to_noise < 1.6
    assert 0.5 * 4000 < found.weight < 4000
    told_from_noise = (15 / found.contrast_to_noise) ** 2
    largest = np.pi / 6 * (DIAMETER / 2) ** 3
    assert found.least_voxels == pytest.approx(min(told_from_noise, largest))
    assert denoising(clean.astype(np.uint16)) is None
    assert denoising(grey, least=0) is None
    assert denoising(grey, least=1.0) is None


def test_the_grey_scale_is_that_of_the_denoised_scan(clean: np.ndarray, grey: np.ndarray) -> None:
    found = denoising(grey)
    assert found is not None
    # Without noise the grey values lie in a narrower range.
    assert found.scaling.low > np.percentile(grey, 0.5) + 2000
    assert found.scaling.high < np.percentile(grey, 99.5) - 2000
    shown = DenoisedScan(ArrayVolume(grey), found.weight, CancelToken()).read(Box.whole(SHAPE))
    assert found.scaling.mean == pytest.approx(float(shown.mean()), abs=0.1 * float(shown.std()))
    assert found.scaling.std == pytest.approx(float(shown.std()), rel=0.1)
    assert np.abs(shown - clean).std() < np.abs(grey - clean).std() / 2


def test_averaging_at_working_scale_counts(grey: np.ndarray) -> None:
    """A scan that is reduced to half is less noisy there, and its smallest particles larger."""
    found, reduced = denoising(grey, least=9), denoising(grey, least=9, scale=0.5)
    assert found is not None and reduced is not None
    assert reduced.contrast_to_noise > 1.5 * found.contrast_to_noise
    assert reduced.weight < found.weight


def test_half_of_an_average_diameter_is_never_left_out(grey: np.ndarray) -> None:
    noisier = (grey + np.random.default_rng(3).normal(0, 5500, SHAPE)).astype(np.float32)
    found = denoising(noisier)
    assert found is not None
    assert found.least_voxels == pytest.approx(np.pi / 6 * (DIAMETER / 2) ** 3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 50), (2, 3, 40), (30, 30, 30)])
def test_scans_without_anything_to_measure_are_left_as_they_are(shape: Any) -> None:
    assert denoising(np.full(shape, 700, np.uint16)) is None
    if min(shape) < 3:
        assert denoising(np.random.default_rng(1).normal(500, 90, shape).astype(np.uint16)) is None


def test_measuring_can_be_cancelled(grey: np.ndarray) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        denoising_for(
            ArrayVolume(grey), card(2.5).normalisation, 2.5, DIAMETER, 1.0, Progress(), cancel
        )


@pytest.mark.parametrize("limit", [None, -0.25])
def test_figures_survive_the_way_through_json(limit: float | None) -> None:
    figures = replace(FIGURES, darkest_limit=limit)
    assert Denoising.from_dict(json.loads(json.dumps(figures.as_dict()))) == figures
    endless = replace(figures, scaling=GreyScaling(float("-inf"), float("inf"), 0.0, 1.0))
    assert Denoising.from_dict(json.loads(json.dumps(endless.as_dict()))) == endless


DAMAGED: list[Any] = [
    {}, [], "noise", 3,
    *[{**FIGURES.as_dict(), **change} for change in (
        {"weight": 0}, {"weight": -1.0}, {"weight": float("nan")}, {"weight": float("inf")},
        {"weight": "much"}, {"weight": None}, {"weight": 10**400},
        {"contrast_to_noise": float("nan")}, {"contrast_to_noise": 0},
        {"least_voxels": -1}, {"least_voxels": float("nan")}, {"least_voxels": float("inf")},
        {"darkest_limit": float("nan")}, {"darkest_limit": "dark"},
        {"scaling": None}, {"scaling": []}, {"scaling": {}},
        {"scaling": {"low": 0, "high": 1, "mean": 0.5, "std": 0}},
        {"scaling": {"low": 0, "high": 1, "mean": float("nan"), "std": 1}},
        {"scaling": {"low": float("nan"), "high": 1, "mean": 0, "std": 1}},
        {"scaling": {"low": 2, "high": 1, "mean": 0, "std": 1}},
        {"scaling": {"low": 0, "high": 1, "mean": 0, "std": 1, "more": 1}},
    )],
]  # fmt: skip


@pytest.mark.parametrize("raw", DAMAGED)
def test_damaged_figures_are_told_in_one_sentence(raw: Any, grey: np.ndarray) -> None:
    asked = RunSettings(10, 10 * DIAMETER)
    with pytest.raises(RunError, match="noise of its scan cannot be read") as caught:
        network_input(
            ArrayVolume(grey),  # type: ignore[arg-type]
            card(2.5),
            asked,
            Progress(),
            CancelToken(),
            {"denoising": raw},
        )
    assert caught.value.remedy


def test_a_run_says_what_it_did_and_how_small_is_too_small() -> None:
    # A ball of 110 voxels is 5.9 voxels wide.
    note = denoising_note(replace(FIGURES, contrast_to_noise=1.43, least_voxels=110.0), 2.5)
    assert note == (
        "The scan is noisy (particles stand out by 1.4 times the noise), so it was denoised before "
        "particles were looked for. Particles below about 15 µm cannot be told from noise and "
        "were left out."
    )
    assert "about 1.5 mm" in denoising_note(replace(FIGURES, least_voxels=110.0), 250.0)


def test_noise_in_which_nothing_is_seen_is_left_as_it_is(grey: np.ndarray) -> None:
    noise = np.random.default_rng(3).normal(0, 40000, SHAPE)
    assert denoising((grey + noise).astype(np.float32)) is None
