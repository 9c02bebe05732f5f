"""The mending tools on small crops: what they change, and what they must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError
from particleseg_app.review import mends
from particleseg_app.review.splitting import rasterised

NEW = 90


def ball(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float
) -> np.ndarray:
    squares = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
    return squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius**2


def two_balls(first: float = 10, second: float = 10, distance: float = 17) -> np.ndarray:
    """Two balls that overlap along x, both particle 7, with particle 3 below them."""
    shape = (44, 44, 64)
    labels = np.zeros(shape, np.uint32)
    labels[ball(shape, (20, 20, 15), first) | ball(shape, (20, 20, 15 + distance), second)] = 7
    labels[36:40] = 3
    return labels


def parts_of(after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return after == 7, after == NEW


@pytest.mark.parametrize("markers", [[(20, 20, 15), (20, 20, 32)], [(20, 28, 14), (13, 20, 27)]])
def test_markers_split_at_the_neck(markers: list[tuple[int, int, int]]) -> None:
    labels = two_balls()
    after = mends.split_by_markers(labels, None, 7, markers, NEW)
    kept, new = parts_of(after)
    assert ((kept | new) == (labels == 7)).all()
    neck = 23.5
    sides = np.indices(labels.shape)[2] < neck
    left = kept if kept[20, 20, 15] else new
    wrong = (left != sides) & (labels == 7)
    assert wrong.sum() <= 0.03 * (labels == 7).sum()
    assert after[20, 20, 15] != after[20, 20, 32]
    np.testing.assert_array_equal(after == 3, labels == 3)


def test_the_larger_part_keeps_the_number() -> None:
    after = mends.split_by_markers(two_balls(12, 7, 16), None, 7, [(20, 20, 34), (20, 20, 12)], NEW)
    kept, new = parts_of(after)
    assert kept[20, 20, 12]
    assert new[20, 20, 34]


def test_markers_in_one_convex_body_share_it() -> None:
    labels = np.zeros((30, 30, 50), np.uint32)
    labels[5:25, 5:25, 5:45] = 7
    after = mends.split_by_markers(labels, None, 7, [(15, 15, 15), (15, 15, 35)], NEW)
    kept, new = parts_of(after)
    assert 0.3 < kept.sum() / (kept.sum() + new.sum()) < 0.7
    assert after[15, 15, 15] != after[15, 15, 35]


def test_grey_values_can_place_the_cut() -> None:
    labels = np.zeros((20, 20, 60), np.uint32)
    labels[4:16, 4:16, 4:56] = 7
    grey = np.where(labels > 0, 1000, 100).astype(np.uint16)
    grey[:, :, 19:21][labels[:, :, 19:21] > 0] = 600  # a darker seam far from the middle
    after = mends.split_by_markers(labels, grey, 7, [(10, 10, 8), (10, 10, 50)], NEW, by="grey")
    assert (after[4:16, 4:16, 4:19] == NEW).all()
    assert (after[4:16, 4:16, 21:56] == 7).all()


@pytest.mark.parametrize("edge", [24, 100])
def test_noise_cannot_fence_in_a_marker(edge: int) -> None:
    labels = np.zeros((edge + 8, edge + 8, 2 * edge + 8), np.uint32)
    labels[4:-4, 4:-4, 4:-4] = 7
    noise = np.random.default_rng(0).integers(0, 3000, labels.shape)
    grey = (noise + 7000 * (labels > 0)).astype(np.uint16)
    middle = edge // 2 + 4
    markers = [(middle, middle, edge // 2), (middle, middle, edge * 3 // 2)]
    after = mends.split_by_markers(labels, grey, 7, markers, NEW, by="grey")
    kept, new = parts_of(after)
    assert new.sum() > 0.2 * (kept.sum() + new.sum())


def test_a_large_particle_is_split_where_a_small_one_is() -> None:
    shape = (110, 110, 220)
    labels = np.zeros(shape, np.uint32)
    labels[ball(shape, (55, 55, 60), 50) | ball(shape, (55, 55, 150), 50)] = 7
    after = mends.split_by_markers(labels, None, 7, [(55, 55, 40), (70, 55, 160)], NEW)
    sides = np.indices(shape)[2] < 105
    wrong = ((after == after[55, 55, 60]) != sides) & (labels == 7)
    assert wrong.sum() <= 0.005 * (labels == 7).sum()


def test_three_markers_give_three_particles() -> None:
    labels = np.zeros((30, 30, 90), np.uint32)
    for x in (15, 38, 61):
        labels[ball(labels.shape, (15, 15, x), 13)] = 7
    after = mends.split_by_markers(labels, None, 7, [(15, 15, x) for x in (15, 38, 61)], NEW)
    assert set(np.unique(after)) == {0, 7, NEW, NEW + 1}


def test_a_drawn_border_splits_where_it_is_drawn() -> None:
    labels = two_balls()
    stroke = np.array([(20, 5, 26), (20, 35, 26)])  # off the neck, on purpose
    after = mends.split_by_border_stroke(labels, 7, stroke, (20, 20, 15), (20, 20, 34), NEW)
    on_slice = after[20]
    inside = labels[20] == 7
    columns = np.indices(inside.shape)[1]
    assert (on_slice[inside & (columns < 25)] == on_slice[20, 15]).all()
    assert (on_slice[inside & (columns > 27)] == on_slice[20, 34]).all()
    assert on_slice[20, 15] != on_slice[20, 34]
    # In depth the cut goes on where it began.
    depth = np.indices(labels.shape)[2]
    wrong = ((after == on_slice[20, 15]) != (depth < 26)) & (labels == 7)
    assert wrong.sum() <= 0.06 * (labels == 7).sum()


def test_a_border_beside_the_particle_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="does not cross"):
        mends.split_by_border_stroke(
            two_balls(), 7, np.array([(2, 2, 2), (2, 9, 2)]), (20, 20, 15), (20, 20, 32), NEW
        )


def test_a_stroke_has_no_gaps() -> None:
    line = rasterised(np.array([(3, 0, 0), (3, 9, 25)]), (10, 10, 30))
    assert np.abs(np.diff(line[np.argsort(line[:, 2], kind="stable")], axis=0)).max() <= 1


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        ([(20, 20, 15)], "at least two"),
        ([(20, 20, 15), (20, 20, 15)], "same place"),
        ([(20, 20, 15), (2, 2, 60)], "Marker 2"),
        ([(20, 20, 15), (-40, 2, 900)], "Marker 2"),
    ],
)
def test_markers_that_cannot_split_are_refused(markers: list, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        mends.split_by_markers(two_balls(), None, 7, markers, NEW)


def test_a_proposed_cut_takes_all_of_the_particle() -> None:
    labels = two_balls()
    parts = np.zeros(labels.shape, np.int32)
    parts[:, :, :22] = 1
    parts[:, :, 26:] = 2  # the voxels between go to the nearer part
    after = mends.split_by_cut(labels, 7, parts, NEW)
    kept, new = parts_of(after)
    assert ((kept | new) == (labels == 7)).all()
    assert kept.any()
    assert new.any()
    with pytest.raises(InvalidValueError, match="one piece"):
        mends.split_by_cut(labels, 7, np.ones(labels.shape, np.int32), NEW)


def test_merging_keeps_the_number_of_the_largest() -> None:
    labels = np.zeros((6, 6, 20), np.uint32)
    labels[:, :, :4], labels[:, :, 4:14], labels[:, :, 14:18] = 1, 2, 3
    after = mends.merge(labels, [1, 2, 3])
    assert set(np.unique(after)) == {0, 2}
    with pytest.raises(InvalidValueError, match="two or more"):
        mends.merge(labels, [2])
    with pytest.raises(InvalidValueError, match="Particle 9 is not there"):
        mends.merge(labels, [2, 9])


def test_deleting_leaves_the_others() -> None:
    labels = two_balls()
    after = mends.delete(labels, [7])
    assert not (after == 7).any()
    np.testing.assert_array_equal(after == 3, labels == 3)


def test_painting_takes_background_only_unless_told() -> None:
    labels = two_balls()
    after = mends.paint(labels, 7, [(34, 20, 20), (36, 20, 24)], 5)
    np.testing.assert_array_equal(after == 3, labels == 3)
    assert (after == 7).sum() > (labels == 7).sum()
    over = mends.paint(labels, 7, [(36, 20, 20)], 5, over_all=True)
    assert (over == 3).sum() < (labels == 3).sum()
    np.testing.assert_array_equal(over == 7, (labels == 7) | ball(labels.shape, (36, 20, 20), 5))


def test_the_brush_is_cut_at_the_crop() -> None:
    labels = np.zeros((10, 10, 10), np.uint32)
    after = mends.paint(labels, 4, [(0, 0, 0), (-50, 3, 3), (9.5, 9, 9)], 3)
    np.testing.assert_array_equal(
        after == 4, ball(labels.shape, (0, 0, 0), 3) | ball(labels.shape, (9.5, 9, 9), 3)
    )


def test_what_erasing_cuts_off_becomes_a_particle() -> None:
    labels = np.zeros((12, 12, 60), np.uint32)
    labels[3:9, 3:9, 2:58] = 7
    after = mends.erase(labels, [(6, y, 20) for y in range(0, 12, 2)], 6, NEW)
    kept, new = parts_of(after)
    assert kept[5, 5, 50]
    assert new[5, 5, 5]
    gone = (labels == 7) & (after == 0)
    assert gone.any()
    assert not (gone & (np.abs(np.indices(labels.shape)[2] - 20) > 6)).any()


def test_erasing_one_particle_leaves_its_neighbour() -> None:
    labels = two_balls()
    after = mends.erase(labels, [(35, 20, 20)], 8, NEW, label=7)
    np.testing.assert_array_equal(after == 3, labels == 3)
    assert (after == 7).sum() < (labels == 7).sum()


def test_pieces_that_were_apart_before_stay_one_particle() -> None:
    labels = np.zeros((8, 8, 40), np.uint32)
    labels[2:6, 2:6, 2:12] = labels[2:6, 2:6, 24:36] = 7
    after = mends.erase(labels, [(3, 3, 2)], 2, NEW)
    assert set(np.unique(after)) == {0, 7}


def test_holes_are_filled_but_not_bays_nor_particles_inside() -> None:
    labels = np.zeros((30, 30, 40), np.uint32)
    labels[3:27, 3:27, 3:37] = 7
    labels[8:12, 8:12, 8:12] = 0  # a hole
    labels[9:11, 9:11, 9:11] = 5  # a particle in it
    labels[15:18, 15:18, 20:40] = 0  # a bay
    after = mends.fill_holes(labels, 7)
    assert (after[8:12, 8:12, 8:12] > 0).all()
    np.testing.assert_array_equal(after == 5, labels == 5)
    np.testing.assert_array_equal(after[15:18, 15:18, 20:], labels[15:18, 15:18, 20:])


def test_smoothing_evens_the_surface_and_leaves_contacts() -> None:
    rng = np.random.default_rng(1)
    shape = (40, 40, 60)
    labels = np.zeros(shape, np.uint32)
    smooth_ball = ball(shape, (20, 20, 22), 14)
    labels[smooth_ball] = 7
    labels[:, :, 30:50] = 3
    rim = ball(shape, (20, 20, 22), 15) & ~ball(shape, (20, 20, 22), 13) & (labels != 3)
    labels[rim & (rng.random(shape) < 0.5)] = 7
    labels[rim & (labels != 7)] = 0
    after = mends.smooth(labels, 7, NEW)
    np.testing.assert_array_equal(after == 3, labels == 3)
    contact = np.zeros(shape, bool)
    contact[:, :, 29] = (labels[:, :, 29] == 7) & ball(shape, (20, 20, 22), 13)[:, :, 29]
    assert (after[contact] == 7).all(), "the contact opened"

    def roughness(of: np.ndarray) -> int:
        inside = of == 7
        return sum(int((np.diff(inside, axis=a)).sum()) for a in range(3))

    assert roughness(after) < 0.8 * roughness(labels)
    free = np.indices(shape)[2] < 26
    wrong = ((after == 7) != smooth_ball) & free
    assert wrong.sum() < ((labels == 7) != smooth_ball)[free].sum()


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("radius", [8, 14])
def test_the_surface_goes_to_the_grey_edge(bright: bool, radius: int) -> None:
    shape = (40, 40, 50)
    true = ball(shape, (20, 20, 20), 11)
    neighbour = np.zeros(shape, bool)
    neighbour[:, :, 32:40] = True
    grey = np.where(true | neighbour, 1000, 300).astype(np.float32)
    grey += np.random.default_rng(0).normal(0, 60, shape)
    labels = np.where(ball(shape, (20, 20, 20), radius), 7, 0).astype(np.uint32)
    labels[neighbour] = 3
    after = mends.grow_shrink_to_edge(labels, grey if bright else -grey, 7, NEW, reach=4)
    np.testing.assert_array_equal(after == 3, labels == 3)
    assert ((after == 7) != true).sum() <= 0.02 * true.sum()


def test_it_does_not_go_further_than_it_may() -> None:
    shape = (50, 50, 50)
    grey = np.where(ball(shape, (25, 25, 25), 20), 1000.0, 100.0)
    labels = np.where(ball(shape, (25, 25, 25), 10), 7, 0).astype(np.uint32)
    after = mends.grow_shrink_to_edge(labels, grey, 7, NEW, reach=2)
    assert not ((after == 7) & ~ball(shape, (25, 25, 25), 12.5)).any()


def test_a_particle_without_contrast_is_refused() -> None:
    labels = two_balls()
    with pytest.raises(InvalidValueError, match="as bright as"):
        mends.grow_shrink_to_edge(labels, np.full(labels.shape, 5.0), 7, NEW)


TOOLS = {
    "markers": lambda labels, grey: mends.split_by_markers(
        labels, grey, 7, np.argwhere(labels == 7)[[0, -1]].tolist(), NEW
    ),
    "merge": lambda labels, grey: mends.merge(labels, [7, 8]),
    "delete": lambda labels, grey: mends.delete(labels, [7]),
    "paint": lambda labels, grey: mends.paint(labels, 7, [(8, 8, 8)], 5),
    "erase": lambda labels, grey: mends.erase(labels, [(8, 8, 8)], 4, NEW, label=7),
    "holes": lambda labels, grey: mends.fill_holes(labels, 7),
    "smooth": lambda labels, grey: mends.smooth(labels, 7, NEW),
    "edge": lambda labels, grey: mends.grow_shrink_to_edge(labels, grey, 7, NEW),
}


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_tool_changes_its_input_or_takes_from_a_neighbour(tool: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros((18, 18, 22), np.uint32)
    for label in (7, 3, 8, 7, 3):
        start, edges = rng.integers(0, 12, 3), rng.integers(2, 9, 3)
        labels[tuple(slice(a, a + n) for a, n in zip(start, edges, strict=True))] = label
    labels[0, 0, :3], labels[0, 0, 6:9] = 7, 8
    grey = rng.normal(0, 50, labels.shape) + 400 * (labels > 0)
    before = labels.copy()
    try:
        after = TOOLS[tool](labels, grey)
    except InvalidValueError:
        after = labels
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(after == 3, before == 3)
    assert after.dtype == np.uint32
    if tool == "markers" and after is not labels:
        np.testing.assert_array_equal(after > 0, before > 0)


def test_fitting_to_the_edge_does_not_depend_on_how_much_is_around():
    """Near the faces of a crop the surface moves in an array with a margin, elsewhere without."""
    from particleseg_app.review.mends import grow_shrink_to_edge

    random = np.random.default_rng(4)
    z, y, x = np.mgrid[:40, :40, :40]
    distance = np.sqrt((z - 20) ** 2 + (y - 19) ** 2 + (x - 21) ** 2)
    labels = (distance < 8).astype(np.uint32) * 3
    labels[:, 27:, :] = 5
    grey = np.where(distance < 10, 9000, 2000) + random.integers(0, 3000, distance.shape)
    grey = grey.astype(np.uint16)
    wide = grow_shrink_to_edge(labels, grey, 3, 6, reach=3)
    assert (wide == 3).sum() > 1.2 * (labels == 3).sum()
    # Cut where the particle grows against the faces of the crop.
    near = (slice(9, 32), slice(8, 30), slice(10, 33))
    tight = grow_shrink_to_edge(labels[near], grey[near], 3, 6, reach=3)
    assert np.array_equal(tight, wide[near])
