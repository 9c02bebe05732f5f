"""An automatic review: an oracle that knows the truth follows the queue and mends what is wrong.

    python -m tests.benchmarks.review_session FOLDER [--write]

For each case the oracle sees whether it is a true error of the labels as they are then. It accepts
the proposal when that raises the agreement with the reference; else it mends by hand: a merger by
one marker in each reference particle, a false particle by deleting it. Everything goes through the
tools and the journal that the window uses. A gesture is one change of the labels; going on to the
next case is none, but the cases looked at are counted, too. The session ends when the queue does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.evaluation import Overlaps, count_overlaps, score
from particleseg_app.review.cases import ReviewCase
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.review.mends import delete
from particleseg_app.review.merge_tree import distance_inside
from particleseg_app.review.proposals import proposed_change
from particleseg_app.review.splitting import split_by_markers
from tests.benchmarks.review_queue import DOCS, write_sections
from tests.benchmarks.review_scans import SegmentedScan, labelled_benchmark

TARGET = 0.995
# The oracle places a marker in every reference of which the particle holds this much.
HELD = 0.3


class Agreement:
    """Shared voxels of every reference and every present label, kept up as labels change."""

    def __init__(self, reference: np.ndarray, labels: np.ndarray) -> None:
        self.reference = reference
        found = count_overlaps(reference, labels)
        self.reference_sizes = dict(
            zip(found.reference_labels.tolist(), found.reference_sizes.tolist(), strict=True)
        )
        self.sizes = dict(
            zip(found.predicted_labels.tolist(), found.predicted_sizes.tolist(), strict=True)
        )
        self.shared = {
            (int(found.reference_labels[r]), int(found.predicted_labels[c])): int(n)
            for r, c, n in zip(found.rows, found.columns, found.shared, strict=True)
        }

    def after(self, change: LabelChange) -> Agreement:
        """The agreement when `change` is made."""
        result = Agreement.__new__(Agreement)
        result.reference, result.reference_sizes = self.reference, self.reference_sizes
        result.sizes, result.shared = dict(self.sizes), dict(self.shared)
        changed = change.before != change.after
        reference = self.reference[change.box.slices][changed].tolist()
        before, after = change.before[changed].tolist(), change.after[changed].tolist()
        for owner, old, new in zip(reference, before, after, strict=True):
            for label, step in ((old, -1), (new, 1)):
                if label:
                    result.sizes[label] = result.sizes.get(label, 0) + step
                    if owner:
                        pair = (owner, label)
                        result.shared[pair] = result.shared.get(pair, 0) + step
        return result

    def overlaps(self) -> Overlaps:
        references = np.array(sorted(self.reference_sizes), np.int64)
        predicted = np.array(sorted(k for k, n in self.sizes.items() if n), np.int64)
        entries = sorted((r, p, n) for (r, p), n in self.shared.items() if n)
        rows, columns, shared = np.array(entries, np.int64).reshape(-1, 3).T
        return Overlaps(
            references,
            np.array([self.reference_sizes[k] for k in references.tolist()], np.int64),
            predicted,
            np.array([self.sizes[k] for k in predicted.tolist()], np.int64),
            np.searchsorted(references, rows),
            np.searchsorted(predicted, columns),
            shared,
        )

    def held_by(self, label: int) -> list[int]:
        """References of which a label holds more than `HELD`."""
        return [
            r
            for (r, p), n in self.shared.items()
            if p == label and n > HELD * self.reference_sizes[r]
        ]

    def inside(self, label: int) -> int:
        """Voxels of a label in any reference."""
        return sum(n for (_, p), n in self.shared.items() if p == label)

    def owner(self, label: int) -> int:
        """The reference that holds more than half of a label, or 0."""
        for (r, p), n in self.shared.items():
            if p == label and 2 * n > self.sizes[label]:
                return r
        return 0

    def is_error(self, case: ReviewCase) -> bool:
        if case.kind == "merger":
            return len(self.held_by(case.labels[0])) > 1
        if case.kind == "splitter":
            owners = {self.owner(label) for label in case.labels}
            return len(owners) == 1 and owners != {0}
        return 2 * self.inside(case.labels[0]) <= self.sizes[case.labels[0]]


@dataclass
class Session:
    """What came out of a review."""

    name: str
    true_errors: int
    raw: float
    mended: float
    missed: int = 0
    looked_at: int = 0
    accepted: int = 0
    by_hand: int = 0
    clicks: int = 0
    gestures_to_target: int | None = None

    @property
    def gestures(self) -> int:
        return self.accepted + self.by_hand


def review(scan: SegmentedScan) -> Session:
    """Follow the queue of a scan to its end."""
    reference, truth = scan.reference(), scan.truth()
    errors = truth.score.mergers + truth.score.splitters + len(truth.false)
    raw = truth.score.f1_match
    session = Session(scan.name, errors, raw, raw)
    if raw >= TARGET:
        session.gestures_to_target = 0
    now = Agreement(reference, scan.predicted())
    session.missed = sum(
        not any(r == owner and 5 * n > size for (r, _), n in now.shared.items())
        for owner, size in now.reference_sizes.items()
    )
    became: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder, scan.labels() as base:
        journal = ReviewJournal.open(Path(folder) / "review.sqlite", base)
        labels = MendedLabels(base, journal)
        for case in scan.queue():
            case = replace(case, labels=tuple(_now(became, label) for label in case.labels))
            if len(set(case.labels)) < len(case.labels):
                continue
            if any(now.sizes.get(label, 0) == 0 for label in case.labels):
                continue
            session.looked_at += 1
            if not now.is_error(case):
                continue
            change, then, clicks = _mend(case, labels, now, journal.next_label())
            if change is None or then is None:
                continue
            journal.append(change, case.kind, case.text, case_id=case.id)
            if case.kind == "splitter":
                first, second = case.labels
                gone, kept = (first, second) if then.sizes[second] else (second, first)
                became[gone] = kept
            session.accepted += clicks == 0
            session.by_hand += clicks > 0
            session.clicks += max(1, clicks)
            now = then
            session.mended = score(now.overlaps()).f1_match
            if session.mended >= TARGET and session.gestures_to_target is None:
                session.gestures_to_target = session.gestures
        journal.close()
    return session


def _mend(
    case: ReviewCase, labels: MendedLabels, now: Agreement, new_label: int
) -> tuple[LabelChange | None, Agreement | None, int]:
    """The better of proposal (0 clicks) and mend by hand, if either raises the agreement."""
    before = _worth(now)
    change = proposed_change(case, labels, new_label)
    proposed = None if change is None else now.after(change)
    done = proposed is not None and _worth(proposed) > before and (
        case.kind != "merger" or len(_held(proposed, change)) == len(now.held_by(case.labels[0]))
    )  # fmt: skip
    if done:
        return change, proposed, 0
    by_hand, clicks = _by_hand(case, labels, now, new_label)
    if by_hand is not None:
        then = now.after(by_hand)
        if _worth(then) > before:
            return by_hand, then, clicks
    return None, None, 0


def _held(now: Agreement, change: LabelChange | None) -> set[int]:
    """References that the changed labels are each the right particle of (Dice of at least ½)."""
    assert change is not None
    return {
        r
        for (r, p), n in now.shared.items()
        if p in change.labels() and 4 * n >= now.reference_sizes[r] + now.sizes[p]
    }


def _worth(now: Agreement) -> tuple[float, float]:
    figures = score(now.overlaps())
    return round(figures.f1_match, 12), figures.f1_instance


def _by_hand(
    case: ReviewCase, labels: MendedLabels, now: Agreement, new_label: int
) -> tuple[LabelChange | None, int]:
    before = labels.read(case.box)
    label = case.labels[0]
    if case.kind == "false particle":
        return LabelChange(case.box, before, delete(before, [label]), new_label), 1
    if case.kind == "splitter":
        return None, 0
    reference = now.reference[case.box.slices]
    markers = []
    for held in now.held_by(label):
        part = (before == label) & (reference == held)
        if part.any():
            top = int(np.argmax(distance_inside(part) * part))
            markers.append(tuple(float(n) for n in np.unravel_index(top, part.shape)))
    try:
        after = split_by_markers(before, None, label, markers, new_label)
    except InvalidValueError:
        return None, 0
    return LabelChange(case.box, before, after, new_label), len(markers)


def _now(became: dict[int, int], label: int) -> int:
    while label in became:
        label = became[label]
    return label


def table(sessions: Sequence[Session]) -> list[str]:
    lines = [
        "| scan | true errors | F1_match before | after | gestures | per true error | of them by "
        f"hand (clicks) | gestures to {TARGET:g} | cases looked at | particles missed by the run |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in sessions:
        ratio = f"{one.gestures / one.true_errors:.2f}" if one.true_errors else "–"
        reached = "not reached" if one.gestures_to_target is None else str(one.gestures_to_target)
        lines.append(
            f"| {one.name} | {one.true_errors} | {one.raw:.3f} | {one.mended:.3f} | "
            f"{one.gestures} | {ratio} | {one.by_hand} ({one.clicks}) | {reached} | "
            f"{one.looked_at} | {one.missed} |"
        )
    errors = sum(one.true_errors for one in sessions)
    gestures = sum(one.gestures for one in sessions)
    lines.append(
        f"| **all** | {errors} | {np.mean([one.raw for one in sessions]):.3f} | "
        f"**{np.mean([one.mended for one in sessions]):.3f}** | {gestures} | "
        f"**{gestures / max(1, errors):.2f}** | {sum(one.by_hand for one in sessions)} "
        f"({sum(one.clicks for one in sessions)}) | "
        f"{sum(one.gestures_to_target is not None for one in sessions)} of {len(sessions)} scans | "
        f"{sum(one.looked_at for one in sessions)} | {sum(one.missed for one in sessions)} |"
    )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="write docs/review.md's table")
    parser.add_argument(
        "--only-there", action="store_true", help="take the scans that FOLDER holds already"
    )
    options = parser.parse_args()
    scans = labelled_benchmark(options.folder, only_there=options.only_there)
    lines = table([review(scan) for scan in scans])
    print("\n".join(lines))
    if options.write:
        write_sections(DOCS / "review.md", {"session": lines})


if __name__ == "__main__":
    main()
