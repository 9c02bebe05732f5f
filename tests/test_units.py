"""Lengths, boxes and their words."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError
from particleseg_app.units import (
    Box,
    blocks,
    bounding_box,
    check_voxel_size,
    diameter_in_voxels,
    format_micrometres,
    scale_factor,
    slabs,
)

lengths = st.integers(1, 12)
shapes = st.tuples(lengths, lengths, lengths)


@given(shapes, shapes)
def test_blocks_tile_a_volume(shape, block_shape):
    covered = np.zeros(shape, int)
    for box in blocks(shape, block_shape):
        covered[box.slices] += 1
    assert (covered == 1).all()


@given(shapes, st.data())
def test_a_halo_stays_inside_and_finds_its_way_back(shape, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    box, volume = Box(start, stop), np.arange(np.prod(shape)).reshape(shape)
    outer = box.expanded(data.draw(st.integers(0, 5)), shape)
    assert outer.intersection(Box.whole(shape)) == outer
    np.testing.assert_array_equal(volume[outer.slices][box.within(outer)], volume[box.slices])


@given(shapes, st.data())
def test_a_box_within_a_box_is_moved_to_its_place_in_the_volume(shape, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    outer, volume = Box(start, shape), np.arange(np.prod(shape)).reshape(shape)
    inner = Box.whole(tuple(data.draw(st.integers(1, n)) for n in outer.shape))
    np.testing.assert_array_equal(
        volume[inner.moved(outer.start).slices], volume[outer.slices][inner.slices]
    )


def test_a_bounding_box_holds_all_and_no_more():
    boxes = Box((3, 1, 4), (4, 6, 5)), Box((0, 2, 9), (2, 3, 10)), Box((1, 2, 7), (2, 3, 8))
    assert bounding_box(*boxes) == Box((0, 1, 4), (4, 6, 10))
    assert bounding_box(boxes[0]) == boxes[0]


@given(shapes, st.integers(1, 300))
def test_slabs_tile_a_box_in_whole_slices(shape, most_voxels):
    box = Box((2, 5, 1), tuple(a + n for a, n in zip((2, 5, 1), shape, strict=True)))
    parts = list(slabs(box, most_voxels))
    assert parts[0].start == box.start and parts[-1].stop == box.stop
    for part, following in itertools.pairwise(parts):
        assert part.stop[0] == following.start[0]
    assert all(part.shape[1:] == box.shape[1:] for part in parts)
    assert all(part.size <= max(most_voxels, shape[1] * shape[2]) for part in parts)


def test_boxes_apart_share_nothing():
    assert Box((0, 0, 0), (2, 2, 2)).intersection(Box((5, 0, 0), (7, 2, 2))).size == 0


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), 1e-9, 1e9])
def test_impossible_voxel_sizes_are_told(size):
    with pytest.raises(InvalidValueError) as caught:
        check_voxel_size(size)
    assert "between" in caught.value.remedy


@pytest.mark.parametrize("diameter", [0, -5, float("nan"), 1, 1e9])
def test_impossible_diameters_are_told(diameter):
    with pytest.raises(InvalidValueError):
        diameter_in_voxels(diameter, 10)


def test_the_scale_factor_brings_particles_to_the_target_diameter():
    assert scale_factor(60, particle_diameter_um=300, voxel_size_um=10) == pytest.approx(2)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "0.123 µm"), (9.999, "10.0 µm"), (143.2, "143 µm"), (999.7, "1.00 mm"), (0, "0 µm")],
)
def test_lengths_for_people(value, text):
    assert format_micrometres(value) == text
