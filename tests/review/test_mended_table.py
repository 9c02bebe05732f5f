"""The table after mends is the table of the mended volume, with only what changed measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from particleseg_app.particles import measure_again, measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.review.mended_table import changed_labels, measured_again
from particleseg_app.review.mending import Mending
from particleseg_app.units import Box
from particleseg_app.volumes import FieldOfView
from tests.review.label_models import random_change, random_labels, write_labels

SHAPE = (70, 60, 90)
VOXEL_SIZE_UM = 7.3


class Scan:
    """Whole numbers in memory, read as a scan is, which notes what was read."""

    class statistics:  # noqa: N801
        mean = 812.4

    def __init__(self, seed: int) -> None:
        self.values = np.random.default_rng(seed).integers(0, 4000, SHAPE).astype(np.uint16)
        self.shape = SHAPE
        self.voxels_read = 0
        y, x = np.indices(SHAPE[1:])
        self.field_of_view = FieldOfView(np.hypot(y - 20 - seed, x - 45) > 38, 0.0)

    def read(self, box: Box) -> np.ndarray:
        self.voxels_read += box.size
        return self.values[box.slices]


def measured(labels: object, scan: Scan) -> pd.DataFrame:
    return measure_particles(labels, scan, VOXEL_SIZE_UM, Progress(), CancelToken())  # type: ignore[arg-type]


@pytest.mark.usefixtures("unflushed")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slab_voxels", [1, 10**7])
def test_row_for_row_the_table_of_the_mended_volume(
    seed: int, slab_voxels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_again, "_SLAB_VOXELS", slab_voxels)
    rng = np.random.default_rng(seed)
    base = write_labels(tmp_path / "labels.h5", random_labels(seed, SHAPE, 25))
    scan = Scan(seed)
    before = measured(base, scan)
    journal = ReviewJournal.open(tmp_path / "review.sqlite", base)
    labels = MendedLabels(base, journal)
    boxes = LabelBoxes(before, journal)
    table = before
    tools = Mending(labels, scan, boxes)
    changed: list[frozenset[int]] = []
    journal.add_listener(lambda box, which: changed.append(which))
    for step in range(12):
        whole = labels.read(Box.whole(SHAPE))
        if step == 5:
            present = np.unique(whole)[1:4].tolist()
            journal.append(tools.preview_merge(present), "merge", "")
        elif step == 6:
            journal.append(tools.preview_delete(np.unique(whole)[-3:].tolist()), "delete", "")
        elif step in (7, 8, 10):
            journal.undo()
        elif step == 9:
            journal.redo()
        else:
            change = random_change(rng, whole, journal.next_label())
            if change.changes_anything:
                journal.append(change, "paint", "")
        for which in changed:
            table = measured_again(table, which, labels, boxes, scan, Progress(), CancelToken())
        changed.clear()
        pd.testing.assert_frame_equal(table, measured(labels, scan), check_exact=True)
    anew = measured_again(
        before, changed_labels(labels), labels, boxes, scan, Progress(), CancelToken()
    )
    pd.testing.assert_frame_equal(anew, table, check_exact=True)
    journal.revert()
    assert not changed_labels(labels)
    labels.close()


def test_only_what_changed_is_read(tmp_path: Path) -> None:
    stored = np.zeros(SHAPE, np.uint32)
    stored[2:8, 2:8, 2:8], stored[50:60, 40:50, 70:80] = 1, 2
    base = write_labels(tmp_path / "labels.h5", stored)
    scan = Scan(0)
    before = measured(base, scan)
    with MendedLabels(base, ReviewJournal.open(tmp_path / "review.sqlite", base)) as labels:
        boxes = LabelBoxes(before, labels.journal)
        tools = Mending(labels, scan, boxes)
        tools.apply(tools.preview_erase([(2, 2, 2)], 3), "erase", "A corner of particle 1")
        scan.voxels_read = 0
        after = measured_again(
            before, changed_labels(labels), labels, boxes, scan, Progress(), CancelToken()
        )
        assert 0 < scan.voxels_read <= 8**3
        pd.testing.assert_frame_equal(after, measured(labels, scan), check_exact=True)
        pd.testing.assert_series_equal(after.loc[1], before.loc[1])
