"""Fits the weights of the review scores on segmented simulated scans: resources/review_scores.json.

    python -m tests.benchmarks.fit_review_scores FOLDER [--scans 160] [--only-there]

Scans of the training generator with seeds that trained nothing are segmented with the default
model (and by ThreshWater), once, into FOLDER; the evidence of every particle and contact is
gathered and compared with the reference. `--only-there` takes what FOLDER holds already.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from particleseg_app.durable_files import write_json
from particleseg_app.models import find_model
from particleseg_app.review.candidates import Evidence
from particleseg_app.review.cases import KINDS
from particleseg_app.review.scoring import SCORES_FILE, LogisticModel, Scores, terms
from particleseg_app.training import PRESETS
from tests.benchmarks.review_scans import RESOURCES, SegmentedScan, simulated, simulated_there
from tests.benchmarks.review_truth import Truth

FIRST_SEED = 940_000
SHAPE = {
    "merger": (
        "relative_size", "solidity", "neck_ratio", "lobe_share", "lobe_radius_ratio",
        "lobe_grey_difference", "neck_grey_dip", "thickness", "unevenness", "stands_out",
        "touching_share", "at_edge",
    ),
    "splitter": (
        "contact_share", "size_ratio", "smaller_size", "union_size", "union_solidity",
        "solidity_gain", "union_neck", "contact_grey_difference", "contact_grey_dip",
    ),
    "false particle": (
        "relative_size", "solidity", "thickness", "stands_out", "unevenness", "touching_share",
        "at_edge",
    ),
    "missed particle": (
        "relative_size", "solidity", "thickness", "brightness", "stands_out", "unevenness",
        "touching_share", "at_edge",
    ),
}  # fmt: skip
NETWORK = {
    "merger": (
        "core_saddle", "core_depth", "core_lobe_share", "second_part", "foreground", "core_share",
        "disagreement",
    ),
    "splitter": (
        "contact_core_margin", "contact_mean_margin", "contact_depth", "joined",
        "pair_disagreement", "lesser_core_peak",
    ),
    "false particle": ("foreground", "core_peak", "core_share", "disagreement", "second_part"),
    "missed particle": ("foreground", "core_peak", "core_share", "disagreement"),
}  # fmt: skip
KNOT_PERCENT = (25, 50, 75, 92)
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
FOLDS = 5
MOST_OF_A_SCAN = 150
# F1_match of a run from which the scores learn; ThreshWater seldom does better.
LEAST_WORTH_MENDING = {"nnunet": 0.5, "threshwater": 0.2}


@dataclass(frozen=True)
class Example:
    """The evidence of one scan with its truth."""

    name: str
    method: str
    evidence: Evidence
    truth: Truth

    def rows(self, kind: str) -> tuple[list[dict[str, float]], np.ndarray]:
        """Evidence and errors (m − 1 …) of every candidate of a kind."""
        candidates = self.evidence.of(kind)
        return (
            [candidate.evidence for candidate in candidates],
            np.array([self.truth.excess(kind, candidate) for candidate in candidates], int),
        )


@dataclass(frozen=True)
class Held:
    """What a model says of scans that it was not fitted on: one entry a candidate."""

    log_odds: np.ndarray
    excess: np.ndarray
    scan: np.ndarray


def fit(
    examples: Sequence[Example],
    kind: str,
    names: Sequence[str],
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[LogisticModel, Held, float]:
    """The model, its held-out ln odds, and the strength of the penalty that held out best.

    Scans, not cases, are held out: five parts, each judged by a model of the other four.
    """
    values, excess, scan = _table(examples, kind, names)
    weight = _weights(scan)
    best: tuple[float, float, np.ndarray] | None = None
    for strength in strengths:
        log_odds = np.zeros(len(values))
        for part in range(FOLDS):
            out = scan % FOLDS == part
            if not out.any() or not (excess[~out] > 0).any():
                continue
            model = _fitted(values[~out], excess[~out], names, strength, weight[~out])
            log_odds[out] = _log_odds(model, values[out])
        losses = np.logaddexp(0, np.where(excess > 0, -log_odds, log_odds))
        loss = float(np.average(losses, weights=weight))
        if best is None or loss < best[0]:
            best = (loss, strength, log_odds)
    assert best is not None
    model = _fitted(values, excess, names, best[1], weight)
    return model, Held(best[2], excess, scan), best[1]


def _table(
    examples: Sequence[Example], kind: str, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, excess, scan = [], [], []
    for number, example in enumerate(examples):
        rows, errors = example.rows(kind)
        for row, error in zip(rows, errors.tolist(), strict=True):
            if all(name in row for name in names):
                values.append([row[name] for name in names])
                excess.append(error)
                scan.append(number)
    return np.array(values), np.array(excess), np.array(scan)


def _weights(scan: np.ndarray) -> np.ndarray:
    """Of each case: a scan of thousands of specks must not outvote all the others."""
    count = np.bincount(scan)
    return np.minimum(1.0, MOST_OF_A_SCAN / np.maximum(1, count))[scan]


def _log_odds(model: LogisticModel, values: np.ndarray) -> np.ndarray:
    return model.intercept + terms(values, model.low, model.high, model.knots) @ (
        model.weights.ravel()
    )


def _fitted(
    values: np.ndarray,
    excess: np.ndarray,
    names: Sequence[str],
    strength: float,
    weight: np.ndarray,
) -> LogisticModel:
    from sklearn.linear_model import LogisticRegression

    low, high = np.percentile(values, [0.5, 99.5], axis=0)
    knots = np.percentile(values, KNOT_PERCENT, axis=0).T
    design = terms(values, low, high, knots)
    regression = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
    regression.fit(design, excess > 0, weight)
    return LogisticModel(
        names=tuple(names),
        low=low,
        high=high,
        knots=knots,
        intercept=float(regression.intercept_[0]),
        weights=regression.coef_[0].reshape(len(names), -1),
        mean_excess=float(excess[excess > 0].mean()),
        usual=np.median(values, axis=0),
        strength=strength,
    )


def spread_between_scans(held: Held) -> float:
    """Standard deviation of the shift in ln odds from scan to scan, by maximum likelihood.

    Each scan's errors are taken to follow its held-out probabilities after one shift of its own,
    drawn from a normal distribution; the shift is integrated out numerically.
    """
    points = np.linspace(-6, 6, 121)
    log_likelihood = []
    for scan in np.unique(held.scan):
        chosen = held.scan == scan
        log_odds, wrong = held.log_odds[chosen], held.excess[chosen] > 0
        shifted = log_odds[None] + points[:, None]
        log_likelihood.append(-np.logaddexp(0, np.where(wrong, -shifted, shifted)).sum(axis=1))
    table = np.array(log_likelihood)

    def marginal(spread: float) -> float:
        prior = -0.5 * (points / spread) ** 2
        prior -= np.logaddexp.reduce(prior)
        return float(np.logaddexp.reduce(table + prior, axis=1).sum())

    # A normal spread fits outliers by growing; above 2 the intervals are so wide that they say
    # nothing.
    candidates = np.linspace(0.1, 2.0, 39)
    return float(candidates[int(np.argmax([marginal(s) for s in candidates]))])


def examples_of(scans: Sequence[SegmentedScan]) -> list[Example]:
    return [
        Example(scan.name, scan.settings.method, scan.evidence(), scan.truth_without_crumbs())
        for scan in scans
    ]


def worth_mending(examples: Sequence[Example]) -> list[Example]:
    """Without the runs that failed: nobody would mend them particle by particle, and one with
    thousands of specks says little about others."""
    return [one for one in examples if one.truth.score.f1_match >= LEAST_WORTH_MENDING[one.method]]


def fit_all(examples: Sequence[Example]) -> tuple[Scores, dict[str, Held]]:
    """Models of every method, kind and evidence; the held-out answers of each."""
    models, held, spread = {}, {}, {}
    for method in sorted({example.method for example in examples}):
        chosen = [example for example in examples if example.method == method]
        for kind in KINDS:
            if not any((example.rows(kind)[1] > 0).any() for example in chosen):
                continue
            sets = {"shape": SHAPE[kind]}
            if method == "nnunet":
                sets["network"] = SHAPE[kind] + NETWORK[kind]
            for name, names in sets.items():
                key = f"{method}/{kind}/{name}"
                models[key], held[key], strength = fit(chosen, kind, names)
                shift = spread_between_scans(held[key])
                print(f"{key}: {report(held[key])}, penalty {strength}, spread {shift:.2f}")
                # The network's model comes last, and it is the one that is used.
                spread[f"{method}/{kind}"] = shift
    return Scores(models, spread), held


def report(held: Held) -> str:
    """Held-out figures in one line: how many errors, and how well they are ranked and foretold."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    wrong = held.excess > 0
    probability = 1 / (1 + np.exp(-held.log_odds))
    return (
        f"{len(wrong)} candidates, {wrong.sum()} errors, {probability.sum():.0f} foretold, "
        f"area under ROC {roc_auc_score(wrong, held.log_odds):.3f}, "
        f"average precision {average_precision_score(wrong, held.log_odds):.3f}"
    )


