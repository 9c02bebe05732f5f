"""Error rates estimated from a queue."""

import numpy as np
import pytest

from particleseg_app.review.cases import KINDS, ReviewCase, case_id
from particleseg_app.review.error_rates import estimated_error_rates
from particleseg_app.review.scoring import Scores
from particleseg_app.units import Box

BOX = Box((0, 0, 0), (1, 1, 1))


def case(kind, labels, probability, weight=1.0, evidence=None):
    return ReviewCase(
        case_id(kind, labels), kind, labels, probability, weight, evidence or {}, "", BOX, (0, 0, 0)
    )


def sure(spread=0.0):
    return Scores({}, {f"threshwater/{kind}": spread for kind in KINDS})


def test_the_estimate_is_what_the_probabilities_add_up_to():
    cases = [case("merger", (n,), 0.1, 1.5) for n in range(1, 201)]
    rate = estimated_error_rates(cases, 200, sure()).merger_ratio
    assert rate.expected == pytest.approx(30 / 230, rel=0.05)
    # 20 ± 4.2 mergers of 1.5 errors each.
    assert rate.high - rate.low == pytest.approx(2 * 1.645 * 4.24 * 1.5 / 230, rel=0.25)


def test_three_pieces_are_two_splitters_however_many_contacts_they_have():
    cases = [case("splitter", pair, 0.9999999) for pair in ((1, 2), (2, 3), (1, 3))]
    rate = estimated_error_rates(cases, 12, sure()).splitter_ratio
    assert rate.expected == pytest.approx(2 / 10, abs=1e-3)


def test_missed_particles_are_true_ones_that_are_not_there():
    missed = [case("missed particle", (), 0.9999999) for _ in range(5)]
    whole = [case("merger", (n,), 1e-9) for n in range(1, 21)]
    rates = estimated_error_rates([*missed, *whole], 20, sure())
    assert rates.missed_ratio.expected == pytest.approx(5 / 25, abs=1e-3)


def test_rare_cases_count_together():
    cases = [case("merger", (n,), 1e-3) for n in range(1, 5001)]
    rate = estimated_error_rates(cases, 5000, sure()).merger_ratio
    assert rate.expected == pytest.approx(1e-3, rel=0.1)
    assert rate.low < 1e-3 < rate.high


def test_less_certain_scores_give_a_wider_interval():
    cases = [case("merger", (n,), 0.05) for n in range(1, 401)]
    widths = []
    for spread in (0.0, 0.5, 1.0):
        rate = estimated_error_rates(cases, 400, sure(spread)).merger_ratio
        widths.append(rate.high - rate.low)
        assert rate.low <= rate.expected <= rate.high
    assert widths == sorted(widths) and widths[2] > 2 * widths[0]


def test_an_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(3)
    inside = 0
    for _ in range(60):
        probability = random.beta(0.3, 4, 150)
        cases = [case("merger", (n,), p) for n, p in enumerate(probability.tolist(), start=1)]
        true = (random.random(150) < probability).sum()
        rate = estimated_error_rates(cases, 150, sure()).merger_ratio
        inside += rate.low <= true / (150 + true) + 1e-9 and true / (150 + true) <= rate.high
    assert inside >= 48


def test_the_same_queue_gives_the_same_figures():
    cases = [case("splitter", (n, n + 1), 0.3) for n in range(1, 40)]
    assert estimated_error_rates(cases, 40, sure(0.4)) == estimated_error_rates(
        cases, 40, sure(0.4)
    )


def test_an_empty_queue_has_no_errors():
    rates = estimated_error_rates([], 0, sure())
    assert (rates.merger_ratio.expected, rates.splitter_ratio.high) == (0, 0)


def test_the_spread_of_the_network_counts_where_it_took_part():
    scores = Scores(
        {}, {f"{m}/{k}": s for m, s in (("nnunet", 0.0), ("threshwater", 1.5))
             for k in ("merger", "splitter", "false particle")},
    )  # fmt: skip
    without = [case("merger", (n,), 0.05) for n in range(1, 101)]
    looked = [*without[1:], case("merger", (1,), 0.05, evidence={"foreground": 1.0})]
    wide, narrow = (estimated_error_rates(c, 100, scores).merger_ratio for c in (without, looked))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
