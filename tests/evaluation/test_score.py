"""The accuracy figures against hand-computed cases and a plain reading of their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError
from particleseg_app.evaluation import count_overlaps, evaluate, matched_pairs, overlaps
from particleseg_app.units import Box, Shape


def line(*labels: int) -> np.ndarray:
    return np.array(labels, np.uint32).reshape(1, 1, -1)


def test_equal_volumes_score_one() -> None:
    labels = line(0, 1, 1, 0, 7, 7, 7)
    result = evaluate(labels, line(0, 9, 9, 0, 4, 4, 4))
    assert (result.f1, result.f1_match, result.f1_instance) == (1, 1, 1)
    assert (result.merger_ratio, result.splitter_ratio) == (0, 0)
    assert (result.reference_count, result.predicted_count, result.true_positives) == (2, 2, 2)


def test_a_merger() -> None:
    result = evaluate(line(1, 1, 1, 1, 2, 2, 3, 3), line(5, 5, 5, 5, 5, 5, 6, 6))
    assert result.mergers == 1 and result.splitters == 0
    assert result.merger_ratio == pytest.approx(1 / 3)
    assert result.f1 == 1
    assert (result.true_positives, result.false_negatives, result.false_positives) == (2, 1, 0)
    assert result.f1_match == pytest.approx(4 / 5)
    assert result.f1_instance == pytest.approx((2 * 4 / 10 + 1 + 0) / 3)


def test_a_splitter() -> None:
    result = evaluate(line(1, 1, 1, 1, 2, 2, 0, 0), line(5, 5, 5, 6, 7, 7, 0, 0))
    assert result.splitters == 1 and result.mergers == 0
    assert result.splitter_ratio == 0.5
    assert (result.true_positives, result.false_negatives, result.false_positives) == (2, 0, 1)
    assert result.f1_instance == pytest.approx((2 * 3 / 7 + 1 + 0) / 3)


def test_half_is_not_more_than_half() -> None:
    result = evaluate(line(1, 1, 2, 2), line(5, 0, 5, 0))
    assert result.mergers == 0


def test_missed_and_extra() -> None:
    result = evaluate(line(1, 1, 0, 0, 2), line(1, 1, 0, 3, 0))
    assert (result.true_positives, result.false_negatives, result.false_positives) == (1, 1, 1)
    assert result.f1 == pytest.approx(2 * 2 / 6)
    assert result.f1_match == 0.5
    assert result.f1_instance == pytest.approx(1 / 3)


@pytest.mark.parametrize(("length", "matches"), [(19, 1), (20, 0)])
def test_a_pair_needs_a_dice_of_a_tenth(length: int, matches: int) -> None:
    # Dice = 2 / (1 + length): exactly 0.1 at 19 voxels.
    predicted = np.zeros((1, 1, length), np.uint8)
    predicted[..., 0] = 1
    result = evaluate(np.ones((1, 1, length), np.uint8), predicted)
    assert result.true_positives == matches


def test_equal_dice_goes_to_the_smaller_labels() -> None:
    pairs = matched_pairs(count_overlaps(line(8, 8, 3, 3), line(6, 5, 5, 6)))
    assert pairs[["reference", "predicted"]].to_numpy().tolist() == [[3, 5], [8, 6]]


def test_empty_volumes() -> None:
    none, some = np.zeros((2, 2, 2), np.uint16), np.ones((2, 2, 2), np.uint16)
    both = evaluate(none, none)
    assert (both.f1, both.f1_match, both.f1_instance) == (1, 1, 1)
    for result in (evaluate(none, some), evaluate(some, none)):
        assert (result.f1, result.f1_match, result.f1_instance) == (0, 0, 0)
        assert (result.merger_ratio, result.splitter_ratio) == (0, 0)
    assert matched_pairs(count_overlaps(none, some)).empty


def test_unusable_input_is_said_plainly() -> None:
    labels = np.zeros((2, 2, 2), np.uint16)
    with pytest.raises(InvalidValueError, match="2 × 2 × 2"):
        evaluate(labels, np.zeros((2, 2, 3), np.uint16))
    with pytest.raises(InvalidValueError, match="not labels"):
        evaluate(labels, np.full((2, 2, 2), -1))
    with pytest.raises(InvalidValueError, match="not labels"):
        evaluate(np.zeros((2, 2, 2)), labels)
    with pytest.raises(InvalidValueError, match="not a volume"):
        evaluate(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))


def test_pair_measures() -> None:
    pairs = matched_pairs(count_overlaps(line(1, 1, 1, 1, 0, 0), line(0, 2, 2, 2, 2, 2)))
    row = pairs.iloc[0]
    assert (row.reference_voxels, row.predicted_voxels, row.shared_voxels) == (4, 5, 3)
    assert row.dice == pytest.approx(6 / 9)
    assert row.jaccard == pytest.approx(3 / 6) == pytest.approx(row.dice / (2 - row.dice))
    assert row.volumetric_similarity == pytest.approx(1 - 1 / 9)


def plain_score(reference: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The definitions, word by word, on whole arrays."""
    ours = [n for n in np.unique(reference) if n]
    theirs = [n for n in np.unique(predicted) if n]
    shared = {
        (a, b): int(((reference == a) & (predicted == b)).sum()) for a in ours for b in theirs
    }
    size_a = {a: int((reference == a).sum()) for a in ours}
    size_b = {b: int((predicted == b).sum()) for b in theirs}
    dice = {(a, b): 2 * n / (size_a[a] + size_b[b]) for (a, b), n in shared.items()}
    left_a, left_b, found = set(ours), set(theirs), []
    while True:
        open_pairs = [p for p in dice if p[0] in left_a and p[1] in left_b and dice[p] >= 0.1]
        if not open_pairs:
            break
        best = min(open_pairs, key=lambda p: (-dice[p], p))
        found.append(dice[best])
        left_a.discard(best[0])
        left_b.discard(best[1])
    everything = len(found) + len(left_a) + len(left_b)
    merged = [sum(shared[a, b] > size_a[a] / 2 for a in ours) for b in theirs]
    split = [sum(shared[a, b] > size_b[b] / 2 for b in theirs) for a in ours]
    voxels = sum(size_a.values()) + sum(size_b.values())
    return {
        "f1": 2 * sum(shared.values()) / voxels if voxels else 1,
        "f1_match": 2 * len(found) / (len(ours) + len(theirs)) if everything else 1,
        "f1_instance": sum(found) / everything if everything else 1,
        "merger_ratio": sum(m - 1 for m in merged if m > 1) / len(ours) if ours else 0,
        "splitter_ratio": sum(s - 1 for s in split if s > 1) / len(ours) if ours else 0,
    }


class OnDisk:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def shape(self) -> Shape:
        z, y, x = self.array.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        return self.array[box.slices]


@st.composite
def two_volumes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 8)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reference = rng.integers(0, draw(st.integers(1, 9)), shape)
    predicted = np.where(
        rng.random(shape) < draw(st.floats(0, 1)),
        reference // draw(st.integers(1, 3)),
        rng.integers(0, draw(st.integers(1, 9)), shape),
    )
    return reference, predicted


@settings(deadline=None, max_examples=150)
@given(two_volumes(), st.tuples(*[st.integers(1, 8)] * 3))
def test_scores_follow_their_definitions(
    volumes: tuple[np.ndarray, np.ndarray], block_shape: Shape
) -> None:
    reference, predicted = volumes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "_BLOCK_SHAPE", block_shape)
        result = evaluate(OnDisk(reference), OnDisk(predicted)).as_dict()
    for name, value in plain_score(reference, predicted).items():
        assert result[name] == pytest.approx(value), name


def test_labels_up_to_the_highest_uint32() -> None:
    labels = np.array([[[0, 1, 2**32 - 1, 2**32 - 1]]], np.uint32)
    assert evaluate(labels, labels).f1_instance == 1
