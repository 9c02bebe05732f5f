"""Where a proposed change cuts or joins, as lines for one slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Each line is (row, column, row, column) of its two ends; pixel i reaches from i to i + 1.
Lines = np.ndarray


@dataclass(frozen=True, eq=False)
class ChangeLines:
    """New borders (`cuts`) and borders that vanish (`seams`) on one slice, (n, 4) each."""

    cuts: Lines
    seams: Lines


def change_lines(before: np.ndarray, after: np.ndarray) -> ChangeLines:
    """Compare two label slices of one shape.

    A cut is an edge between two pixels of one particle that become two; a seam is the opposite.
    Edges to the background that come or go count as well.
    """
    cuts, seams = [], []
    for axis in (0, 1):
        first, second = _neighbours(before, axis)
        first_new, second_new = _neighbours(after, axis)
        was, now = first != second, first_new != second_new
        cuts.append(_edges(now & ~was, axis))
        seams.append(_edges(was & ~now, axis))
    return ChangeLines(np.concatenate(cuts), np.concatenate(seams))


def _neighbours(labels: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return (labels[:-1], labels[1:]) if axis == 0 else (labels[:, :-1], labels[:, 1:])


def _edges(mask: np.ndarray, axis: int) -> Lines:
    """Lines between pixel (r, c) and its next one along `axis`, where the mask is true."""
    rows, columns = np.nonzero(mask)
    if axis == 0:
        return np.stack([rows + 1, columns, rows + 1, columns + 1], axis=1)
    return np.stack([rows, columns + 1, rows + 1, columns + 1], axis=1)
