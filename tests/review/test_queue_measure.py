"""The benchmark's own counting: true errors, and which of them a queue has shown."""

from dataclasses import replace

import numpy as np
import pytest

from particleseg_app.evaluation import score
from particleseg_app.review.cases import ReviewCase, case_id
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.looking_order import in_looking_order
from particleseg_app.review.missed import pack_region
from particleseg_app.units import Box
from tests.benchmarks.review_oracle import Agreement
from tests.benchmarks.review_queue import Judged, as_one_queue, curve, seen_after
from tests.benchmarks.review_truth import truth


def row(*runs):
    """Labels along x: (label, voxels) one after the other."""
    return np.concatenate([np.full(n, label, np.uint32) for label, n in runs])[None, None]


REFERENCE = row((1, 10), (2, 10), (0, 4), (3, 12), (0, 9), (4, 5))
PREDICTED = row((5, 20), (0, 4), (6, 4), (7, 4), (8, 4), (9, 9), (10, 5))


def case(kind, *labels, probability=0.5):
    box = Box((0, 0, 0), (1, 1, 1))
    return ReviewCase(case_id(kind, labels), kind, labels, probability, 1.0, {}, "", box, (0, 0, 0))


def test_true_errors_are_those_of_the_score():
    found = truth(REFERENCE, PREDICTED)
    assert found.mergers == {5: [1, 2]} and found.splitters == {3: [6, 7, 8]}
    assert found.false == {9} and not found.missed
    assert (found.score.mergers, found.score.splitters) == (1, 2)
    for kind, labels, errors in (
        ("merger", (5,), 1), ("merger", (6,), 0), ("splitter", (7, 6), 1),
        ("splitter", (8, 9), 0), ("false particle", (9,), 1),
    ):  # fmt: skip
        assert found.excess(kind, case(kind, *labels)) == errors
    assert found.count == 4


def test_a_missed_particle_is_found_by_the_body_that_is_mostly_it():
    predicted = np.where(PREDICTED == 10, 0, PREDICTED)
    found = truth(REFERENCE, predicted)
    assert found.missed == {4} and found.count == 5
    body = replace(
        case("missed particle"),
        box=Box((0, 0, 40), (1, 1, 50)),
        region=pack_region(row((0, 4), (1, 6)) > 0),
    )
    assert REFERENCE.shape == (1, 1, 50)
    assert found.excess("missed particle", body) == 1
    beside = replace(body, region=pack_region(row((1, 10)) > 0))
    assert found.excess("missed particle", beside) == 0
    # A crumb in a larger particle is not asked for, a missed one is.
    assert truth(REFERENCE, predicted, crumb=6).missed == {4}
    assert truth(REFERENCE, PREDICTED, crumb=11).mergers == {}


def test_errors_are_seen_in_their_own_cases_and_pieces_only_once():
    queue = [
        case("splitter", 6, 7),
        case("merger", 9),
        case("splitter", 7, 8),
        case("splitter", 6, 8),
        case("merger", 5),
    ]
    one = Judged("made up", queue, truth(REFERENCE, PREDICTED), 6)
    shares, counts = seen_after(one, named=False)
    assert counts.tolist() == [0, 1, 1, 2, 2, 3]
    assert shares == pytest.approx([0, 2 / 6, 3 / 6, 4 / 6, 4 / 6, 5 / 6])
    some = np.array([0.0, 0.34, 0.7, 1.0])
    assert curve([one], some, named=False) == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_what_the_window_names_beside_a_case_is_seen_with_it():
    queue = in_looking_order(
        [case("splitter", 6, 7), case("splitter", 7, 8), case("merger", 5, probability=0.6)]
    )
    assert [(c.labels, c.focus) for c in queue] == [((6, 7), 7), ((7, 8), 7), ((5,), 5)]
    one = Judged("made up", queue, truth(REFERENCE, PREDICTED), 6)
    shares, counts = seen_after(one)
    assert counts.tolist() == [0, 2, 2, 3]
    assert shares == pytest.approx([0, 1 / 6, 1 / 6, 2 / 6])
    assert curve([one], np.array([0.17])) == pytest.approx(2 / 3)
    # Two scans with the same doubts: half of each has been seen where half of both has.
    assert as_one_queue([one, one], np.array([0.0, 0.17, 1.0])) == pytest.approx([0, 2 / 3, 1])


def test_the_sessions_score_follows_every_change():
    agreement = Agreement(REFERENCE, PREDICTED)
    assert score(agreement.overlaps()) == truth(REFERENCE, PREDICTED).score
    box = Box((0, 0, 0), PREDICTED.shape)
    after = PREDICTED.copy()
    after[0, 0, 10:20] = 11
    after[PREDICTED == 9] = 0
    after[PREDICTED == 8] = 7
    then = agreement.after(LabelChange(box, PREDICTED, after, 11))
    assert score(then.overlaps()) == truth(REFERENCE, after).score
    # What was before is left as it was.
    assert score(agreement.overlaps()) == truth(REFERENCE, PREDICTED).score
    assert agreement.held_by(5) == [1, 2] and then.held_by(5) == [1]
    assert agreement.owner(9) == 0 and agreement.owner(6) == 3
    assert agreement.pieces_of(3) == [6, 7, 8] and then.pieces_of(3) == [6, 7]
    assert agreement.missed() == set()
