"""Tiles cover the volume, and each belongs to exactly one chunk."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from particleseg_app.segmentation.tiles import (
    free_tile_shape,
    plan_chunks,
    tile_shape_for,
    tile_starts,
)
from particleseg_app.units import Box

lengths = st.integers(1, 90)
shapes = st.tuples(lengths, lengths, lengths)


@given(st.integers(1, 400), st.sampled_from([16, 32, 96]), st.integers(0, 15))
def test_starts_cover_the_length_with_the_overlap_asked_for(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile >= length
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= tile - overlap + 1).all()


@given(shapes, st.sampled_from([0, 8, 12]), st.integers(1, 4))
def test_chunks_tile_the_volume_and_share_out_all_tiles_once(shape, overlap, tiles_per_chunk):
    tile = tile_shape_for(shape, (32, 32, 32))
    shared = (overlap, overlap, overlap)
    chunks = plan_chunks(shape, tile, shared, tiles_per_chunk)
    covered = np.zeros(shape, int)
    for chunk in chunks:
        covered[chunk.box.slices] += 1
    assert (covered == 1).all()
    starts = [start for chunk in chunks for start in chunk.tiles]
    assert len(starts) == len(set(starts))
    assert sorted(starts) == sorted(plan_chunks(shape, tile, shared, 1000)[0].tiles)


@given(shapes, st.integers(1, 3))
def test_a_tile_never_reaches_back_into_an_earlier_chunk(shape, tiles_per_chunk):
    tile = tile_shape_for(shape, (32, 16, 32))
    for chunk in plan_chunks(shape, tile, (16, 8, 16), tiles_per_chunk):
        for start in chunk.tiles:
            stop = tuple(a + n for a, n in zip(start, tile, strict=True))
            assert all(a >= b for a, b in zip(start, chunk.box.start, strict=True))
            assert all(a <= b for a, b in zip(stop, chunk.reach.stop, strict=True))
        assert chunk.box.intersection(Box.whole(shape)) == chunk.box


def test_a_thin_volume_gets_a_thin_tile():
    assert tile_shape_for((15, 300, 500), (96, 96, 96)) == (16, 96, 96)


@given(st.integers(1, 3000), st.sampled_from([16, 32]), st.sampled_from([16, 32, 96, 160]))
def test_free_tiles_never_overlap_by_more_than_half(length, overlap, patch):
    edge = free_tile_shape((length, 1, 1), (patch, 16, 16), 128, overlap)[0]
    starts = tile_starts(length, edge, overlap)
    assert len(starts) == 1 or edge >= 2 * overlap
    assert edge % 16 == 0 and starts[-1] + edge >= length


@given(st.integers(1, 3000), st.sampled_from([16, 32]))
def test_no_other_edge_of_a_free_tile_is_less_work(length, overlap):
    edge = free_tile_shape((length, 1, 1), (96, 96, 96), 128, overlap)[0]
    work = edge * len(tile_starts(length, edge, overlap))
    for other in (96, 112, 128):
        assert work <= other * len(tile_starts(length, other, overlap))
    assert edge % 16 == 0 and edge <= 128
    assert edge >= 96 or edge - 16 < length <= edge


def test_a_volume_that_fits_into_one_tile_is_one_tile():
    assert free_tile_shape((15, 97, 128), (96, 96, 96), 128, 32) == (16, 112, 128)
    # Two of 96 are less work than two of 128; of the larger volume the longest are the least.
    assert free_tile_shape((130, 160, 2000), (96, 96, 96), 128, 32) == (96, 96, 128)
