"""The merger and splitter ratio of a run, estimated from its review queue without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from particleseg_app.review.cases import KINDS, ReviewCase
from particleseg_app.review.scoring import Scores, load_scores

_DRAWS = 400
# Below this the cases are too improbable to be drawn one by one; their number is a Poisson's.
_RARE = 2e-3


@dataclass(frozen=True)
class EstimatedRate:
    """Errors per true particle: the expected value and the interval that holds it with 90 %."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class EstimatedErrorRates:
    """`merger_ratio`, `splitter_ratio` as in `evaluation.Score`; `false_ratio` false particles,
    `missed_ratio` missed ones per true one."""

    merger_ratio: EstimatedRate
    splitter_ratio: EstimatedRate
    false_ratio: EstimatedRate
    missed_ratio: EstimatedRate


def estimated_error_rates(
    cases: Sequence[ReviewCase], particle_count: int, scores: Scores | None = None
) -> EstimatedErrorRates:
    """What the probabilities of a whole queue say of the run's own error rates.

    Many possible truths are drawn. In each, every case is an error or not with its probability;
    pairs that are drawn join their labels, so that three pieces of one particle are two splitters
    however many of their contacts there are. From truth to truth the ln odds of all cases of a
    kind are moved together, by as much as held-out scans were off (`Scores.spread`). The interval
    holds 90 % of the truths. The expected value comes from truths drawn without that shift, which
    would raise the mean of what is improbable. `particle_count`: labels of the run. The same queue
    gives the same figures.
    """
    random = np.random.default_rng(20261121)
    likely = _ratios(cases, particle_count, dict.fromkeys(KINDS, 0.0), random)
    moved = _ratios(cases, particle_count, _spread(cases, scores or load_scores()), random)
    return EstimatedErrorRates(*(_rate(likely[kind], moved[kind]) for kind in KINDS))


def _ratios(
    cases: Sequence[ReviewCase],
    particle_count: int,
    spread: dict[str, float],
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Errors of each kind per true particle in each of the drawn truths."""
    drawn = {
        kind: _draw([case for case in cases if case.kind == kind], kind, spread[kind], random)
        for kind in KINDS
    }
    true_count = np.maximum(
        1.0,
        particle_count
        + drawn["merger"]
        - drawn["splitter"]
        - drawn["false particle"]
        + drawn["missed particle"],
    )
    return {kind: drawn[kind] / true_count for kind in KINDS}


def _spread(cases: Sequence[ReviewCase], scores: Scores) -> dict[str, float]:
    """The spread of each kind: the network's where it took part, else ThreshWater's."""
    method = "nnunet" if any("foreground" in case.evidence for case in cases) else "threshwater"
    return {kind: scores.spread.get(f"{method}/{kind}", 0.0) for kind in KINDS}


def _rate(likely: np.ndarray, moved: np.ndarray) -> EstimatedRate:
    low, high = np.percentile(moved, [5, 95])
    expected = float(likely.mean())
    return EstimatedRate(expected, min(float(low), expected), max(float(high), expected))


def _draw(
    cases: list[ReviewCase], kind: str, spread: float, random: np.random.Generator
) -> np.ndarray:
    """How many errors of one kind there are in each of the drawn truths."""
    if not cases:
        return np.zeros(_DRAWS)
    probability = np.clip(np.array([case.probability for case in cases]), 1e-12, 1 - 1e-9)
    excess = np.array([case.weight if kind == "merger" else 1.0 for case in cases])
    log_odds = np.log(probability) - np.log1p(-probability)
    rare = probability < _RARE
    ends = np.array([case.labels for case in cases], np.int64) if kind == "splitter" else None
    counts = np.zeros(_DRAWS)
    for draw in range(_DRAWS):
        moved = 1 / (1 + np.exp(-(log_odds + random.normal(0.0, spread))))
        hit = (random.random(len(cases)) < moved) & ~rare
        counts[draw] = _joined(ends[hit]) if ends is not None else excess[hit].sum()
        counts[draw] += random.poisson(float((moved * excess)[rare].sum()))
    return counts


def _joined(pairs: np.ndarray) -> int:
    """How many labels go when the pairs (n, 2) are united."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return 0
    labels, index = np.unique(pairs, return_inverse=True)
    index = index.reshape(-1, 2)
    links = coo_array((np.ones(len(pairs)), (index[:, 0], index[:, 1])), (labels.size,) * 2)
    groups, _ = connected_components(links, directed=False)
    return int(labels.size - groups)
