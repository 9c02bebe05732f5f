"""An automatic review: an oracle that knows the truth follows the queue and mends what is wrong.

    python -m tests.benchmarks.review_session FOLDER [--write]

At each case the oracle looks at the particles shown. If one of them is wrong (or something beside
it is missed), it takes the mend that raises the agreement with the reference most: the proposal,
or one by hand with a tool of the window. A gesture is one change of the labels; going on to the
next case is none, but the cases looked at are counted, too. The session ends when the queue does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from particleseg_app.review.cases import ReviewCase
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.units import Box
from tests.benchmarks.review_oracle import Agreement, Mend, Oracle
from tests.benchmarks.review_queue import DOCS, write_sections
from tests.benchmarks.review_scans import SegmentedScan, labelled_benchmark

TARGET = 0.995
MOST_GESTURES = 1.2


@dataclass
class Session:
    """What came out of a review."""

    name: str
    true_errors: int
    raw: float
    mended: float
    looked_at: int = 0
    accepted: int = 0
    by_hand: int = 0
    clicks: int = 0
    gestures_to_target: int | None = None

    @property
    def gestures(self) -> int:
        return self.accepted + self.by_hand

    @property
    def reached(self) -> bool:
        """Whether the target was reached within 1.2 gestures for each true error."""
        count = self.gestures_to_target
        return count is not None and count <= MOST_GESTURES * self.true_errors


def review(scan: SegmentedScan, queue: Sequence[ReviewCase] | None = None) -> Session:
    """Follow the queue of a scan to its end."""
    reference, truth = scan.reference(), scan.truth()
    raw = truth.score.f1_match
    session = Session(scan.name, truth.count, raw, raw)
    if raw >= TARGET:
        session.gestures_to_target = 0
    now = Agreement(reference, scan.predicted())
    with scan.scan() as grey:
        smallest = scan.settings.min_relative_volume * scan.table()["volume_voxels"].mean()
        oracle = Oracle(reference, grey.read(Box.whole(reference.shape)), float(smallest))
    became: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder, scan.labels() as base:
        journal = ReviewJournal.open(Path(folder) / "review.sqlite", base)
        labels = MendedLabels(base, journal)
        for case in scan.queue() if queue is None else queue:
            case = replace(case, labels=tuple({_now(became, label): 0 for label in case.labels}))
            if case.labels and not any(now.sizes.get(label, 0) for label in case.labels):
                continue
            session.looked_at += 1
            # Once more after a mend: a particle may be wrong in two ways.
            while (best := _best(oracle, case, labels, now, journal.next_label())) is not None:
                mend, then = best
                journal.append(mend.change, mend.kind, case.text, case_id=case.id)
                for gone in mend.change.labels():
                    if now.sizes.get(gone, 0) and not then.sizes.get(gone, 0):
                        kept = np.unique(mend.change.after[mend.change.before == gone])
                        if kept[-1]:
                            became[gone] = int(kept[-1])
                session.accepted += mend.clicks == 0
                session.by_hand += mend.clicks > 0
                session.clicks += max(1, mend.clicks)
                now = then
                session.mended = now.worth()[0]
                if session.mended >= TARGET and session.gestures_to_target is None:
                    session.gestures_to_target = session.gestures
        journal.close()
    return session


def _best(
    oracle: Oracle, case: ReviewCase, labels: MendedLabels, now: Agreement, new_label: int
) -> tuple[Mend, Agreement] | None:
    """The mend that raises F1_match most (then F1_instance), if any does; else None."""
    before = now.worth()
    best: tuple[tuple[float, float], Mend, Agreement] | None = None
    for mend in oracle.mends(case, labels, now, new_label):
        then = now.after(mend.change)
        worth = then.worth()
        # By hand only for what can be seen to be clearly better than the proposal.
        if worth[0] > before[0] and (best is None or worth > (best[0][0], best[0][1] + 0.002)):
            best = worth, mend, then
    return None if best is None else (best[1], best[2])


def _now(became: dict[int, int], label: int) -> int:
    while label in became:
        label = became[label]
    return label


def table(sessions: Sequence[Session]) -> list[str]:
    lines = [
        "| scan | true errors | F1_match before | after | gestures | per true error | of them by "
        f"hand (clicks) | gestures to {TARGET:g} | cases looked at |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in sessions:
        ratio = "" if not one.true_errors else f"{one.gestures / one.true_errors:.2f}"
        reached = "not reached" if one.gestures_to_target is None else str(one.gestures_to_target)
        lines.append(
            f"| {one.name} | {one.true_errors} | {one.raw:.3f} | {one.mended:.3f} | "
            f"{one.gestures} | {ratio} | {one.by_hand} ({one.clicks}) | {reached} | "
            f"{one.looked_at} |"
        )
    errors = sum(one.true_errors for one in sessions)
    gestures = sum(one.gestures for one in sessions)
    lines.append(
        f"| **all** | {errors} | {np.mean([one.raw for one in sessions]):.3f} | "
        f"**{np.mean([one.mended for one in sessions]):.3f}** | {gestures} | "
        f"**{gestures / max(1, errors):.2f}** | {sum(one.by_hand for one in sessions)} "
        f"({sum(one.clicks for one in sessions)}) | "
        f"{sum(one.reached for one in sessions)} of {len(sessions)} scans | "
        f"{sum(one.looked_at for one in sessions)} |"
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
