"""The order of the queue, and what is named beside a case."""

from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.review.cases import ReviewCase, case_id
from particleseg_app.review.looking_order import (
    LEAST_NAMED,
    MOST_NAMED,
    doubts_beside,
    in_order_of_gain,
)
from particleseg_app.units import Box


def case(kind, labels, probability, weight=1.0):
    box = Box((0, 0, 0), (1, 1, 1))
    place = (float(len(labels)), round(probability * 1e6), 0.0)
    return ReviewCase(
        case_id(kind, labels, place), kind, labels, probability, weight, {}, "", box, place
    )


def test_two_particles_must_promise_more_than_one():
    pair, single = case("splitter", (1, 2), 0.5), case("merger", (3,), 0.3)
    assert in_order_of_gain([pair, single]) == [single, pair]


def test_what_several_doubts_meet_in_comes_first():
    lonely = case("splitter", (8, 9), 0.4)
    middle = case("splitter", (1, 2), 0.3)
    others = [case("splitter", (2, n), 0.28) for n in (3, 4, 5)]
    assert in_order_of_gain([lonely, middle, *others])[0] == middle


def test_a_case_of_particles_already_shown_follows_soon():
    pair, merger = case("splitter", (1, 2), 0.9), case("merger", (2,), 0.04)
    stranger = case("merger", (7,), 0.02)
    assert in_order_of_gain([stranger, merger, pair]) == [merger, pair, stranger]


LABELS = st.one_of(
    st.tuples(st.integers(1, 12)),
    st.tuples(st.integers(1, 6), st.integers(7, 12)),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(LABELS, st.floats(0, 1), max_size=30), st.randoms())
def test_the_order_is_of_the_same_cases_whatever_order_they_come_in(made, random):
    kinds = {1: "merger", 2: "splitter"}
    cases = [case(kinds[len(labels)], labels, p) for labels, p in made.items()]
    cases.append(case("missed particle", (), 0.5, 0.25))
    ordered = in_order_of_gain(cases)
    assert sorted(c.id for c in ordered) == sorted(c.id for c in cases)
    random.shuffle(cases)
    assert in_order_of_gain(cases) == ordered

    def gain(number):
        one = ordered[number]
        named = sum(ordered[other].expected_errors for other in doubts_beside(ordered)[number])
        return (one.expected_errors + named) / max(1, len(one.labels))

    assert gain(0) >= max(gain(number) for number in range(len(ordered))) - 1e-12


@given(st.dictionaries(LABELS, st.floats(0, 1), max_size=30))
def test_only_probable_doubts_about_the_same_particles_are_named(made):
    cases = [case("merger" if len(ls) < 2 else "splitter", ls, p) for ls, p in made.items()]
    for number, beside in enumerate(doubts_beside(cases)):
        assert len(beside) <= MOST_NAMED and number not in beside
        for other in beside:
            assert cases[other].probability >= LEAST_NAMED
            assert set(cases[other].labels) & set(cases[number].labels)
        probabilities = [cases[other].probability for other in beside]
        assert probabilities == sorted(probabilities, reverse=True)
