"""From evidence to a calibrated probability: a logistic model whose weights were measured.

`resources/review_scores.json` holds the weights, made by `python -m
tests.benchmarks.fit_review_scores` from simulated scans that the default model segmented. Each
figure of the evidence enters as it is and bent at a few knots, so that a probability may rise
steeply where the evidence tells and stay flat where it does not.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.models.model_folder import model_root

SCORES_FILE = "review_scores.json"


@dataclass(frozen=True)
class LogisticModel:
    """ln odds = intercept + Σ weight · term, with terms as `terms` makes them.

    `names`: the evidence used; `low`, `high`: the range that was seen when fitting, which evidence
    is clipped to; `usual` its median; `knots` (names, knots): where each figure is bent; `weights`
    (names, 1 + knots). `mean_excess`: errors a true case counts, as in the merger ratio (m − 1).
    `strength`: the larger, the less the weights were held down when fitting.
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    knots: np.ndarray
    intercept: float
    weights: np.ndarray
    mean_excess: float
    usual: np.ndarray
    strength: float = 1.0

    def log_odds(self, rows: list[dict[str, float]]) -> np.ndarray:
        if not rows:
            return np.zeros(0)
        values = np.array([[row[name] for name in self.names] for row in rows])
        return (
            self.intercept + terms(values, self.low, self.high, self.knots) @ self.weights.ravel()
        )

    def probabilities(self, rows: list[dict[str, float]]) -> np.ndarray:
        """Probability of each row of evidence; every name the model uses must be there."""
        return 1 / (1 + np.exp(-self.log_odds(rows)))

    def usable(self, row: dict[str, float]) -> bool:
        return all(name in row for name in self.names)

    def pushes(self, row: dict[str, float]) -> dict[str, float]:
        """How much each figure adds to the ln odds, against a particle as they mostly are."""
        values = np.array([[row[name] for name in self.names]])
        width = self.weights.shape[1]
        difference = terms(values, self.low, self.high, self.knots) - terms(
            self.usual[None], self.low, self.high, self.knots
        )
        parts = (difference * self.weights.ravel()).reshape(len(self.names), width).sum(axis=1)
        return dict(zip(self.names, parts.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "low": _short(self.low),
            "high": _short(self.high),
            "usual": _short(self.usual),
            "knots": [_short(row) for row in self.knots],
            "intercept": round(self.intercept, 6),
            "weights": [_short(row) for row in self.weights],
            "mean_excess": round(self.mean_excess, 4),
            "strength": self.strength,
        }

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> LogisticModel:
        return LogisticModel(
            tuple(raw["names"]),
            np.array(raw["low"], float),
            np.array(raw["high"], float),
            np.array(raw["knots"], float),
            float(raw["intercept"]),
            np.array(raw["weights"], float),
            float(raw["mean_excess"]),
            np.array(raw["usual"], float),
            float(raw.get("strength", 1.0)),
        )


def terms(values: np.ndarray, low: np.ndarray, high: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Terms (rows, names · (1 + knots)) of evidence (rows, names): scaled to 0…1 over its range,
    then the part above each knot."""
    scaled = (np.clip(values, low, high) - low) / np.maximum(high - low, 1e-9)
    at = (knots - low[:, None]) / np.maximum(high - low, 1e-9)[:, None]
    bent = np.maximum(0.0, scaled[:, :, None] - at[None])
    return np.concatenate([scaled[:, :, None], bent], axis=2).reshape(len(values), -1)


@dataclass(frozen=True)
class Scores:
    """All that was measured: models by "method/kind/evidence" and how sure they are.

    `spread` is, for each "method/kind", the standard deviation of the error in the ln odds from
    scan to scan: a new scan's errors may all be a little more or less probable than the model says.
    `fitted_on` names the network and its version whose runs they were fitted on, `measured_with`
    others for which it was measured how well they do (docs/review.md).
    """

    models: dict[str, LogisticModel]
    spread: dict[str, float]
    fitted_on: str = ""
    measured_with: tuple[str, ...] = ()

    def known_for(self, model: str) -> bool:
        """Whether how well they do is known for a network, named with its version."""
        return not self.fitted_on or model in (self.fitted_on, *self.measured_with)

    def knows(self, method: str, kind: str) -> bool:
        """Whether there was any error of this kind to learn from."""
        return f"{method}/{kind}/shape" in self.models

    def model(self, method: str, kind: str, network: bool) -> LogisticModel:
        return self.models[f"{method}/{kind}/{'network' if network else 'shape'}"]


def load_scores() -> Scores:
    """The measured weights that the program comes with (PARTICLESEG_RESOURCES may hold others)."""
    own = Path(__file__).parents[2] / "resources" / SCORES_FILE
    other = model_root().parent / SCORES_FILE
    return _read(other if other.exists() else own)


@functools.cache
def _read(path: Path) -> Scores:
    raw = json.loads(path.read_text(encoding="utf-8"))
    models = {name: LogisticModel.from_dict(model) for name, model in raw["models"].items()}
    spread = {name: float(value) for name, value in raw["spread"].items()}
    measured_with = tuple(str(name) for name in raw.get("measured_with", ()))
    return Scores(models, spread, str(raw.get("model", "")), measured_with)


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in np.ravel(values)]
