"""How well the review queue leads to true errors, and how sure its figures are.

    python -m tests.benchmarks.review_queue FOLDER [--write]

Two groups of scans: the labelled scans of docs/accuracy.md, which the scores were not fitted on,
and the simulated scans that they were fitted on, each judged by scores fitted without it and a
fifth of the others. All are segmented once, into FOLDER (that of `fit_review_scores`). Prints the
tables of docs/review.md; `--write` puts them there and draws its pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from particleseg_app.review.cases import KINDS, ReviewCase
from particleseg_app.review.error_rates import EstimatedRate, estimated_error_rates
from particleseg_app.review.looking_order import doubts_beside, in_looking_order
from particleseg_app.review.scoring import load_scores
from tests.benchmarks.fit_review_scores import (
    FOLDS,
    examples_of,
    without_each_part,
    worth_mending,
)
from tests.benchmarks.review_pictures import draw_calibration, draw_curve, draw_rates
from tests.benchmarks.review_scans import (
    SegmentedScan,
    labelled_benchmark,
    simulated_there,
)
from tests.benchmarks.review_truth import Truth

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIFTH = 0.2


@dataclass(frozen=True)
class Judged:
    """A scan, its queue and its truth."""

    name: str
    cases: list[ReviewCase]
    truth: Truth
    particle_count: int

    @property
    def errors(self) -> int:
        return self.truth.score.mergers + self.truth.score.splitters


def judged(scan: SegmentedScan) -> Judged:
    return Judged(scan.name, scan.queue(), scan.truth(), len(scan.table()))


def held_out(scans: Sequence[SegmentedScan]) -> list[Judged]:
    """Every scan with the queue that it has by scores that were fitted without it."""
    examples = examples_of(scans)
    kept = {one.name for one in worth_mending(examples)}
    scans = [scan for scan in scans if scan.name in kept]
    parts = without_each_part(worth_mending(examples), load_scores())
    return [
        Judged(scan.name, scan.queue_with(parts[number % FOLDS]), scan.truth(), len(scan.table()))
        for number, scan in enumerate(scans)
    ]


def seen_after(one: Judged, named: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Share of the particles looked at and errors seen after each case of the queue.

    Looked at is the particle in focus, each counted once; a missed body counts as one. Seen are
    the error of the case itself and those that the window names with it (`doubts_beside`). Without
    `named` only the former, and every particle of a case counts as looked at. Of the s pieces of
    one particle as many splitters are seen as the pairs seen join.
    """
    looked: set[tuple[int, ...]] = set()
    pieces = {
        label: (reference, {label})
        for reference, labels in one.truth.splitters.items()
        for label in labels
    }
    beside = doubts_beside(one.cases) if named else [[] for _ in one.cases]
    done: set[int] = set()
    seen = 0
    shares, counts = [0.0], [0]
    for number, shown in enumerate(one.cases):
        if not shown.labels:
            looked.add((0, number))
        looked.update((label,) for label in ((shown.focus,) if named else shown.labels) if label)
        for which in {number, *beside[number]} - done:
            done.add(which)
            case = one.cases[which]
            if case.kind == "merger":
                seen += one.truth.excess("merger", case)
            elif case.kind == "splitter" and one.truth.excess("splitter", case):
                first, second = (pieces[label][1] for label in case.labels)
                if first is not second:
                    seen += 1
                    first |= second
                    for label in second:
                        pieces[label] = (pieces[label][0], first)
        shares.append(len(looked) / one.particle_count)
        counts.append(seen)
    return np.array(shares), np.array(counts)


def curve(scans: Sequence[Judged], shares: np.ndarray, named: bool = True) -> np.ndarray:
    """Share of the errors of all scans seen with `shares` of each scan's particles looked at."""
    total = sum(one.errors for one in scans)
    seen = np.zeros(len(shares))
    for one in scans:
        at, count = seen_after(one, named)
        seen += [count[np.searchsorted(at, share + 1e-9, side="right") - 1] for share in shares]
    return seen / max(1, total)


def as_one_queue(scans: Sequence[Judged], shares: np.ndarray) -> np.ndarray:
    """Share of the errors seen with `shares` of the particles of all scans together looked at.

    Probabilities are comparable from scan to scan, so whoever reviews several scans looks where
    most errors are to be expected: all cases are put in order as if they were of one scan.
    """
    moved, back = [], {}
    for number, one in enumerate(scans):
        for case in one.cases:
            labels = tuple((number << 32) + label for label in case.labels)
            apart = replace(case, labels=labels, id=f"{number} {case.id}")
            moved.append(apart)
            back[apart.id] = number
    curves = []
    for one in scans:
        share, errors = seen_after(one)
        curves.append((share * one.particle_count, errors))
    position = np.zeros(len(scans), int)
    at, found = np.zeros(len(scans)), np.zeros(len(scans))
    looked, seen = [0.0], [0.0]
    for case in in_looking_order(moved):
        number = back[case.id]
        position[number] += 1
        at[number], found[number] = (values[position[number]] for values in curves[number])
        looked.append(float(at.sum()))
        seen.append(float(found.sum()))
    count = sum(one.particle_count for one in scans)
    total = sum(one.errors for one in scans)
    places = np.searchsorted(np.array(looked), shares * count + 1e-9, side="right") - 1
    return np.array(seen)[places] / max(1, total)


