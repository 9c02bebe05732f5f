"""The particle table after mends: only particles that changed are measured again."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.particles.measure import Greys
from particleseg_app.particles.measure_again import measure_some
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels

if TYPE_CHECKING:
    import pandas as pd


def measured_again(
    table: pd.DataFrame,
    changed: Collection[int],
    labels: MendedLabels,
    boxes: LabelBoxes,
    scan: Greys | None,
    progress: Progress,
    cancel: CancelToken,
) -> pd.DataFrame:
    """`table` with the rows of the labels in `changed` as `labels` are now, sorted by label.

    Labels that vanished lose their row, new ones get one. The result is the table that measuring
    the whole volume anew gives. `table` itself stays as it is. Raises `Cancelled`.
    """
    import pandas as pd

    if not changed:
        return table
    voxel_size_um = float(table.attrs["voxel_size_um"])
    where = boxes.boxes(changed)
    rows = measure_some(labels, scan, voxel_size_um, where, progress, cancel)
    kept = table[~table["label"].isin(np.array(sorted(changed)))]
    both = rows if kept.empty else kept if rows.empty else pd.concat([kept, rows])
    mended = both.sort_values("label", kind="stable").reset_index(drop=True)
    mended.attrs["voxel_size_um"] = voxel_size_um
    return mended


def changed_labels(labels: MendedLabels) -> frozenset[int]:
    """Every label that gained or lost a voxel since the segmentation."""
    changed: set[int] = set()
    for entry in labels.journal.effective_entries():
        changed |= entry.labels
    return frozenset(changed)