def without_each_part(examples: Sequence[Example], scores: Scores) -> list[Scores]:
    """For each fifth of the examples (every fifth one) the scores that the others give.

    Spread and penalty hardly change with a fifth less, so they are those of all examples.
    """
    result = []
    for part in range(FOLDS):
        others = [one for number, one in enumerate(examples) if number % FOLDS != part]
        models = {}
        for key, model in scores.models.items():
            method, kind, _ = key.split("/")
            if not any(one.method == method for one in others):
                continue
            values, excess, scan = _table(
                [one for one in others if one.method == method], kind, model.names
            )
            models[key] = _fitted(values, excess, model.names, model.strength, _weights(scan))
        result.append(Scores(models, scores.spread))
    return result


def write_scores(path: Path, scores: Scores, scans: int) -> None:
    card = find_model("default").card
    write_json(
        path,
        {
            "made_by": "python -m tests.benchmarks.fit_review_scores",
            "model": f"{card.name} {card.version}",
            "scans": scans,
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "spread": {name: round(value, 3) for name, value in scores.spread.items()},
            "models": {name: model.as_dict() for name, model in scores.models.items()},
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--scans",
        type=int,
        default=10 * len(PRESETS),
        help="ten of each preset, but those of the harder presets are left out",
    )
    parser.add_argument("--only-there", action="store_true")
    options = parser.parse_args()
    scans: list[SegmentedScan] = []
    for method in ("nnunet", "threshwater"):
        if options.only_there:
            scans += simulated_there(options.folder, method)
        else:
            # ThreshWater makes so many errors that a third of the scans is enough.
            count = options.scans if method == "nnunet" else options.scans // 3
            seeds = range(FIRST_SEED, FIRST_SEED + count)
            scans += simulated(options.folder, seeds, method)
    examples = worth_mending(examples_of(scans))
    print(f"{len(examples)} of {len(scans)} runs are worth mending")
    scores, _ = fit_all(examples)
    write_scores(RESOURCES / SCORES_FILE, scores, len(examples))


if __name__ == "__main__":
    main()
