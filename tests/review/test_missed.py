"""Bright bodies that no label covers."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.evidence import ScanFacts
from particleseg_app.review.missed import find_missed, pack_region, unpack_region
from particleseg_app.units import Box

FACTS = ScanFacts(median_volume=500.0, contrast=1000.0, background=1000.0)
SHAPE = (40, 48, 56)


class Volume:
    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def read(self, box):
        return self.values[box.slices].copy()


def ball(centre, radius):
    grid = np.stack(np.mgrid[[slice(n) for n in SHAPE]])
    return ((grid - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) <= radius**2


def found(bright, labels, block=(128, 128, 128), smallest=20, level=1000, noise=40):
    grey = 1000 + level * bright + np.random.default_rng(2).normal(0, noise, SHAPE)
    return find_missed(
        Volume(grey.astype(np.uint16)), Volume(labels), FACTS, smallest, Progress(),
        CancelToken(), block,
    )  # fmt: skip


def whole(body):
    there = np.zeros(SHAPE, bool)
    there[body.box.slices] = body.region
    return there


def test_a_bright_ball_without_a_label_is_found_as_it_is():
    there = ball((20, 20, 20), 5)
    bodies = found(there, np.zeros(SHAPE, np.uint32))
    assert len(bodies) == 1
    assert (whole(bodies[0]) & there).sum() > 0.9 * max(there.sum(), bodies[0].voxels)
    assert bodies[0].place == pytest.approx((20, 20, 20), abs=0.3)
    assert bodies[0].evidence["brightness"] == pytest.approx(1, abs=0.1)
    assert bodies[0].evidence["solidity"] > 0.8 and bodies[0].evidence["at_edge"] == 0


def test_neither_particles_nor_their_bright_rims_are_found():
    labels = ball((20, 20, 20), 8).astype(np.uint32)
    assert not found(ball((20, 20, 20), 8.7), labels)


def test_a_body_beside_a_particle_is_found_without_the_particles_voxels():
    labels = ball((20, 20, 14), 7).astype(np.uint32)
    bodies = found(ball((20, 20, 14), 7) | ball((20, 20, 28), 7), labels)
    assert len(bodies) == 1
    assert not (whole(bodies[0]) & (labels > 0)).any()
    assert bodies[0].voxels > 0.9 * ball((20, 20, 28), 7).sum()
    assert bodies[0].evidence["touching_share"] > 0


def test_what_is_faint_small_or_larger_than_any_particle_is_not_found():
    nothing = np.zeros(SHAPE, np.uint32)
    assert not found(ball((20, 20, 20), 5), nothing, level=250)
    assert not found(ball((20, 20, 20), 2), nothing, smallest=100)
    wall = np.zeros(SHAPE, bool)
    wall[:, 3:6] = True
    assert not found(wall, nothing, block=(16, 16, 16))


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 47), st.integers(0, 55), st.integers(2, 5)),
        min_size=1, max_size=6,
    ),
    st.tuples(*[st.integers(12, 40)] * 3),
)  # fmt: skip
def test_blocks_do_not_change_what_is_found(balls, block):
    bright = np.zeros(SHAPE, bool)
    labels = np.zeros(SHAPE, np.uint32)
    for number, (z, y, x, radius) in enumerate(balls):
        body = ball((z, y, x), radius)
        bright |= body
        if number % 3 == 2:
            labels[body] = number
    one, many = (found(bright, labels, size) for size in ((128, 128, 128), block))
    assert [body.box for body in one] == [body.box for body in many]
    for first, second in zip(one, many, strict=True):
        assert np.array_equal(first.region, second.region)
        assert first.evidence == pytest.approx(second.evidence, abs=1e-5)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**31))
def test_a_region_comes_back_as_it_was(depth, height, width, seed):
    region = np.random.default_rng(seed).random((depth, height, width)) < 0.5
    assert np.array_equal(unpack_region(pack_region(region), region.shape), region)


@pytest.mark.parametrize("packed", [b"", b"nonsense", pack_region(np.ones((50, 50, 50), bool))])
def test_what_is_no_region_of_its_box_is_refused(packed):
    with pytest.raises(ValueError, match="region"):
        unpack_region(packed, (4, 4, 4))


def test_the_box_is_tight():
    body = found(ball((20, 20, 20), 5), np.zeros(SHAPE, np.uint32))[0]
    assert isinstance(body.box, Box) and body.region.shape == body.box.shape
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        rows = body.region.any(axis=other)
        assert rows[0] and rows[-1]


@pytest.mark.parametrize("shape", [(0, 5, 5), (-1, 4, 4), (10**6, 10**6, 10**6)])
def test_a_region_of_an_impossible_shape_takes_no_memory(shape):
    packed = zlib.compress(bytes(10**6))
    with pytest.raises(ValueError, match="region"):
        unpack_region(packed, shape)
