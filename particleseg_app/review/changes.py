"""A change of labels: what a mend proposes and the journal keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from particleseg_app.units import Box


@dataclass(frozen=True, eq=False)
class LabelChange:
    """Labels of a box before and after a mend, both (z, y, x) uint32 of the box's shape.

    Several changes that make one gesture (a group of particles) all start from the same state;
    where two of them change the same voxel, the later one counts. `next_label` is the first
    number that was free when the change was made (0: it brings no new one).
    """

    box: Box
    before: np.ndarray
    after: np.ndarray
    next_label: int = 0

    def __post_init__(self) -> None:
        for labels in (self.before, self.after):
            if labels.shape != self.box.shape or labels.dtype != np.uint32:
                raise ValueError(f"{labels.dtype} labels of {labels.shape} do not fill {self.box}")

    @property
    def brings_new_labels(self) -> bool:
        return bool(self.next_label) and int(self.after.max(initial=0)) >= self.next_label

    @property
    def changes_anything(self) -> bool:
        return not np.array_equal(self.before, self.after)

    @property
    def voxels(self) -> int:
        """How many voxels change."""
        return int(np.count_nonzero(self.before != self.after))

    def labels(self) -> frozenset[int]:
        """Labels that gain or lose a voxel (never 0)."""
        changed = self.before != self.after
        found = np.union1d(np.unique(self.before[changed]), np.unique(self.after[changed]))
        return frozenset(int(label) for label in found if label)


def as_changes(change: LabelChange | Iterable[LabelChange]) -> Iterable[LabelChange]:
    """One change or several, as something to walk over."""
    return (change,) if isinstance(change, LabelChange) else change
