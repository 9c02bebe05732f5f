"""The independent cases are what they claim to be."""

import numpy as np
import pytest

from .independent_scans import bodies, cases, scene
from .independent_scans.real import separated
from .independent_scans.scanner import scanned


@pytest.mark.parametrize(
    "make",
    [
        bodies.fragment,
        bodies.pebble,
        bodies.plate,
        bodies.needle,
        bodies.branched,
        bodies.bitten,
        bodies.agglomerate,
    ],
)
def test_every_body_has_the_volume_of_the_ball_of_its_radius(make):
    random = np.random.default_rng(3)
    made = scene.Scene((96, 96, 96))
    body = make(random)
    _, level = made.window(body, np.array([48.0, 48, 48]), 10)
    assert (level < 0).sum() == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.08)


def test_bodies_of_each_habit_are_as_flat_long_or_hollow_as_their_names_say():
    random = np.random.default_rng(4)

    def axes_and_hollowness(make):
        from scipy.spatial import ConvexHull

        made = scene.Scene((96, 96, 96))
        _, level = made.window(make(random), np.array([48.0, 48, 48]), 10)
        points = np.argwhere(level < 0).astype(float)
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
        return spread, len(points) / ConvexHull(points).volume

    plate, _ = axes_and_hollowness(bodies.plate)
    needle, _ = axes_and_hollowness(bodies.needle)
    _, branched = axes_and_hollowness(bodies.branched)
    _, fragment = axes_and_hollowness(bodies.fragment)
    assert plate[0] / plate[1] < 0.5
    assert needle[1] / needle[2] < 0.45
    assert branched < 0.8 < fragment


@pytest.mark.parametrize("make", [cases.pushed_fragments, cases.settled_grains])
def test_touching_cases_touch_over_faces(make):
    case = make(shape=(48, 64, 64))
    assert scene.touching_share(case.labels, least_faces=20) > 0.5


def test_settled_grains_fill_more_than_half_of_the_volume():
    case = cases.settled_grains(shape=(64, 64, 64))
    assert 0.5 < (case.labels[8:-8, 8:-8, 8:-8] > 0).mean() < 0.65


def test_labels_are_whole_numbers_without_gaps_each_in_one_piece():
    from scipy import ndimage

    case = cases.pushed_fragments(shape=(40, 56, 56))
    labels = np.unique(case.labels)
    assert labels.tolist() == list(range(len(labels)))
    for label in labels[1:]:
        assert ndimage.label(case.labels == label)[1] == 1


def test_a_case_is_the_same_each_time():
    first, second = (cases.eight_voxels(shape=(32, 32, 32)) for _ in range(2))
    assert np.array_equal(first.grey, second.grey)
    assert np.array_equal(first.labels, second.labels)


def test_the_simulated_beam_hardens():
    _, y, x = np.ogrid[:2, :96, :96]
    radius = np.broadcast_to(np.hypot(y - 47.5, x - 47.5), (2, 96, 96))
    disc = np.where(radius < 36, 0.02, 0.0)
    nothing = np.zeros_like(disc)

    def rim_and_middle(light, dense):
        picture = scanned(np.random.default_rng(5), light, dense, photons=1e7)
        return picture[(radius > 30) & (radius < 33)].mean(), picture[radius < 10].mean()

    rim, middle = rim_and_middle(nothing, disc)
    weak_rim, weak_middle = rim_and_middle(disc / 100, nothing)
    assert rim > 1.1 * middle > 0
    assert weak_rim == pytest.approx(weak_middle, rel=0.05)


def test_binary_grains_that_touch_are_separated():
    z, y, x = np.mgrid[:40, :40, :70]
    first = (z - 20) ** 2 + (y - 20) ** 2 + (x - 22) ** 2 < 15**2
    second = (z - 20) ** 2 + (y - 20) ** 2 + (x - 48) ** 2 < 15**2
    labels = separated(first | second)
    assert labels.max() == 2
    assert labels[20, 20, 22] != labels[20, 20, 48]
