"""Simulated scans: the same for the same seed, labels in order, packed as the preset says."""

from __future__ import annotations

from pathlib import Path

import cc3d
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError
from particleseg_app.training import PRESETS, sample_scan, simulate_scan, write_scan
from particleseg_app.training.contacts import contact_voxels
from particleseg_app.training.packing import tidy_labels
from particleseg_app.training.random_fields import smooth_noise

SMALL = (48, 48, 48)
SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


def touching_share(labels: np.ndarray) -> float:
    pairs = cc3d.contacts(labels, connectivity=26)
    return len({label for pair in pairs for label in pair}) / max(1, int(labels.max()))


def test_same_seed_gives_same_voxels_and_another_seed_does_not() -> None:
    first = simulate_scan("varied", 5, SMALL)
    again = simulate_scan("varied", 5, SMALL)
    other = simulate_scan("varied", 6, SMALL)
    assert np.array_equal(first.grey, again.grey)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.grey, other.grey)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_gives_usable_labels(preset: str) -> None:
    scan = simulate_scan(preset, 11, SMALL, diameter=14)
    assert scan.grey.shape == scan.labels.shape == SMALL
    assert scan.grey.dtype == np.uint16
    assert scan.labels.dtype == np.uint32
    assert np.array_equal(np.unique(scan.labels), np.arange(scan.labels.max() + 1))
    # Each particle is one piece.
    pieces = cc3d.connected_components(scan.labels, connectivity=6)
    assert pieces.max() == scan.labels.max()
    assert scan.grey.std() > 0


def test_presets_differ_in_how_much_touches() -> None:
    def mean_share(preset: str) -> float:
        scans = [simulate_scan(preset, seed, (64, 64, 64), diameter=12) for seed in range(4)]
        return float(np.mean([touching_share(scan.labels) for scan in scans]))

    assert mean_share("spaced") < 0.3
    assert mean_share("settled") > 0.8
    assert mean_share("spaced") < mean_share("touching") < mean_share("settled_angular")


def test_settled_scenes_are_dense_and_wide_ones_are_wide() -> None:
    dense = [simulate_scan("settled_angular", seed, (64, 64, 64), 12) for seed in range(5)]
    assert max((scan.labels > 0).mean() for scan in dense) > 0.5
    wide = simulate_scan("wide", 3, (96, 96, 96), 12)
    volumes = np.bincount(wide.labels.ravel())[1:]
    assert (volumes.max() / volumes.min()) ** (1 / 3) > 4


def test_particles_can_be_told_from_what_is_around_them() -> None:
    scan = simulate_scan("settled", 2, (64, 64, 64), 16)
    inside, outside = scan.grey[scan.labels > 0], scan.grey[scan.labels == 0]
    assert abs(float(np.median(inside)) - float(np.median(outside))) > 0.3 * float(outside.std())


@pytest.mark.parametrize(
    ("preset", "shape", "diameter"),
    [("unheard of", SMALL, None), ("spaced", (8, 48, 48), None), ("spaced", SMALL, 1000.0)],
)
def test_impossible_requests_are_explained(
    preset: str, shape: tuple[int, int, int], diameter: float | None
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        simulate_scan(preset, 0, shape, diameter)
    assert caught.value.remedy


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_tidy_labels_keeps_one_piece_of_each_and_numbers_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, 4, (6, 6, 6)) * (rng.random((6, 6, 6)) < 0.8)).astype(np.uint32)
    tidy = tidy_labels(labels.repeat(2, 0), smallest=5)
    assert np.array_equal(np.unique(tidy), np.arange(tidy.max() + 1))
    assert cc3d.connected_components(tidy, connectivity=6).max() == tidy.max()
    # Nothing is invented: every kept particle lies within one of the given ones.
    for label in range(1, int(tidy.max()) + 1):
        assert len(np.unique(labels.repeat(2, 0)[tidy == label])) == 1


def test_contacts_are_between_two_particles_only() -> None:
    labels = np.zeros((9, 9, 20), np.uint32)
    labels[2:7, 2:7, 1:7] = 1
    labels[2:7, 2:7, 8:13] = 2
    near = contact_voxels(labels)
    assert near[4, 4, 7]
    assert near[4, 4, 6]
    assert not near[4, 4, 2]
    assert not near[4, 4, 12]  # next to background only
    assert not contact_voxels((labels == 1).astype(np.uint32)).any()


@pytest.mark.parametrize("length", [0.5, 3.0, 40.0])
def test_smooth_noise_has_unit_deviation_and_its_shape(length: float) -> None:
    field = smooth_noise(np.random.default_rng(0), (20, 30, 25), length)
    assert field.shape == (20, 30, 25)
    assert abs(float(field.std()) - 1) < 0.01


def test_bundled_sample_is_what_the_simulator_makes(tmp_path: Path) -> None:
    scan = sample_scan()
    files = sorted((SAMPLE / "ore_sample").glob("*.tif"))
    grey = np.stack([tifffile.imread(path) for path in files])
    labels = tifffile.imread(SAMPLE / "ore_sample_labels.tif")
    # Another processor may round a voxel at a surface differently.
    assert (labels == scan.labels).mean() > 0.999
    assert np.corrcoef(grey.ravel(), scan.grey.ravel())[0, 1] > 0.99
    assert sum(path.stat().st_size for path in [*files, SAMPLE / "ore_sample_labels.tif"]) < 6e6
    write_scan(scan, tmp_path / "again", tmp_path / "labels.tif", 10.0)
    with tifffile.TiffFile(tmp_path / "again" / "again_0003.tif") as file:
        page = file.pages[0]
        assert page.tags["XResolution"].value == (1000, 1)
        assert page.tags["ResolutionUnit"].value == 3
        assert np.array_equal(page.asarray(), scan.grey[3])
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), scan.labels)