def within(estimate: EstimatedRate, value: float) -> bool:
    return estimate.low - 1e-12 <= value <= estimate.high + 1e-12


def queue_table(groups: dict[str, list[Judged]]) -> list[str]:
    lines = [
        "| scans | particles | true mergers | true splitters | seen with a tenth | "
        "**with a fifth** | with two fifths looked at | with a fifth, counted strictly | "
        "with a fifth of all scans as one queue |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, scans in groups.items():
        mergers = sum(one.truth.score.mergers for one in scans)
        splitters = sum(one.truth.score.splitters for one in scans)
        count = sum(one.particle_count for one in scans)
        tenth, fifth, more = curve(scans, np.array([0.1, FIFTH, 0.4]))
        own = curve(scans, np.array([FIFTH]), named=False)[0]
        together = as_one_queue(scans, np.array([FIFTH]))[0]
        lines.append(
            f"| {name} ({len(scans)}) | {count} | {mergers} | {splitters} | {tenth:.0%} | "
            f"**{fifth:.0%}** | {more:.0%} | {own:.0%} | {together:.0%} |"
        )
    return lines


def rates_table(groups: dict[str, list[Judged]]) -> list[str]:
    """Row by row the scans of the first group; of every group in how many cases the interval holds
    the truth, and the ratios of all its scans together."""
    lines = [
        "| scan | merger ratio, true | estimated (90 % interval) | splitter ratio, true | "
        "estimated (90 % interval) |",
        "|---|---|---|---|---|",
    ]
    totals = []
    for number, (name, scans) in enumerate(groups.items()):
        inside = 0
        true, expected = np.zeros(2), np.zeros(2)
        for one in scans:
            rates = estimated_error_rates(one.cases, one.particle_count)
            score = one.truth.score
            pairs = (
                (score.merger_ratio, rates.merger_ratio),
                (score.splitter_ratio, rates.splitter_ratio),
            )
            inside += sum(within(rate, value) for value, rate in pairs)
            true += [value for value, _ in pairs]
            expected += [rate.expected for _, rate in pairs]
            cells = [
                f"{value:.3f} | {rate.expected:.3f} ({rate.low:.3f}–{rate.high:.3f})"
                for value, rate in pairs
            ]
            if number == 0:
                lines.append(f"| {one.name} | {' | '.join(cells)} |")
        count = max(1, len(scans))
        means = [
            f"{value:.3f} | {estimate:.3f}"
            for value, estimate in zip(true / count, expected / count, strict=True)
        ]
        lines.append(f"| **mean of {name} ({len(scans)})** | {' | '.join(means)} |")
        totals.append(f"in {inside} of {2 * len(scans)} cases ({name})")
    return [*lines, "", f"The interval holds the true ratio {', '.join(totals)}."]


def calibration(scans: Sequence[Judged], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Probability and truth (0 or 1) of every case of a kind."""
    pairs = [
        (case.probability, one.truth.excess(kind, case) > 0)
        for one in scans
        for case in one.cases
        if case.kind == kind
    ]
    values = np.array(pairs, float).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def calibration_table(groups: dict[str, list[Judged]]) -> list[str]:
    lines = ["| scans | kind | cases | expected errors | true errors |", "|---|---|---|---|---|"]
    for name, scans in groups.items():
        for kind in KINDS:
            probability, wrong = calibration(scans, kind)
            lines.append(
                f"| {name} | {kind} | {len(wrong)} | {probability.sum():.1f} | {wrong.sum():.0f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="write docs/review.md's tables")
    parser.add_argument(
        "--only-there", action="store_true", help="take the scans that FOLDER holds already"
    )
    options = parser.parse_args()
    groups = {
        "labelled benchmark": [
            judged(scan)
            for scan in labelled_benchmark(options.folder, only_there=options.only_there)
        ],
        "simulated scans, all presets, held out in turn": held_out(
            simulated_there(options.folder, "nnunet")
        ),
    }
    sections = {
        "queue": queue_table(groups),
        "calibration": calibration_table(groups),
        "rates": rates_table(groups),
    }
    for lines in sections.values():
        print("\n".join(lines), end="\n\n")
    if options.write:
        write_sections(DOCS / "review.md", sections)
        shares = np.linspace(0, 1, 101)
        pictures = DOCS / "pictures"
        curves = {name: curve(scans, shares) for name, scans in groups.items()}
        draw_curve(pictures / "review_queue.png", shares, curves, FIFTH)
        everything = [one for scans in groups.values() for one in scans]
        draw_calibration(
            pictures / "review_calibration.png",
            {kind: calibration(everything, kind) for kind in KINDS},
        )
        draw_rates(
            pictures / "review_rates.png",
            [
                (one.name, one.truth.score, estimated_error_rates(one.cases, one.particle_count))
                for one in everything
            ],
        )


def write_sections(document: Path, sections: dict[str, list[str]]) -> None:
    """Replace what stands between `<!-- NAME: start -->` and `<!-- NAME: end -->`."""
    text = document.read_text(encoding="utf-8")
    for name, lines in sections.items():
        start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n" + "\n".join(lines) + f"\n{end}{rest.split(end)[1]}"
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
