"""Which cases of a review queue are true errors, by the definitions of docs and `evaluation`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.evaluation import Overlaps, Score, count_overlaps, score
from particleseg_app.review.candidates import Candidate
from particleseg_app.review.cases import ReviewCase
from particleseg_app.review.missed import unpack_region


@dataclass(frozen=True)
class Truth:
    """The true errors of a segmentation.

    `mergers`: for each predicted label that holds more than half of each of m ≥ 2 references,
    those references. `splitters`: for each reference that holds more than half of each of s ≥ 2
    predictions, those predictions. `false`: predictions of which references hold no more than half.
    `missed`: references of which predictions hold no more than half.
    """

    mergers: dict[int, list[int]]
    splitters: dict[int, list[int]]
    false: set[int]
    missed: set[int]
    score: Score
    reference: np.ndarray

    @property
    def count(self) -> int:
        """All errors: whatever lowers F1_match is one of them."""
        return self.score.mergers + self.score.splitters + len(self.false) + len(self.missed)

    def excess(self, kind: str, case: ReviewCase | Candidate) -> int:
        """How many errors a case stands for: m − 1 for a merger, 1 for a pair of one reference, a
        false particle, or a body that is mostly one missed reference; 0 where nothing is wrong."""
        labels = case.labels
        if kind == "merger":
            return max(0, len(self.mergers.get(labels[0], ())) - 1)
        if kind == "splitter":
            return int(any(set(labels) <= set(parts) for parts in self.splitters.values()))
        if kind == "missed particle":
            return int(missed_in(self.reference, case) in self.missed)
        return int(labels[0] in self.false)


def missed_in(reference: np.ndarray, case: ReviewCase | Candidate) -> int:
    """The reference that holds more than half of a proposed body, or 0."""
    region = unpack_region(case.region, case.box.shape)
    found = np.bincount(reference[case.box.slices][region])
    best = int(np.argmax(found))
    return best if 2 * found[best] > found.sum() else 0


def truth(reference: np.ndarray, predicted: np.ndarray, crumb: int = 0) -> Truth:
    """The true errors of `predicted` against `reference`, both (z, y, x).

    References of less than `crumb` voxels make no merger: nobody could tell.
    """
    overlaps = count_overlaps(reference, predicted)
    rows, columns, shared = overlaps.rows, overlaps.columns, overlaps.shared
    mergers = _groups(
        overlaps.predicted_labels[columns],
        overlaps.reference_labels[rows],
        (2 * shared > overlaps.reference_sizes[rows]) & (overlaps.reference_sizes[rows] >= crumb),
    )
    splitters = _groups(
        overlaps.reference_labels[rows],
        overlaps.predicted_labels[columns],
        2 * shared > overlaps.predicted_sizes[columns],
    )
    missed = _missed(overlaps)
    return Truth(mergers, splitters, _false(overlaps), missed, score(overlaps), reference)


def _groups(owners: np.ndarray, owned: np.ndarray, held: np.ndarray) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for owner, item in zip(owners[held].tolist(), owned[held].tolist(), strict=True):
        groups.setdefault(owner, []).append(item)
    return {owner: items for owner, items in groups.items() if len(items) > 1}


def _false(overlaps: Overlaps) -> set[int]:
    inside = np.bincount(
        overlaps.columns, weights=overlaps.shared, minlength=overlaps.predicted_labels.size
    )
    wrong = 2 * inside <= overlaps.predicted_sizes
    return set(overlaps.predicted_labels[wrong].tolist())


def _missed(overlaps: Overlaps) -> set[int]:
    held = np.bincount(
        overlaps.rows, weights=overlaps.shared, minlength=overlaps.reference_labels.size
    )
    wrong = 2 * held <= overlaps.reference_sizes
    return set(overlaps.reference_labels[wrong].tolist())
