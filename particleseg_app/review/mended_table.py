"""The particle table after mends: only particles that changed are measured again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.particles.measure import Greys
from particleseg_app.particles.measure_again import measure_some
from particleseg_app.particles.phase_counting import count_phases_of, shares_of
from particleseg_app.particles.phases import Phases, phase_names, with_phases
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.units import Box

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
    phases: Phases | None = None,
) -> pd.DataFrame:
    """`table` with the rows of the labels in `changed` as `labels` are now, sorted by label.

    Labels that vanished lose their row, new ones get one. The result is the table that measuring
    the whole volume anew gives. `table` itself stays as it is. Where it has columns of phases,
    `phases` must be those. Raises `Cancelled`.
    """
    import pandas as pd

    names = () if phases is None else phases.names
    if phase_names(table) != names:
        raise ValueError(f"the table has the phases {phase_names(table)}, not {names}")
    if not changed:
        return table
    voxel_size_um = float(table.attrs["voxel_size_um"])
    where = boxes.boxes(changed)
    rows = measure_some(labels, scan, voxel_size_um, where, progress, cancel)
    if phases is not None:
        rows = with_phases(rows, _shares(rows, labels, where, scan, phases, cancel), names)
    kept = table[~table["label"].isin(np.array(sorted(changed)))]
    both = rows if kept.empty else kept if rows.empty else pd.concat([kept, rows])
    mended = both.sort_values("label", kind="stable").reset_index(drop=True)
    mended.attrs = dict(table.attrs)
    return mended


def _shares(
    rows: pd.DataFrame,
    labels: MendedLabels,
    where: Mapping[int, Box],
    scan: Greys | None,
    phases: Phases,
    cancel: CancelToken,
) -> np.ndarray:
    """Share of each phase, (rows, phases), of particles that were measured again."""
    if scan is None:
        raise ValueError("phases cannot be counted without a scan")
    boxes = {label: where[label] for label in rows["label"].tolist()}
    return shares_of(count_phases_of(labels, scan, phases.thresholds, boxes, cancel))


def changed_labels(labels: MendedLabels) -> frozenset[int]:
    """Every label that gained or lost a voxel since the segmentation."""
    changed: set[int] = set()
    for entry in labels.journal.effective_entries():
        changed |= entry.labels
    return frozenset(changed)
