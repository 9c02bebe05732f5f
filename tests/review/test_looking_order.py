"""The order of the queue, and what is named beside a case."""

from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.review.cases import ReviewCase, case_id
from particleseg_app.review.looking_order import (
    LEAST_ASKED,
    LEAST_NAMED,
    MOST_NAMED,
    doubts_beside,
    in_looking_order,
)
from particleseg_app.units import Box

KINDS = {0: "missed particle", 1: "merger", 2: "splitter"}


def case(labels, probability, weight=1.0):
    kind, box = KINDS[len(labels)], Box((0, 0, 0), (1, 1, 1))
    place = (float(len(labels)), round(probability * 1e6), 0.0)
    return ReviewCase(
        case_id(kind, labels, place), kind, labels, probability, weight, {}, "", box, place
    )


def order(cases):
    return [(one.labels, one.focus) for one in in_looking_order(cases)]


def test_a_particle_where_several_doubts_meet_comes_first():
    cases = [case((8, 9), 0.5), case((1, 2), 0.3), case((2, 3), 0.3), case((2,), 0.1)]
    assert order(cases) == [((1, 2), 2), ((2, 3), 2), ((2,), 2), ((8, 9), 8)]


def test_what_was_named_at_a_neighbour_does_not_bring_a_particle_forward():
    cases = [case((1, 2), 0.9), case((2,), 0.2), case((1,), 0.1), case((7,), 0.15)]
    assert order(cases) == [((1, 2), 2), ((2,), 2), ((7,), 7), ((1,), 1)]


def test_the_improbable_is_asked_at_the_end():
    cases = [case((1, 2), 0.9), case((1, 3), 0.02), case((7,), 0.012), case((5,), 0.001)]
    assert order(cases) == [((1, 2), 1), ((7,), 7), ((1, 3), 1), ((5,), 5)]


def test_bodies_without_a_label_have_their_own_place():
    cases = [case((1,), 0.5), case((), 0.4), case((2,), 0.3)]
    assert order(cases) == [((1,), 1), ((), 0), ((2,), 2)]


LABELS = st.one_of(
    st.tuples(st.integers(1, 12)),
    st.tuples(st.integers(1, 6), st.integers(7, 12)),
)
MADE = st.dictionaries(LABELS, st.floats(0, 1), max_size=30)


@settings(max_examples=60, deadline=None)
@given(MADE, st.randoms())
def test_the_order_is_of_the_same_cases_whatever_order_they_come_in(made, random):
    cases = [case(labels, p) for labels, p in made.items()]
    cases.append(case((), 0.5, 0.25))
    ordered = in_looking_order(cases)
    assert sorted(c.id for c in ordered) == sorted(c.id for c in cases)
    assert all(one.focus in one.labels or not one.labels for one in ordered)
    random.shuffle(cases)
    assert in_looking_order(cases) == ordered

    def named(number):
        return {number, *doubts_beside(ordered)[number]}

    promised = [
        sum(ordered[n].expected_errors for n in named(k))
        for k, one in enumerate(ordered)
        if one.probability >= LEAST_NAMED
    ]
    assert promised[0] >= max(promised) - 1e-12
    # What is asked at one particle comes one after the other, except what is improbable.
    asked = [one.focus for one in ordered if one.probability >= LEAST_ASKED and one.focus]
    assert len(set(asked)) == sum(a != b for a, b in zip([0, *asked], asked, strict=False))


@given(MADE)
def test_only_probable_doubts_about_the_particle_in_focus_are_named(made):
    cases = in_looking_order([case(labels, p) for labels, p in made.items()])
    for number, beside in enumerate(doubts_beside(cases)):
        assert len(beside) < MOST_NAMED and number not in beside
        for other in beside:
            assert cases[other].probability >= LEAST_NAMED
            assert cases[number].focus in cases[other].labels
        probabilities = [cases[other].probability for other in beside]
        assert probabilities == sorted(probabilities, reverse=True)
