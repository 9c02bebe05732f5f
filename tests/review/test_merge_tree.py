"""Lobes and necks of bodies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.review.evidence import best_meeting, necks
from particleseg_app.review.merge_tree import distance_inside, merge_tree


def balls(*centres_and_radii, shape=(24, 24, 48)):
    grid = np.stack(np.mgrid[[slice(n) for n in shape]])
    mask = np.zeros(shape, bool)
    for centre, radius in centres_and_radii:
        offset = grid - np.array(centre)[:, None, None, None]
        mask |= (offset**2).sum(axis=0) <= radius**2
    return mask


TWO = balls(((12, 12, 12), 9), ((12, 12, 27), 8))


def test_two_balls_are_two_lobes_with_a_neck():
    tree = merge_tree(distance_inside(TWO), TWO)
    meeting = best_meeting(tree)
    assert meeting is not None
    lobes = tree.lobes([meeting])
    assert (lobes > 0).sum() == TWO.sum()
    assert lobes[12, 12, 12] != lobes[12, 12, 27]
    left = balls(((12, 12, 12), 9)) & ~balls(((12, 12, 27), 8))
    assert (lobes[left] == lobes[12, 12, 12]).mean() > 0.97
    assert tree.saddle[meeting] / tree.peaks[tree.lesser[meeting]] < 0.7
    tops = tree.tops(distance_inside(TWO), [meeting])
    assert sorted(round(x) for _, _, x in tops) == pytest.approx([12, 27], abs=1)


def test_a_ball_has_no_neck():
    ball = balls(((12, 12, 20), 10))
    assert necks(merge_tree(distance_inside(ball), ball)) == []


def test_three_balls_in_a_row_are_three_lobes():
    three = balls(((12, 12, 8), 7), ((12, 12, 22), 8), ((12, 12, 37), 7.5))
    tree = merge_tree(distance_inside(three), three)
    lobes = tree.lobes(necks(tree))
    assert len({int(lobes[12, 12, x]) for x in (8, 22, 37)}) == 3
    assert lobes.max() == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 7))
def test_the_lobes_of_any_height_map_tile_the_body(seed, edge):
    random = np.random.default_rng(seed)
    mask = random.random((edge, edge + 1, edge)) < 0.6
    height = random.integers(0, 6, mask.shape).astype(np.float32)
    tree = merge_tree(height, mask)
    assert ((tree.basins > 0) == mask).all()
    assert np.bincount(tree.basins[mask], minlength=tree.peaks.size)[1:].all() or not mask.any()
    # Every hill ends at most once, in a hill at least as high, at a height between both feet.
    assert np.unique(tree.lesser).size == tree.lesser.size
    assert (tree.peaks[tree.lesser] <= tree.peaks[tree.greater]).all()
    assert (tree.saddle <= tree.peaks[tree.lesser]).all()
    for meeting in range(tree.lesser.size):
        lobes = tree.lobes([meeting])
        assert (lobes == 2).sum() == tree.volumes[meeting]
        assert ((lobes > 0) == mask).all()


def test_a_neck_is_found_whichever_way_the_body_lies():
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        body = np.ascontiguousarray(TWO.transpose(axes))
        tree = merge_tree(distance_inside(body), body)
        meeting = best_meeting(tree)
        assert meeting is not None
        assert tree.volumes[meeting] / tree.size == pytest.approx(0.42, abs=0.06)
