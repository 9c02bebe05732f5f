"""Whatever splits a particle: its parts are connected, none is a crumb, and no voxel is lost."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.fragments import smallest_part, tidy_parts
from particleseg_app.review.proposals import propose_cut
from particleseg_app.review.splitting import (
    split_by_border_stroke,
    split_by_cut,
    split_by_markers,
)

NEW = 90


def body(random: np.random.Generator, threshold: float = 0.0) -> np.ndarray:
    """Labels (z, y, x) of a ragged particle 7, of one 26-connected piece, and particle 3."""
    shape = tuple(random.integers(8, 26, 3))
    field = ndimage.gaussian_filter(random.normal(size=shape), random.uniform(0.7, 2.2))
    pieces = cc3d.connected_components(field > threshold * field.std(), connectivity=26)
    sizes = np.bincount(pieces.ravel(), minlength=2)
    sizes[0] = 0
    inside = pieces == int(np.argmax(sizes))
    return np.where(inside, 7, np.where(random.random(shape) < 0.1, 3, 0)).astype(np.uint32)


def pieces_of(mask: np.ndarray) -> int:
    return int(cc3d.connected_components(mask, connectivity=26).max())


def check(before: np.ndarray, after: np.ndarray, smallest_particle: float) -> None:
    inside = before == 7
    np.testing.assert_array_equal(after[~inside], before[~inside])
    parts = np.unique(after[inside])
    assert len(parts) >= 2 and set(parts.tolist()) - {7} == set(range(NEW, NEW + len(parts) - 1))
    sizes = [int((after == part).sum()) for part in parts]
    assert sum(sizes) == inside.sum()
    assert min(sizes) >= smallest_part(int(inside.sum()), smallest_particle)
    assert [pieces_of(after == part) for part in parts] == [1] * len(parts)


@given(seed=st.integers(0, 2**32 - 1), smallest=st.sampled_from([0.0, 5.5, 40.0]))
@settings(max_examples=25, deadline=None)
def test_every_way_to_split_leaves_connected_parts_and_no_crumb(seed: int, smallest: float) -> None:
    random = np.random.default_rng(seed)
    before = body(random, random.uniform(-0.5, 1.0))
    grey = (1000 * (before > 0) + random.integers(0, 1500, before.shape)).astype(np.uint16)
    places = np.argwhere(before == 7)
    count = int(random.integers(2, 5))
    markers = random.choice(places, min(count, len(places)), replace=False).tolist()
    line = np.array([markers[0], markers[-1]], float)
    noise = random.integers(0, count + 1, before.shape)
    least = {"smallest_particle": smallest}
    attempts = [
        lambda: split_by_markers(before, None, 7, markers, NEW, **least),
        lambda: split_by_markers(before, grey, 7, markers, NEW, by="grey", **least),
        lambda: split_by_border_stroke(before, 7, line, markers[0], markers[-1], NEW, **least),
        lambda: split_by_cut(before, 7, noise, NEW, **least),
        lambda: propose_cut(before, 7, NEW, markers, smallest),
        lambda: propose_cut(before, 7, NEW, (), smallest),
    ]
    for attempt in attempts:
        try:
            after = attempt()
        except InvalidValueError as error:
            assert error.remedy
            continue
        if after is not None:
            check(before, after, smallest)


@given(seed=st.integers(0, 2**32 - 1), smallest=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_parts_of_a_particle_in_pieces(seed: int, smallest: int) -> None:
    """Pieces that were apart before may stay with a part whole; nothing else is apart."""
    random = np.random.default_rng(seed)
    shape = random.integers(3, 12, 3)
    inside = np.pad(random.random(shape) < random.uniform(0.05, 0.9), 1)
    if not inside.any():
        return
    kind = random.choice([np.int8, np.int32])
    parts = np.where(inside, random.integers(1, 6, inside.shape), -1).astype(kind)
    tidy_parts(parts, smallest)
    np.testing.assert_array_equal(parts > 0, inside)
    whole = cc3d.connected_components(inside, connectivity=26)
    left = np.unique(parts[inside])
    for part in left:
        own = parts == part
        assert len(left) == 1 or own.sum() >= smallest
        pieces = cc3d.connected_components(own, connectivity=26)
        torn = 0
        for piece in range(1, int(pieces.max()) + 1):
            around = whole == whole[pieces == piece][0]
            torn += int(around.sum()) != int((pieces == piece).sum())
        assert torn <= 1


def test_a_crumb_goes_to_the_part_it_shares_the_most_faces_with() -> None:
    parts = np.full((9, 9, 12), -1, np.int8)
    parts[1:8, 1:8, 1:6] = 1
    parts[1:8, 1:8, 6:11] = 2
    parts[3:5, 3:5, 5:7] = 3  # half in either; one more row lies in the second
    parts[3:5, 3, 7] = 3
    tidy_parts(parts, 11)
    assert (parts[3:5, 3:5, 5:7] == 2).all() and set(np.unique(parts)) == {-1, 1, 2}


def test_a_loose_fragment_goes_to_what_is_around_it_whatever_its_size() -> None:
    parts = np.full((14, 14, 24), -1, np.int32)
    parts[1:13, 1:13, 1:12] = 1
    parts[1:13, 1:13, 12:23] = 2
    parts[4:9, 4:9, 3:8] = 2
    tidy_parts(parts, 1)
    assert (parts[1:13, 1:13, 1:12] == 1).all()


def test_what_a_run_keeps_as_a_particle_is_no_crumb_and_small_particles_may_be_split() -> None:
    assert smallest_part(10_000, 3.2) == 20
    assert smallest_part(10_000, 31.5) == 32
    assert smallest_part(60, 0.5) == 6
    labels = np.zeros((6, 6, 14), np.uint32)
    labels[1:4, 1:4, 1:4] = labels[1:4, 1:4, 5:8] = labels[2, 2, 4] = 7
    after = split_by_markers(labels, None, 7, [(2, 2, 2), (2, 2, 6)], NEW)
    assert sorted(int((after == n).sum()) for n in (7, NEW)) == [27, 28]


def test_a_split_that_would_leave_a_crumb_alone_says_so() -> None:
    labels = np.zeros((20, 20, 30), np.uint32)
    labels[2:18, 2:18, 2:18] = 7
    labels[9, 9, 18:22] = 7
    cut = np.where(np.arange(30) < 19, 1, 2) * np.ones(labels.shape, np.int32)
    with pytest.raises(InvalidValueError, match="fewer than 20 voxels"):
        split_by_cut(labels, 7, cut, NEW)
    assert propose_cut(labels, 7, NEW, [(10, 10, 10), (9, 9, 21)], 5000.0) is None
