"""The weights that the program comes with, and what makes a probability of evidence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.models import find_model
from particleseg_app.review.cases import KINDS
from particleseg_app.review.network_evidence import PAIR_NAMES, PARTICLE_NAMES
from particleseg_app.review.scoring import LogisticModel, load_scores, terms
from particleseg_app.review.wording import in_words

SCORES = load_scores()


def made(weights=((2.0, 0.0), (-1.0, 3.0))):
    return LogisticModel(
        ("a", "b"), np.array([0.0, 10.0]), np.array([1.0, 20.0]), np.array([[0.5], [15.0]]),
        -0.5, np.array(weights), 1.0, np.array([0.0, 10.0]),
    )  # fmt: skip


def test_every_method_has_a_model_for_every_kind():
    for kind in KINDS:
        for method, network in (("nnunet", False), ("nnunet", True), ("threshwater", False)):
            model = SCORES.model(method, kind, network)
            uses_network = bool(set(model.names) & {*PARTICLE_NAMES, *PAIR_NAMES})
            assert uses_network == network
            assert model.mean_excess >= 1
    assert all(spread >= 0 for spread in SCORES.spread.values())


def test_log_odds_by_hand():
    # a: 0.75 of its range, 0.25 above its knot; b: 0.8, 0.3 above.
    expected = -0.5 + 2 * 0.75 + 0 * 0.25 - 1 * 0.8 + 3 * 0.3
    assert made().log_odds([{"a": 0.75, "b": 18.0}])[0] == pytest.approx(expected)


def test_evidence_beyond_what_was_seen_counts_as_the_last_that_was():
    model = made()
    far, edge = model.log_odds([{"a": 99.0, "b": -5.0}, {"a": 1.0, "b": 10.0}])
    assert far == pytest.approx(edge)


@settings(max_examples=40, deadline=None)
@given(st.floats(-3, 3), st.floats(-30, 40))
def test_the_pushes_add_up_to_the_difference_from_what_is_usual(a, b):
    model = made()
    usual, here = model.log_odds([{"a": 0.0, "b": 10.0}, {"a": a, "b": b}])
    assert sum(model.pushes({"a": a, "b": b}).values()) == pytest.approx(here - usual)


def test_a_model_comes_back_from_json_as_it_was():
    model = made()
    again = LogisticModel.from_dict(model.as_dict())
    rows = [{"a": 0.3, "b": 12.0}, {"a": 0.9, "b": 19.0}]
    assert again.log_odds(rows) == pytest.approx(model.log_odds(rows))


def test_a_row_without_some_evidence_is_not_usable():
    assert made().usable({"a": 1, "b": 2, "c": 3})
    assert not made().usable({"a": 1})


def test_terms_are_scaled_and_bent():
    found = terms(np.array([[5.0]]), np.array([0.0]), np.array([10.0]), np.array([[2.0, 8.0]]))
    assert found.ravel() == pytest.approx([0.5, 0.3, 0.0])


def test_the_words_name_the_loudest_evidence_first():
    text = in_words(
        "merger",
        {"neck_ratio": 0.42, "solidity": 0.71, "relative_size": 1.1},
        {"neck_ratio": 2.0, "solidity": 0.9, "relative_size": -0.4},
    )
    assert text.index("42\u00a0%") < text.index("71\u00a0%")
    assert "median" not in text
    assert in_words("splitter", {}, {}) == "May be one particle: little speaks for it."


def test_every_figure_of_every_model_has_words():
    for model in SCORES.models.values():
        for name in model.names:
            text = in_words("merger", {name: 0.5}, {name: 1.0})
            assert "little speaks" not in text, name


def test_how_sure_the_scores_are_is_known_for_the_model_that_comes_with_the_program():
    card = find_model("default").card
    assert SCORES.known_for(f"{card.name} {card.version}")
    assert not SCORES.known_for("default 0.0.1")
