"""The pictures of docs/review.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.evaluation import Score
from particleseg_app.review.error_rates import EstimatedErrorRates

COLOURS = ("#1f6fb2", "#d9822b", "#3a9a5b")
GREY = "#6b7280"


def draw_curve(
    path: Path, shares: np.ndarray, curves: Mapping[str, np.ndarray], marked: float
) -> None:
    """Errors seen against particles looked at, one line for each group of scans."""
    figure, axes = _figure()
    axes.plot([0, 100], [0, 100], color=GREY, lw=1, ls=(0, (4, 4)), label="in random order")
    for colour, (name, seen) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(100 * shares, 100 * seen, color=colour, lw=2.2, label=name)
        at = float(np.interp(marked, shares, seen))
        axes.plot(100 * marked, 100 * at, "o", color=colour, ms=6)
        axes.annotate(
            f"{at:.0%}", (100 * marked, 100 * at), (7, -13), textcoords="offset points",
            color=colour, fontweight="bold",
        )  # fmt: skip
    axes.axvline(100 * marked, color=GREY, lw=0.8, ls=":")
    axes.set(
        xlim=(0, 100), ylim=(0, 102), xlabel="particles looked at, in the order of the queue (%)",
        ylabel="true mergers and splitters seen (%)",
    )  # fmt: skip
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def draw_calibration(
    path: Path, kinds: Mapping[str, tuple[np.ndarray, np.ndarray]], bins: int = 6
) -> None:
    """How often a case of a given probability was an error; on logarithmic axes, because most
    cases are improbable. Bars hold the true share with 90 %."""
    figure, axes = _figure()
    axes.plot([1e-4, 1], [1e-4, 1], color=GREY, lw=1, ls=(0, (4, 4)), label="as foretold")
    for colour, (kind, (probability, wrong)) in zip(COLOURS, kinds.items(), strict=False):
        if not len(wrong):
            continue
        foretold, true, low, high = _binned(probability, wrong, bins)
        axes.errorbar(
            foretold, true, [true - low, high - true], fmt="o-", color=colour, lw=1.6, ms=5,
            capsize=2, elinewidth=1, label=kind,
        )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlim=(1e-3, 1.15), ylim=(1e-3, 1.3),
        xlabel="probability given to the case", ylabel="share of these cases that were errors",
    )  # fmt: skip
    axes.legend(loc="upper left", frameon=False)
    _save(figure, path)


def draw_rates(path: Path, scans: Sequence[tuple[str, Score, EstimatedErrorRates]]) -> None:
    """Estimated against true error rates, one point for each scan, with 90 % intervals."""
    figure, axes = _figure()
    top = 0.01
    for colour, name in zip(COLOURS, ("merger_ratio", "splitter_ratio"), strict=False):
        true = np.array([getattr(score, name) for _, score, _ in scans])
        rates = [getattr(estimate, name) for _, _, estimate in scans]
        expected = np.array([rate.expected for rate in rates])
        spread = [
            expected - np.minimum(expected, [rate.low for rate in rates]),
            np.maximum(expected, [rate.high for rate in rates]) - expected,
        ]
        axes.errorbar(
            100 * true, 100 * expected, 100 * np.array(spread), fmt="o", color=colour, ms=5,
            capsize=2, elinewidth=1, alpha=0.85, label=name.replace("_", " "),
        )  # fmt: skip
        top = max([top, *(1.3 * true), *(1.3 * expected)])
    axes.plot([0, 100 * top], [0, 100 * top], color=GREY, lw=1, ls=(0, (4, 4)))
    axes.set(
        xlim=(-1, 103 * top), ylim=(-1, 103 * top), xlabel="true, in % of the particles",
        ylabel="estimated without the reference (%)",
    )  # fmt: skip
    axes.legend(loc="upper left", frameon=False)
    _save(figure, path)


def _binned(
    probability: np.ndarray, wrong: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, share of errors and its 90 % interval in bins of equal expected errors."""
    from scipy.stats import beta

    order = np.argsort(probability)
    probability, wrong = probability[order], wrong[order]
    cumulative = np.cumsum(probability)
    edges = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, bins) / bins)
    parts = [
        (p, w)
        for p, w in zip(np.split(probability, edges), np.split(wrong, edges), strict=True)
        if len(p)
    ]
    errors = np.array([w.sum() for _, w in parts])
    count = np.array([len(w) for _, w in parts])
    true = np.maximum(errors / count, 1e-4)
    # Where none or all were errors the interval begins or ends at that share.
    return (
        np.array([p.mean() for p, _ in parts]),
        true,
        np.clip(beta.ppf(0.05, errors + 0.5, count - errors + 0.5), 1e-4, true),
        np.maximum(beta.ppf(0.95, errors + 0.5, count - errors + 0.5), true),
    )


def _figure() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 10.5, "font.family": "DejaVu Sans"})
    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), dpi=150)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(color="#e5e7eb", lw=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
