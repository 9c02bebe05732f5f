"""Tiles cover the volume, and each belongs to exactly one chunk."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from particleseg_app.segmentation.tiles import plan_chunks, tile_shape_for, tile_starts
from particleseg_app.units import Box

lengths = st.integers(1, 90)
shapes = st.tuples(lengths, lengths, lengths)


@given(st.integers(1, 400), st.sampled_from([16, 32, 96]), st.sampled_from([0.25, 0.5]))
def test_starts_cover_the_length_with_the_overlap_asked_for(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile >= length
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= tile * (1 - overlap) + 1).all()


@given(shapes, st.sampled_from([0.25, 0.5]), st.integers(1, 4))
def test_chunks_tile_the_volume_and_share_out_all_tiles_once(shape, overlap, tiles_per_chunk):
    tile = tile_shape_for(shape, (32, 32, 32))
    chunks = plan_chunks(shape, tile, overlap, tiles_per_chunk)
    covered = np.zeros(shape, int)
    for chunk in chunks:
        covered[chunk.box.slices] += 1
    assert (covered == 1).all()
    starts = [start for chunk in chunks for start in chunk.tiles]
    assert len(starts) == len(set(starts))
    assert sorted(starts) == sorted(plan_chunks(shape, tile, overlap, 1000)[0].tiles)


@given(shapes, st.integers(1, 3))
def test_a_tile_never_reaches_back_into_an_earlier_chunk(shape, tiles_per_chunk):
    tile = tile_shape_for(shape, (32, 16, 32))
    for chunk in plan_chunks(shape, tile, 0.5, tiles_per_chunk):
        for start in chunk.tiles:
            stop = tuple(a + n for a, n in zip(start, tile, strict=True))
            assert all(a >= b for a, b in zip(start, chunk.box.start, strict=True))
            assert all(a <= b for a, b in zip(stop, chunk.reach.stop, strict=True))
        assert chunk.box.intersection(Box.whole(shape)) == chunk.box


def test_a_thin_volume_gets_a_thin_tile():
    assert tile_shape_for((15, 300, 500), (96, 96, 96)) == (16, 96, 96)
