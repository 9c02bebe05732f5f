"""The accuracy figures of 000 §4.1 and the table of matched particles."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.evaluation.overlaps import Labels, Overlaps, count_overlaps
from particleseg_app.progress import CancelToken, Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Score:
    """How well predicted particles agree with a reference (000 §4.1).

    `f1`: Dice of the foreground voxels. `f1_match`: Dice over particles, paired one-to-one.
    `f1_instance`: mean Dice over pairs, missed references and extra predictions (both 0).
    `merger_ratio`, `splitter_ratio`: `mergers`, `splitters` per reference particle. `mergers` sums
    m − 1 over predictions that hold more than half of each of m ≥ 2 references, `splitters` s − 1
    over references that hold more than half of each of s ≥ 2 predictions. `true_positives` are
    pairs, `false_positives` extra predictions, `false_negatives` missed references.

    Where neither volume holds a particle the three F1 are 1; where only one does, 0. Without
    reference particles the ratios are 0.
    """

    f1: float
    f1_match: float
    f1_instance: float
    merger_ratio: float
    splitter_ratio: float
    reference_count: int
    predicted_count: int
    true_positives: int
    false_positives: int
    false_negatives: int
    mergers: int
    splitters: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    reference: Labels,
    predicted: Labels,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Score:
    """Score predicted labels against reference labels of the same shape, 0 background.

    Arrays (z, y, x), or anything with `shape` and `read(box)`; read block by block. Raises
    `InvalidValueError` when the shapes differ or the values are no labels.
    """
    return score(count_overlaps(reference, predicted, progress, cancel))


def score(overlaps: Overlaps) -> Score:
    """The figures of two volumes whose overlaps are counted (000 §4.1)."""
    references, predictions = overlaps.reference_labels.size, overlaps.predicted_labels.size
    pairs = _match(overlaps)
    extra, missed = predictions - pairs.size, references - pairs.size
    foreground = int(overlaps.reference_sizes.sum() + overlaps.predicted_sizes.sum())
    particles = pairs.size + extra + missed

    held = 2 * overlaps.shared > overlaps.reference_sizes[overlaps.rows]
    mergers = _beyond_the_first(overlaps.columns[held])
    held = 2 * overlaps.shared > overlaps.predicted_sizes[overlaps.columns]
    splitters = _beyond_the_first(overlaps.rows[held])
    return Score(
        f1=2 * int(overlaps.shared.sum()) / foreground if foreground else 1.0,
        f1_match=2 * pairs.size / (references + predictions) if particles else 1.0,
        f1_instance=float(overlaps.dice[pairs].sum()) / particles if particles else 1.0,
        merger_ratio=mergers / references if references else 0.0,
        splitter_ratio=splitters / references if references else 0.0,
        reference_count=references,
        predicted_count=predictions,
        true_positives=pairs.size,
        false_positives=extra,
        false_negatives=missed,
        mergers=mergers,
        splitters=splitters,
    )


def matched_pairs(overlaps: Overlaps) -> pd.DataFrame:
    """One row per matched pair, sorted by reference label (004).

    Columns: reference, predicted (labels); reference_voxels, predicted_voxels, shared_voxels; dice;
    jaccard |a∩b| / |a∪b|; volumetric_similarity 1 − ||a| − |b|| / (|a| + |b|).
    """
    import pandas as pd

    pairs = np.sort(_match(overlaps))
    rows, columns, shared = overlaps.rows[pairs], overlaps.columns[pairs], overlaps.shared[pairs]
    reference, predicted = overlaps.reference_sizes[rows], overlaps.predicted_sizes[columns]
    return pd.DataFrame(
        {
            "reference": overlaps.reference_labels[rows],
            "predicted": overlaps.predicted_labels[columns],
            "reference_voxels": reference,
            "predicted_voxels": predicted,
            "shared_voxels": shared,
            "dice": overlaps.dice[pairs],
            "jaccard": shared / (reference + predicted - shared),
            "volumetric_similarity": 1 - np.abs(reference - predicted) / (reference + predicted),
        }
    )


def _match(overlaps: Overlaps) -> np.ndarray:
    """Entries of the one-to-one pairs: best Dice first, then the smaller reference label, then the
    smaller predicted label; a pair needs a Dice of at least 0.1.
    """
    candidates = np.flatnonzero(20 * overlaps.shared >= overlaps.size_sums)
    order = candidates[np.argsort(-overlaps.dice[candidates], kind="stable")]
    used_rows, used_columns, pairs = set(), set(), []
    entries = zip(order, overlaps.rows[order], overlaps.columns[order], strict=True)
    for entry, row, column in entries:
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append(entry)
    return np.array(pairs, np.int64)


def _beyond_the_first(owners: np.ndarray) -> int:
    """Sum of (times an owner occurs − 1) over the owners that occur."""
    return int(owners.size - np.unique(owners).size)
