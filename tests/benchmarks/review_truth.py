"""Which cases of a review queue are true errors, by the definitions of docs and `evaluation`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.evaluation import Overlaps, Score, count_overlaps, score


@dataclass(frozen=True)
class Truth:
    """The true errors of a segmentation.

    `mergers`: for each predicted label that holds more than half of each of m ≥ 2 references,
    those references. `splitters`: for each reference that holds more than half of each of s ≥ 2
    predictions, those predictions. `false`: predictions of which references hold no more than half.
    """

    mergers: dict[int, list[int]]
    splitters: dict[int, list[int]]
    false: set[int]
    score: Score

    def excess(self, kind: str, labels: tuple[int, ...]) -> int:
        """How many errors a case stands for: m − 1 for a merger, 1 for a pair of one reference or
        a false particle, 0 where nothing is wrong."""
        if kind == "merger":
            return max(0, len(self.mergers.get(labels[0], ())) - 1)
        if kind == "splitter":
            return int(any(set(labels) <= set(parts) for parts in self.splitters.values()))
        return int(labels[0] in self.false)


def truth(reference: np.ndarray, predicted: np.ndarray) -> Truth:
    """The true errors of `predicted` against `reference`, both (z, y, x)."""
    overlaps = count_overlaps(reference, predicted)
    rows, columns, shared = overlaps.rows, overlaps.columns, overlaps.shared
    mergers = _groups(
        overlaps.predicted_labels[columns],
        overlaps.reference_labels[rows],
        2 * shared > overlaps.reference_sizes[rows],
    )
    splitters = _groups(
        overlaps.reference_labels[rows],
        overlaps.predicted_labels[columns],
        2 * shared > overlaps.predicted_sizes[columns],
    )
    return Truth(mergers, splitters, _false(overlaps), score(overlaps))


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
