"""Border-core classes from labels and back, the whole volume in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.segmentation.border_core import (
    border_core_to_particles,
    labels_to_border_core,
)
from tests.segmentation.class_volumes import blob_classes, separate_balls

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**32 - 1)


def row(text: str) -> np.ndarray:
    """Classes of a line of voxels: `.` background, `c` core, `b` border."""
    return np.array([".cb".index(letter) for letter in text], np.uint8).reshape(1, 1, -1)


def particles(text: str, small_core_filter: bool = False) -> str:
    found = border_core_to_particles(row(text), small_core_filter)
    assert found.dtype == np.uint32
    return "".join(".123456789"[number] for number in found.ravel())


@settings(deadline=None, max_examples=50)
@given(shapes, seeds, st.floats(0.5, 4))
def test_core_is_what_lies_deeper_than_the_border(
    shape: tuple[int, int, int], seed: int, thickness: float
) -> None:
    labels = np.random.default_rng(seed).choice([0, 1, 1, 1, 1, 7], shape).astype(np.uint32)
    classes = labels_to_border_core(labels, thickness)
    places = np.argwhere(np.ones(shape, bool))
    for place in places[:: max(1, len(places) // 40)]:
        own = labels[tuple(place)]
        others = places[labels.ravel() != own]
        distance = np.inf
        if len(others):
            distance = np.sqrt(((others - place) ** 2).sum(axis=1).min())
        expected = 0 if own == 0 else 1 if distance > thickness else 2
        assert classes[tuple(place)] == expected


def test_touching_particles_are_kept_apart_by_their_borders() -> None:
    labels = np.ones((9, 9, 18), np.uint32)
    labels[:, :, 9:] = 2
    classes = labels_to_border_core(labels, 2)
    assert set(np.unique(classes[:, :, 7:11])) == {2}
    assert set(np.unique(classes[:, :, :7])) == {1}, "the volume's edge is not outside"
    np.testing.assert_array_equal(border_core_to_particles(classes), labels)


@settings(deadline=None, max_examples=25)
@given(seeds, st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_separate_particles_come_back(seed: int, thickness: float) -> None:
    rng = np.random.default_rng(seed)
    # One ball in each cell of a grid, at least 2 voxels from the next; its core survives the
    # filter, because balls are at least 3 voxels deeper than the border.
    balls = []
    for z in (9, 29):
        for y in (9, 29):
            for x in (9, 29):
                radius = rng.uniform(thickness + 3.6, 8)
                balls.append(((z, y, x), radius))
    labels = separate_balls((38, 38, 38), balls)
    found = border_core_to_particles(labels_to_border_core(labels, thickness))
    np.testing.assert_array_equal(found > 0, labels > 0)
    pairs = np.unique(np.stack([labels.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == len(balls) + 1, "one to one"


def test_a_border_voxel_goes_to_the_nearest_core() -> None:
    assert particles("bcbbbbbcb") == "111112222", "ties go to the core that comes first"
    assert particles("cbbbbc") == "111222"


def test_particles_are_numbered_by_their_first_voxels() -> None:
    # The middle one has no core: its first voxel counts. The last one's core comes last.
    assert particles("cb.bb.bbc") == "11.22.333"
    classes = np.zeros((1, 2, 5), np.uint8)
    classes[0, 0] = [2, 2, 0, 0, 1]
    classes[0, 1] = [1, 0, 0, 0, 0]
    found = border_core_to_particles(classes, small_core_filter=False)
    assert found[0, 0, 4] == 1 and found[0, 0, 0] == 2, "a particle's core counts, not its border"


def test_cores_join_by_faces_and_particles_by_corners() -> None:
    corner = np.zeros((2, 2, 2), np.uint8)
    corner[0, 0, 0] = corner[1, 1, 1] = 1
    assert border_core_to_particles(corner, small_core_filter=False).max() == 2
    assert border_core_to_particles(corner * 2).max() == 1


def test_growth_stays_in_its_own_region() -> None:
    classes = np.zeros((1, 3, 9), np.uint8)
    classes[0, 0] = row("cbbbbbbbb").ravel()
    classes[0, 2] = row("....bbbbc").ravel()
    found = border_core_to_particles(classes, small_core_filter=False)
    assert (found[0, 0] == 1).all(), "the other core is nearer, but across the background"
    assert (found[0, 2, 4:] == 2).all()


@pytest.mark.parametrize(
    ("edge", "stays"),
    [
        (3, False),  # 26 of 27 voxels near the outside: 96.3 %
        (4, True),  # 56 of 64: 87.5 %
    ],
)
def test_the_small_core_filter(edge: int, stays: bool) -> None:
    classes = np.full((12, 12, 24), 2, np.uint8)
    classes[2 : 2 + edge, 2 : 2 + edge, 2 : 2 + edge] = 1
    classes[3:9, 3:9, 14:20] = 1
    found = border_core_to_particles(classes)
    assert found.max() == (2 if stays else 1)
    assert (found > 0).all(), "a small core becomes border"
    assert border_core_to_particles(classes, small_core_filter=False).max() == 2


def test_a_deep_voxel_saves_a_core() -> None:
    # A wide plate, one voxel thick (all near), with a ball in it that is 3 voxels deep.
    classes = np.zeros((9, 60, 60), np.uint8)
    classes[4] = 1
    ball = separate_balls((9, 60, 60), [((4, 30, 30), 3.0)]) > 0
    classes[ball] = 1
    plate = classes == 1
    shallow = plate & ~ball
    shallow[4] = True
    two = np.full((9, 60, 130), 2, np.uint8)
    two[:, :, :60][plate] = 1
    two[:, :, 70:][shallow] = 1
    found = border_core_to_particles(two)
    assert found.max() == 1, "the plate without the ball goes, the one with it stays"


def test_small_core_alone_leaves_a_particle_without_a_core() -> None:
    assert particles("bcb.ccc", small_core_filter=True) == "111.222"


@settings(deadline=None, max_examples=50)
@given(shapes, seeds, st.floats(0.05, 1), st.floats(0, 1), st.booleans())
def test_every_foreground_voxel_is_in_one_particle_without_gaps(
    shape: tuple[int, int, int], seed: int, fill: float, core: float, small_core_filter: bool
) -> None:
    classes = blob_classes(shape, seed, 0.7, fill, core)
    found = border_core_to_particles(classes, small_core_filter)
    np.testing.assert_array_equal(found > 0, classes > 0)
    assert set(np.unique(found[found > 0])) == set(range(1, int(found.max()) + 1))


def test_empty_and_full_volumes() -> None:
    assert not border_core_to_particles(np.zeros((3, 3, 3), np.uint8)).any()
    assert (border_core_to_particles(np.ones((3, 3, 3), np.uint8)) == 1).all()
    assert (border_core_to_particles(np.full((3, 3, 3), 2, np.uint8)) == 1).all()
    full = np.full((4, 4, 4), 3, np.uint32)
    assert (labels_to_border_core(full, 100) == 1).all(), "no voxel is of another particle"
