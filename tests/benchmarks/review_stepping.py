"""How long the reviewer waits: from the key to the painted next case, and to a mend on the disk.

    python tests/benchmarks/review_stepping.py [EDGE]

A scan of EDGE³ voxels (256) with balls of 20 voxels, 60 cases, in the true review page. Steps are
taken at a reader's pace (0.4 s apart), so that reading ahead has the time it has in use.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from particleseg_app.gui.review.controller import ReviewController
from particleseg_app.gui.review.review_page import ReviewPage
from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.cases import ReviewCase, case_id
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.review.mending import Mending
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from particleseg_app.volumes.labels import LabelWriter

SPACING, RADIUS, CASES = 26, 10, 60


def make_files(folder: Path, edge: int) -> None:
    """A scan and labels of pairs of overlapping balls, each pair one label."""
    import tifffile

    labels = np.zeros((edge,) * 3, np.uint32)
    z, y, x = np.ogrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    ball = z**2 + y**2 + x**2 <= RADIUS**2
    number = 0
    places = range(RADIUS + 2, edge - RADIUS - 20, SPACING)
    for cz in places:
        for cy in places:
            for cx in range(RADIUS + 2, edge - RADIUS - 20, 2 * SPACING):
                number += 1
                for shift in (0, 17):
                    box = tuple(slice(c - RADIUS, c + RADIUS + 1) for c in (cz, cy, cx + shift))
                    labels[box][ball] = number
    grey = np.where(labels > 0, 30_000, 12_000).astype(np.uint16)
    grey += np.random.default_rng(1).integers(0, 2_000, grey.shape, dtype=np.uint16)
    tifffile.imwrite(folder / "scan.tif", grey)
    import_scan(inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken())
    with LabelWriter(folder / "labels.h5", labels.shape, number) as writer:
        writer.write(Box.whole(labels.shape), labels)


def cases_of(boxes: LabelBoxes, count: int, shape: tuple[int, int, int]) -> list[ReviewCase]:
    labels = np.random.default_rng(2).permutation(np.arange(1, count + 1))[:CASES]
    found = []
    for label in labels.tolist():
        box = boxes.box(label).expanded(2, shape)
        z, y, x = ((a + b) / 2 for a, b in zip(box.start, box.stop, strict=True))
        found.append(
            ReviewCase(
                case_id("merger", (label,)), "merger", (label,), 0.5, 1.0, {}, "A neck.", box,
                (z, y, x), ((z, y, x - 8), (z, y, x + 8)),
            )
        )  # fmt: skip
    return found


def wait(condition: object, seconds: float = 60.0) -> None:
    end = time.perf_counter() + seconds
    while not condition():  # type: ignore[operator]
        if time.perf_counter() > end:
            raise TimeoutError
        QApplication.processEvents()


def pause(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()


def painted(page: ReviewPage) -> bool:
    controller = page.controller
    assert controller is not None
    if controller.neighbourhood is None or page.view.shown is not controller.neighbourhood:
        return False
    views = [page.slices.view(name) for name in ("xy", "xz", "yz")]
    return all(
        view.picture is not None and view.picture.index == page.slices.position[view.plane.axis]
        for view in views
    )


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    QApplication.instance() or QApplication([])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_files(folder, edge)
        scan, base = open_scan(folder / "scan.h5"), open_labels(folder / "labels.h5")
        table = measure_particles(base, scan, 10.0, Progress(), CancelToken())
        journal = ReviewJournal.open(folder / "review.sqlite", base)
        labels = MendedLabels(base, journal)
        boxes = LabelBoxes(table, journal)
        page = ReviewPage()
        page.resize(1600, 1000)
        page.show()
        cases = cases_of(boxes, base.count, scan.shape)
        controller = ReviewController(scan, Mending(labels, scan, boxes), cases, 2.0 * RADIUS)
        page.begin(controller, scan.statistics, 10.0, {})
        controller.begin()
        wait(lambda: painted(page) and controller.changes is not None)
        pause(3.0)
        steps, proposals, mends = [], [], []
        for _ in range(40):
            number = controller.number
            began = time.perf_counter()
            QTest.keyClick(page.slices.view("xy"), Qt.Key.Key_N)
            wait(lambda number=number: controller.number != number and painted(page))
            page.slices.view("xy").viewport().repaint()
            steps.append(time.perf_counter() - began)
            wait(lambda: controller.changes is not None)
            proposals.append(time.perf_counter() - began)
            pause(0.4)
        for _ in range(15):
            count = journal.mend_count
            began = time.perf_counter()
            QTest.keyClick(page.slices.view("xy"), Qt.Key.Key_Return)
            wait(lambda count=count: journal.mend_count > count)
            mends.append(time.perf_counter() - began)
            wait(lambda: painted(page) and controller.changes is not None)
            pause(0.4)
        page.stop()
        labels.close()
        scan.close()
    print(f"scan of {edge}³ voxels, {len(cases)} cases; ms")
    print(f"{'':34}{'median':>8}{'95 %':>8}{'most':>8}")
    for name, values in (
        ("next case painted", steps),
        ("its proposed cut computed", proposals),
        ("accepted mend on the disk", mends),
    ):
        ms = 1000 * np.array(values)
        print(f"{name:34}{np.median(ms):8.0f}{np.percentile(ms, 95):8.0f}{ms.max():8.0f}")


if __name__ == "__main__":
    main()
