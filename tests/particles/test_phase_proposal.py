"""How many phases are proposed, and where the thresholds between them lie."""

from __future__ import annotations

import numpy as np
import pytest

from particleseg_app.particles.interior_histogram import InteriorHistogram
from particleseg_app.particles.phase_proposal import proposal_of
from tests.particles.phase_volumes import grain_scan, proposed


def histogram(*peaks: tuple[float, float, int], seed: int = 0) -> InteriorHistogram:
    """Exact grey levels of normally distributed phases: mean, deviation, number of voxels."""
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(mean, spread, n) for mean, spread, n in peaks])
    edges = np.arange(0, 65537) - 0.5
    return InteriorHistogram(np.histogram(values.round().clip(0, 65535), edges)[0], edges)


@pytest.mark.parametrize(
    "levels",
    [(20_000.0,), (20_000.0, 26_000.0), (15_000.0, 21_000.0, 30_000.0),
     (12_000.0, 18_000.0, 25_000.0, 34_000.0)],
)  # fmt: skip
def test_as_many_phases_as_the_grains_have(levels):
    scan = grain_scan(levels, noise=1200.0)
    found = proposed(scan.labels, scan.grey)
    assert found.count == len(levels)
    for threshold, low, high in zip(found.phases.thresholds, levels[:-1], levels[1:], strict=True):
        assert low + 0.25 * (high - low) < threshold < high - 0.25 * (high - low)


@pytest.mark.parametrize("matrix", [2000.0, 19_000.0, 60_000.0])
def test_the_blurred_rim_is_no_phase(matrix):
    scan = grain_scan((30_000.0,), noise=300.0, blur=1.0, matrix=matrix)
    assert proposed(scan.labels, scan.grey).count == 1


def test_thin_particles_are_found_as_a_phase():
    scan = grain_scan((20_000.0,))
    labels, grey = scan.labels, scan.grey.copy()
    labels[:, :, 51:] = 0
    grey[:, :, 51:] = np.random.default_rng(1).normal(9000, 600, grey[:, :, 51:].shape)
    for label, z in enumerate(range(1, 66, 4), start=65):
        labels[z : z + 2, 5:60, 54:66] = label  # plates of two voxels
        grey[z : z + 2, 5:60, 54:66] += 31_000
    found = proposed(labels, grey)
    assert found.count == 2
    assert 22_000 < found.phases.thresholds[0] < 38_000


def test_a_rare_phase_is_found_and_the_large_one_is_not_cut():
    found = proposal_of(histogram((20_000, 1500, 300_000), (32_000, 1500, 3000)))
    assert found.count == 2
    assert 25_000 < found.phases.thresholds[0] < 30_000
    np.testing.assert_allclose(
        found.histogram.shares(found.phases.thresholds), [0.99, 0.01], atol=0.001
    )


@pytest.mark.parametrize("voxels", [500, 20_000, 2_000_000])
@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_phase(voxels, seed):
    assert proposal_of(histogram((20_000, 2500, voxels), seed=seed)).count == 1


@pytest.mark.parametrize(("distance", "count"), [(2.0, 1), (3.2, 2)])
def test_phases_must_be_far_enough_apart(distance, count):
    peaks = ((20_000, 1500, 200_000), (20_000 + distance * 1500, 1500, 200_000))
    assert proposal_of(histogram(*peaks)).count == count


@pytest.mark.parametrize("step", [3, 700, 4000])
def test_few_grey_levels_are_no_phases(step):
    fine = histogram((20_000, 6000, 300_000))
    levels = np.arange(fine.counts.size) // step * step
    counts = np.bincount(levels, weights=fine.counts, minlength=fine.counts.size).astype(int)
    assert proposal_of(InteriorHistogram(counts, fine.edges)).count == 1


def test_few_grey_levels_of_a_scan_are_no_phases():
    scan = grain_scan((30_000.0,), noise=2500.0, blur=0.7)
    assert proposed(scan.labels, scan.grey // 4000 * 4000).count == 1


def test_cut_off_grey_values_are_no_phase_unless_they_are_many():
    for share, count in ((0.02, 1), (0.15, 2)):
        found = histogram((40_000, 6000, 300_000), (65_000, 100, int(300_000 * share)))
        assert proposal_of(found).count == count


def test_thresholds_for_every_number_of_phases():
    found = proposal_of(
        histogram((12_000, 900, 90_000), (20_000, 900, 90_000), (30_000, 900, 9000))
    )
    assert found.count == 3
    assert [len(thresholds) for thresholds in found.thresholds] == [0, 1, 2, 3, 4]
    # Two phases keep the deepest valley; beyond three Otsu's thresholds still ascend.
    assert found.thresholds[1][0] in found.thresholds[2]
    for thresholds in found.thresholds:
        assert list(thresholds) == sorted(set(thresholds))


@pytest.mark.parametrize("values", [[], [7], [7, 9]])
def test_hardly_any_grey_values(values):
    counts = np.zeros(256, np.int64)
    counts[values] = 1000
    found = proposal_of(InteriorHistogram(counts, np.arange(257) - 0.5))
    assert found.count == 1
    assert all(len(thresholds) < max(2, len(values)) for thresholds in found.thresholds)
    for count in range(1, 6):
        assert found.phases_of(count).count <= max(1, len(values))


def test_joined_bins_lose_no_voxel():
    whole = histogram((20_000, 1500, 300_000), (60_000, 10, 5))
    joined = whole.joined(300)
    assert joined.counts.size <= 300
    assert joined.counts.sum() == whole.counts.sum()
    assert joined.edges[-1] < 40_000, "rare outliers do not use up the bins"
