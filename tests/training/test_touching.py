"""The touching-particle augmentation: one more particle, face to face, and nothing else changed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.training.touching import Donor, add_touching_particle, whole_particles


def ball(radius: int) -> np.ndarray:
    grid = np.indices((2 * radius + 1,) * 3) - radius
    return (grid**2).sum(0) <= radius**2


def patch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A few separate balls of grey 1 in noise, numbered with gaps."""
    labels = np.zeros((36, 36, 36), np.uint32)
    mask = ball(4)
    for number, corner in enumerate([(2, 2, 2), (2, 24, 20), (22, 5, 18)], start=1):
        window = tuple(slice(c, c + 9) for c in corner)
        labels[window][mask] = 3 * number
    return (rng.normal(0, 0.1, labels.shape) + (labels > 0)).astype(np.float32), labels


@given(seed=st.integers(0, 10_000), radius=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_new_particle_touches_one_and_nothing_else_changes(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    grey, labels = patch(rng)
    grey_before, labels_before = grey.copy(), labels.copy()
    mask = ball(radius)
    changed = add_touching_particle(rng, grey, labels, Donor(np.full(mask.shape, 7.0), mask))
    assert np.array_equal(grey, grey_before)
    assert np.array_equal(labels, labels_before)
    if changed is None:
        return
    new_grey, new_labels = changed
    added = new_labels != labels
    assert added.any()
    assert set(new_labels[added]) == {10}
    assert (labels[added] == 0).all()
    assert np.array_equal(new_grey != grey, added)
    assert (new_grey[added] == 7).all()
    neighbours = set(labels[ndimage.binary_dilation(added)]) - {0}
    assert neighbours
    assert neighbours <= {3, 6, 9}
    assert new_labels.dtype == labels.dtype


def test_it_nearly_always_finds_room_among_separate_particles() -> None:
    rng = np.random.default_rng(0)
    grey, labels = patch(rng)
    donor = Donor(np.ones((7, 7, 7)), ball(3))
    found = [add_touching_particle(rng, grey, labels, donor) is not None for _ in range(30)]
    assert sum(found) >= 27


def test_patch_without_particle_or_room_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    donor = Donor(np.ones((7, 7, 7)), ball(3))
    empty = np.zeros((12, 12, 12), np.uint32)
    assert add_touching_particle(rng, empty.astype(float), empty, donor) is None
    full = empty + 1
    full[6:] = 2
    assert add_touching_particle(rng, full.astype(float), full, donor) is None


def test_donors_are_whole_particles_with_their_grey_values() -> None:
    grey, labels = patch(np.random.default_rng(0))
    labels[30:, 30:, 30:] = 20  # cut by the faces of the volume
    labels[15, 30, 5] = 21  # a speck
    donors = whole_particles(grey, labels)
    assert len(donors) == 3
    assert all(np.array_equal(donor.mask, ball(4)) for donor in donors)
    assert np.array_equal(donors[0].grey[ball(4)], grey[labels == 3])
