"""Where each particle is now: from the run's table and the mends made since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.particles.places import BOX_COLUMNS
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.units import Box, bounding_box

if TYPE_CHECKING:
    import pandas as pd


class LabelBoxes:
    """Boxes that surely hold all voxels of a particle (they may be larger than needed)."""

    def __init__(self, table: pd.DataFrame, journal: ReviewJournal) -> None:
        """`table`: the particle table of the segmentation as it was before any mend."""
        self._journal = journal
        self._rows: dict[int, np.ndarray] = dict(
            zip(table["label"].tolist(), table[BOX_COLUMNS].to_numpy(dtype=np.int64), strict=True)
        )

    def box(self, label: int) -> Box:
        """The box of one particle; raise `InvalidValueError` when there never was one."""
        box = self._box(label)
        if box is None:
            raise InvalidValueError(f"Particle {label} is not there.", "Choose another one.")
        return box

    def boxes(self, labels: Iterable[int]) -> dict[int, Box]:
        """The boxes of the labels that have, or had, any voxels."""
        found = {}
        for label, box in self._boxes(labels).items():
            if box is not None:
                found[label] = box
        return found

    def _box(self, label: int) -> Box | None:
        return self._boxes((label,))[int(label)]

    def _boxes(self, labels: Iterable[int]) -> dict[int, Box | None]:
        boxes: dict[int, Box | None] = {}
        for label in labels:
            row = self._rows.get(int(label))
            boxes[int(label)] = None if row is None else _as_box(row)
        for entry in self._journal.effective_entries():
            for trace in entry.traces:
                if trace.after and trace.label in boxes:
                    known = boxes[trace.label]
                    boxes[trace.label] = (
                        trace.box if known is None else bounding_box(known, trace.box)
                    )
        return boxes


def _as_box(row: np.ndarray) -> Box:
    values = row.tolist()
    return Box(tuple(values[:3]), tuple(values[3:]))
