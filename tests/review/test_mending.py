"""The mending tools on a stored run: where they read, what they leave in the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from particleseg_app.errors import InvalidValueError
from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review import mending as mending_module
from particleseg_app.review import mends
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.review.mending import ChangesByPiece, Mending
from particleseg_app.units import Box
from tests.review.label_models import write_labels

SHAPE = (72, 80, 150)
WHOLE = Box.whole(SHAPE)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    squares = [(np.arange(n) - c) ** 2 for n, c in zip(SHAPE, centre, strict=True)]
    return squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius**2


class Scan:
    def __init__(self, labels: np.ndarray) -> None:
        self.values = np.where(labels > 0, 900, 100).astype(np.uint16)
        self.shape = SHAPE

    def read(self, box: Box) -> np.ndarray:
        return self.values[box.slices]


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Mending]:
    """1: two overlapping balls; 2 and 3: balls that touch; 4: a small one far away."""
    labels = np.zeros(SHAPE, np.uint32)
    labels[ball((30, 30, 25), 12) | ball((30, 30, 44), 12)] = 1
    labels[ball((30, 30, 90), 10)] = 2
    labels[ball((30, 30, 110), 10)] = 3
    labels[ball((66, 70, 140), 4)] = 4
    base = write_labels(tmp_path / "labels.h5", labels)
    table = measure_particles(base, None, 1.0, Progress(), CancelToken())
    journal = ReviewJournal.open(tmp_path / "review.sqlite", base)
    mended = MendedLabels(base, journal)
    yield Mending(mended, Scan(labels), LabelBoxes(table, journal))
    mended.close()


def now(tools: Mending) -> np.ndarray:
    return tools.labels.read(WHOLE)


def test_points_are_those_of_the_volume(tools: Mending) -> None:
    change = tools.preview_split_by_markers(1, [(30, 30, 20), (30, 30, 48)])
    assert (now(tools) == tools.labels.base.read(WHOLE)).all(), "a preview writes nothing"
    entry = tools.apply(change, "split", "Split particle 1 by two markers", case_id="merger 1")
    assert set(entry.labels) == {1, 5}
    after = now(tools)
    assert {after[30, 30, 20], after[30, 30, 48]} == {1, 5}
    assert tools.journal.case_states() == {"merger 1": "mended"}
    new = tools.boxes.box(5)
    found = np.argwhere(after == 5)
    assert (found >= new.start).all()
    assert (found < new.stop).all()
    # What was made by a mend can be mended.
    tools.apply(tools.preview_merge([1, 5]), "merge", "Merged")
    np.testing.assert_array_equal(now(tools), tools.labels.base.read(WHOLE))


def test_a_border_stroke_and_a_cut_are_placed_in_the_volume(tools: Mending) -> None:
    line = np.array([(30, 15, 30), (30, 45, 30)])
    change = tools.preview_split_by_border_stroke(1, line, (30, 30, 22), (30, 30, 48))
    tools.apply(change, "split", "")
    after = now(tools)
    assert after[30, 30, 28] == after[30, 30, 22]
    assert after[30, 30, 32] == after[30, 30, 48] != after[30, 30, 22]
    tools.journal.undo()
    box = Box((25, 25, 20), (36, 36, 50))
    parts = np.where(np.arange(30) < 14, 1, 2) * np.ones(box.shape, np.int32)
    tools.apply(tools.preview_split_by_cut(1, box, parts), "split", "")
    after = now(tools)
    assert after[30, 30, 33] != after[30, 30, 34]
    assert not ((after == 0) & (tools.labels.base.read(WHOLE) == 1)).any()


def test_grey_values_move_the_surface(tools: Mending) -> None:
    whole = now(tools)
    assert isinstance(tools.scan, Scan)
    tools.scan.values = np.where(ball((66, 70, 140), 5), 900, 100).astype(np.uint16)
    tools.apply(tools.preview_grow_shrink_to_edge([4]), "grow", "Grown to the edge")
    np.testing.assert_array_equal(now(tools) == 4, ball((66, 70, 140), 5))
    np.testing.assert_array_equal(now(tools) == 2, whole == 2)


def test_a_group_is_one_gesture(tools: Mending) -> None:
    whole = now(tools)
    changes = list(tools.preview_delete([4, 2]))
    assert sum(c.box.size for c in changes) < WHOLE.size / 10, "not the box of all"
    tools.apply(changes, "delete", "Deleted 2 particles")
    assert set(np.unique(now(tools))) == {0, 1, 3}
    assert tools.journal.mend_count == 1
    tools.journal.undo()
    np.testing.assert_array_equal(now(tools), whole)
    tools.apply(tools.preview_smooth([1, 2, 3]), "smooth", "Smoothed 3 particles")
    assert tools.journal.mend_count == 1


def test_pieces_of_a_group_get_numbers_of_their_own(tools: Mending) -> None:
    after = now(tools)
    for label, z in ((1, 50), (2, 60)):  # dumbbells with a thin bar, which smoothing cuts
        before = after.copy()
        after[z : z + 7, 60:67, 5:12] = after[z : z + 7, 60:67, 30:37] = label
        after[z + 3, 63, 12:30] = label
        tools.journal.append(LabelChange(WHOLE, before, after.copy()), "paint", "")
    tools.apply(tools.preview_smooth([1, 2]), "smooth", "")
    numbers = np.unique(now(tools))
    assert len(numbers) > 6
    smoothed = now(tools)
    for number in numbers[numbers > 4]:
        origins = np.unique(after[smoothed == number])
        assert len(origins[origins > 0]) == 1, "a new number means one particle"


def test_very_large_particles_are_merged_and_deleted_in_pieces(
    tools: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = now(tools)
    expected = whole.copy()
    expected[whole == 3] = 1
    monkeypatch.setattr(mending_module, "MOST_VOXELS", 1000)
    changes = tools.preview_merge([1, 3])
    assert isinstance(changes, ChangesByPiece)
    tools.apply(changes, "merge", "")
    np.testing.assert_array_equal(now(tools), expected)
    tools.apply(tools.preview_delete([1]), "delete", "")
    assert not (now(tools) == 1).any()
    with pytest.raises(InvalidValueError, match="too large for this tool"):
        tools.preview_smooth([2])
    # A brush works on them, too, but does not look at the whole of them.
    monkeypatch.setattr(mending_module, "MOST_VOXELS", 4000)
    tools.apply(tools.preview_erase([(30, 30, 90)], 5), "erase", "")
    np.testing.assert_array_equal(now(tools) == 2, (whole == 2) & ~ball((30, 30, 90), 5))


def test_a_brush_makes_new_particles_and_ends_at_the_scan(tools: Mending) -> None:
    tools.apply(tools.preview_paint(None, [(0, 0, 0), (2, 0, 0)], 4), "paint", "")
    np.testing.assert_array_equal(now(tools) == 5, ball((0, 0, 0), 4) | ball((2, 0, 0), 4))
    tools.apply(tools.preview_erase([(0, 0, 0)], 30, label=5), "erase", "")
    assert not (now(tools) == 5).any()
    for centres in ([(0, 0, -90)], [], [(float("nan"), 0, 0)]):
        with pytest.raises(InvalidValueError):
            tools.preview_paint(1, centres, 3)


def test_what_is_not_there_is_told(tools: Mending) -> None:
    for preview in (
        lambda: tools.preview_delete([77]),
        lambda: tools.preview_merge([1, 77]),
        lambda: tools.preview_smooth([77]),
        lambda: tools.preview_split_by_markers(77, [(1, 1, 1), (2, 2, 2)]),
    ):
        with pytest.raises(InvalidValueError, match="Particle 77 is not there"):
            preview()
    with pytest.raises(InvalidValueError, match="two or more"):
        tools.preview_merge([1])
    tools.apply(tools.preview_delete([4]), "delete", "")
    with pytest.raises(InvalidValueError, match="Particle 4 is not there"):
        tools.preview_delete([4])
    blind = Mending(tools.labels, None, tools.boxes)
    with pytest.raises(InvalidValueError, match="scan of this run is not there"):
        blind.preview_grow_shrink_to_edge([1])


def test_what_is_compiled_ahead_is_all_the_tools_need() -> None:
    mends.prepare(np.dtype(np.uint16))
