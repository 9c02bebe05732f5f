"""Noisy simulated scans reach a network in training as a run would show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from particleseg_app.training.fresh_scenes import Stream, _make_scene, _scene_path
from particleseg_app.training.scene_pool import (
    SCAN_CLIPPED,
    SceneForm,
    normalise_scan,
    own_scaling,
    read_scene,
    scaled,
    shown_to_network,
)
from particleseg_app.training.scenes import simulate_scan
from particleseg_app.training.shown_scan import as_in_a_run
from tests.segmentation.tube_scans import grains

DIAMETER, SHAPE = 20.0, (48, 56, 64)
DARK, CONTRAST = 9000.0, 6000.0
LEAST = 2.5


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Balls, and a speck of 3³ voxels."""
    made = grains(np.random.default_rng(3), SHAPE, np.ones(SHAPE, bool), 0.3, DIAMETER)
    away = ndimage.distance_transform_cdt(np.pad(made == 0, 1))[1:-1, 1:-1, 1:-1]
    free = np.unravel_index(int(away.argmax()), SHAPE)
    speck = tuple(slice(n - 1, n + 2) for n in free)
    made[speck] = made.max() + 1
    return made.astype(np.uint32)


def scanned(labels: np.ndarray, noise: float) -> np.ndarray:
    even = ndimage.gaussian_filter(np.where(labels > 0, DARK + CONTRAST, DARK), 0.6)
    noise = np.random.default_rng(4).normal(0, noise * CONTRAST, SHAPE)
    return np.clip(even + noise, 0, 65535).astype(np.uint16)


def spread_inside(grey: np.ndarray, labels: np.ndarray) -> float:
    """Standard deviation inside particles over the contrast to the matrix."""
    inside = ndimage.binary_erosion(labels > 0, iterations=3)
    outside = ndimage.binary_erosion(labels == 0, iterations=3)
    return float(grey[inside].std() / (grey[inside].mean() - grey[outside].mean()))


def test_a_noisy_scan_loses_its_noise_and_what_is_drowned_in_it(labels: np.ndarray) -> None:
    shown = as_in_a_run(scanned(labels, 0.8), labels, SCAN_CLIPPED, LEAST, DIAMETER)
    assert shown is not None and shown.scaling is not None and shown.grey.dtype == np.float32
    assert spread_inside(shown.grey, labels) < 0.25
    assert labels.max() not in shown.labels
    kept = np.unique(shown.labels)
    assert len(kept) > 5 and np.array_equal(np.isin(labels, kept[1:]), shown.labels > 0)


def test_other_scans_are_shown_as_they_are(labels: np.ndarray) -> None:
    quiet, noisy = scanned(labels, 0.1), scanned(labels, 0.8)
    assert as_in_a_run(quiet, labels, SCAN_CLIPPED, LEAST, DIAMETER) is None
    assert as_in_a_run(noisy, labels, SCAN_CLIPPED, 0.0, DIAMETER) is None
    grey, same = shown_to_network(quiet, labels, SceneForm(least_contrast_to_noise=LEAST))
    assert np.array_equal(grey, normalise_scan(quiet)) and same is labels


def test_uneven_slices_are_evened_out(labels: np.ndarray) -> None:
    quiet = scanned(labels, 0.1).astype(np.float32)
    added = np.random.default_rng(5).normal(0, 0.4 * CONTRAST, SHAPE[0])[:, None, None]
    uneven = np.clip(quiet + added, 0, 65535).astype(np.uint16)
    shown = as_in_a_run(uneven, labels, SCAN_CLIPPED, 0.0, DIAMETER)
    assert shown is not None and shown.scaling is None and shown.labels is labels
    steps = [
        float(np.abs(np.diff(grey.astype(float), axis=0)).mean()) for grey in (shown.grey, uneven)
    ]
    assert steps[0] < 0.5 * steps[1]
    grey, same = shown_to_network(uneven, labels)
    # On the grey scale of the scan as it was taken.
    assert np.array_equal(grey, scaled(shown.grey, own_scaling(uneven, SCAN_CLIPPED)))
    assert same is labels


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_scenes_of_a_pool_are_read_without_noise(
    labels: np.ndarray, tmp_path: Path, factor: float
) -> None:
    path = tmp_path / "scene.npz"
    np.savez(path, grey=scanned(labels, 1.2), labels=labels.astype(np.uint16))
    plain, all_labels = read_scene(path, SceneForm(factor))
    grey, told = read_scene(path, SceneForm(factor, least_contrast_to_noise=LEAST))
    assert grey.shape == plain.shape == told.shape and grey.dtype == np.float32
    assert spread_inside(grey, all_labels) < 0.6 * spread_inside(plain, all_labels)


def test_fresh_scenes_are_made_without_noise(tmp_path: Path) -> None:
    made = []
    for least in (0.0, LEAST):
        stream = Stream({"noisy": 1.0}, 6, edge=64, least_contrast_to_noise=least)
        _make_scene(tmp_path, stream, 0)
        with np.load(_scene_path(tmp_path, 0)) as data:
            made.append(data["grey"].astype(np.float32))
    roughness = [float(np.abs(np.diff(grey, axis=2)).mean()) for grey in made]
    assert roughness[1] < 0.5 * roughness[0]


def test_the_noisy_preset_is_noisier_than_any_other() -> None:
    shares = {}
    for preset in ("noisy", "varied"):
        shares[preset] = [
            simulate_scan(preset, seed, (32, 32, 32)).settings["imaging"]["noise"]  # type: ignore[index]
            for seed in range(12)
        ]
    assert min(shares["noisy"]) > np.median(shares["varied"])
    assert np.median(shares["noisy"]) > max(shares["varied"])
