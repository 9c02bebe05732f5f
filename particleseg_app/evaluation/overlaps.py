"""How many voxels each reference particle shares with each predicted one, gathered by blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape, blocks

_BLOCK_SHAPE: Shape = (128, 256, 256)


class LabelsOnDisk(Protocol):
    """Labels (z, y, x) that are read box by box.

    A volume that is best read in boxes of few slices says how many in `slab_depth`.
    """

    @property
    def shape(self) -> Shape: ...

    def read(self, box: Box) -> np.ndarray: ...


Labels = np.ndarray | LabelsOnDisk


@dataclass(frozen=True)
class Overlaps:
    """A sparse table of shared voxels; everything the metrics need of two label volumes.

    `reference_labels`, `predicted_labels`: the labels found, rising, without 0; `reference_sizes`,
    `predicted_sizes`: their voxels. Entry k: reference particle `rows[k]` and predicted particle
    `columns[k]` (indices into those arrays) share `shared[k]` > 0 voxels; rows first, then columns
    rising. All int64.
    """

    reference_labels: np.ndarray
    reference_sizes: np.ndarray
    predicted_labels: np.ndarray
    predicted_sizes: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    shared: np.ndarray

    @property
    def dice(self) -> np.ndarray:
        """Dice of each entry, 2 |a∩b| / (|a| + |b|)."""
        return 2 * self.shared / self.size_sums

    @property
    def size_sums(self) -> np.ndarray:
        """|a| + |b| of each entry."""
        return self.reference_sizes[self.rows] + self.predicted_sizes[self.columns]


def count_overlaps(
    reference: Labels,
    predicted: Labels,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Overlaps:
    """Count shared voxels of two label volumes of one shape, 0 background, axes (z, y, x).

    Arrays of whole numbers up to 2³² - 1, or anything with `shape` and `read(box)`. Raises
    `InvalidValueError` when the shapes differ or the values are no labels.
    """
    z, y, x = _shape(reference)
    if _shape(predicted) != (z, y, x):
        raise InvalidValueError(
            f"The reference has {_text((z, y, x))} voxels, but the result to compare has "
            f"{_text(_shape(predicted))}.",
            "Compare two label volumes of the same scan.",
        )
    depth = min(getattr(labels, "slab_depth", z) for labels in (reference, predicted))
    block = (max(1, min(depth, _BLOCK_SHAPE[0])), *_BLOCK_SHAPE[1:])
    total = math.prod(math.ceil(n / b) for n, b in zip((z, y, x), block, strict=True))
    if progress:
        progress.start("Comparing labels", total=total, unit="blocks")
    keys, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    waiting = 0
    for number, box in enumerate(blocks((z, y, x), block), start=1):
        if cancel:
            cancel.check()
        pair = _read(reference, box, "reference") << np.uint64(32)
        pair |= _read(predicted, box, "result to compare")
        found.append(_count_runs(pair))
        waiting += found[-1][0].size
        # Not after each block: the table is looked through as a whole, and grows with the volume.
        if waiting > keys.size or number == total:
            keys, counts = (
                np.concatenate(each) for each in zip((keys, counts), *found, strict=True)
            )
            keys, counts = _summed(keys, counts)
            found, waiting = [], 0
        if progress:
            progress.advance()

    in_reference = (keys >> np.uint64(32)).astype(np.int64)
    in_predicted = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    reference_labels, row = np.unique(in_reference, return_inverse=True)
    predicted_labels, column = np.unique(in_predicted, return_inverse=True)
    reference_sizes = np.zeros(reference_labels.size, np.int64)
    np.add.at(reference_sizes, row, counts)
    predicted_sizes = np.zeros(predicted_labels.size, np.int64)
    np.add.at(predicted_sizes, column, counts)
    both = (in_reference > 0) & (in_predicted > 0)
    skip_reference = int(reference_labels.size > 0 and reference_labels[0] == 0)
    skip_predicted = int(predicted_labels.size > 0 and predicted_labels[0] == 0)
    return Overlaps(
        reference_labels=reference_labels[skip_reference:],
        reference_sizes=reference_sizes[skip_reference:],
        predicted_labels=predicted_labels[skip_predicted:],
        predicted_sizes=predicted_sizes[skip_predicted:],
        rows=row[both] - skip_reference,
        columns=column[both] - skip_predicted,
        shared=counts[both],
    )


def _shape(labels: Labels) -> tuple[int, ...]:
    shape = tuple(int(n) for n in labels.shape)
    if len(shape) != 3:
        raise InvalidValueError(
            f"Labels of shape {_text(shape)} are not a volume.", "Give labels with three axes."
        )
    return shape


def _text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _read(labels: Labels, box: Box, name: str) -> np.ndarray:
    block = labels[box.slices] if isinstance(labels, np.ndarray) else labels.read(box)
    whole = block.dtype.kind in "bui"
    if not whole or (
        block.size
        and block.dtype not in (np.bool_, np.uint8, np.uint16, np.uint32)
        and not 0 <= block.min() <= block.max() < 2**32
    ):
        raise InvalidValueError(
            f"The {name} holds numbers that are not labels.",
            "Labels are whole numbers from 0 (background) to 4294967295.",
        )
    return block.astype(np.uint64)


def _count_runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values and how often each occurs; quick where equal values lie side by side."""
    flat = values.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    return _summed(flat[starts], lengths)


def _summed(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the counts of equal keys; keys come back rising."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.concatenate([[True], keys[1:] != keys[:-1]]) if keys.size else np.zeros(0, bool)
    if not keys.size:
        return keys, counts
    return keys[first], np.add.reduceat(counts, np.flatnonzero(first))
