"""The tables of the accuracy benchmark as Markdown, and the targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.benchmarks.accuracy_cases import TOUCHING_CASES
from tests.benchmarks.accuracy_methods import Method, Outcome

# Title, name of the figure, whether more is better, target for the mean (None: no target).
COLUMNS: tuple[tuple[str, str, bool, float | None], ...] = (
    ("F1", "f1", True, 0.95),
    ("F1_match", "f1_match", True, 0.97),
    ("F1_instance", "f1_instance", True, 0.88),
    ("merger", "merger_ratio", False, 0.010),
    ("splitter", "splitter_ratio", False, 0.005),
    ("vol. similarity", "volumetric_similarity", True, None),
    ("elongation Δ", "elongation_deviation", False, None),
    ("flatness Δ", "flatness_deviation", False, None),
)
TOUCHING_TARGET = 0.93
REAL_CASES = ("nuclei",)


@dataclass
class Results:
    """Outcomes by case (function name) and method name; `titles` and `about` of the cases."""

    methods: list[Method]
    titles: dict[str, str]
    about: dict[str, str]
    outcomes: dict[str, dict[str, Outcome]]
    skipped: list[str]

    def mean(self, method: str, figure: str, without: tuple[str, ...] = ()) -> float:
        values = [
            found[method].figures[figure]
            for key, found in self.outcomes.items()
            if key not in without
        ]
        return float(np.nanmean(values))  # nothing matched: no deviation to speak of


def figures_text(figures: dict[str, float], bold: bool = False) -> str:
    mark = "**" if bold else ""
    return " | ".join(f"{mark}{figures[name]:.3f}{mark}" for _, name, _, _ in COLUMNS)


def heading(*first: str) -> list[str]:
    titles = [*first, *(title for title, _, _, _ in COLUMNS)]
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]


def mean_table(results: Results) -> list[str]:
    """Means of every method over all cases, the targets below."""
    lines = heading("mean of all cases")
    for method in results.methods:
        means = {name: results.mean(method.name, name) for _, name, _, _ in COLUMNS}
        lines.append(f"| {method.title} | {figures_text(means)} |")
    targets = [
        "" if target is None else f"{'≥' if more else '≤'} {target:.3f}"
        for _, _, more, target in COLUMNS
    ]
    lines.append("| *target* | " + " | ".join(targets) + " |")
    return lines


def case_table(results: Results) -> list[str]:
    """One row per case and method."""
    lines = heading("case", "particles", "method")
    for key, found in results.outcomes.items():
        for method in results.methods:
            figures = found[method.name].figures
            count = int(figures["reference_count"])
            title = results.titles[key]
            lines.append(f"| {title} | {count} | {method.title} | {figures_text(figures)} |")
    return lines


def target_list(results: Results) -> list[str]:
    """Each target of the project with what the first method reaches."""
    ours = results.methods[0]
    lines = []
    for title, name, more, target in COLUMNS:
        if target is None:
            continue
        value = results.mean(ours.name, name)
        without = results.mean(ours.name, name, REAL_CASES) if _has(results, REAL_CASES) else value
        text = f"mean {title} {value:.3f} (target {'≥' if more else '≤'} {target:.3f}"
        text += f"; without the nuclei {without:.3f})" if _has(results, REAL_CASES) else ")"
        lines.append(_mark(value >= target if more else value <= target, text))
    for key in TOUCHING_CASES:
        if key in results.outcomes:
            value = results.outcomes[key][ours.name].figures["f1_match"]
            text = f"F1_match of “{results.titles[key]}” {value:.3f} (target ≥ {TOUCHING_TARGET})"
            lines.append(_mark(value >= TOUCHING_TARGET, text))
    if any(method.name == "threshwater" for method in results.methods):
        behind = [
            results.titles[key]
            for key, found in results.outcomes.items()
            if found[ours.name].figures["f1_instance"]
            <= found["threshwater"].figures["f1_instance"]
        ]
        text = "every case ahead of the tuned ThreshWater in F1_instance"
        text += f" (behind in: {', '.join(behind)})" if behind else ""
        lines.append(_mark(not behind, text))
    return lines


def _has(results: Results, keys: tuple[str, ...]) -> bool:
    return any(key in results.outcomes for key in keys)


def _mark(reached: bool, text: str) -> str:
    return f"- {'reached' if reached else '**not reached**'}: {text}"
