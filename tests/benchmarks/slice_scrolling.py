"""How fluid scrolling is: `python tests/benchmarks/slice_scrolling.py [EDGE ...] [--folder F]`.

Imports a scan of EDGE³ voxels (16 bit) with labels into a temporary folder, opens it in the
linked slices and scrolls through 200 slices of each axis with the mouse wheel, at forty steps a
second. The table tells, for each axis: how many of the steps were seen, the time from the wheel
to the painted slice, and the longest time the window's thread did not answer (on a busy machine
mostly waiting for a processor) and worked (its own processor time) in one go.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "gui")]

import numpy as np
import tifffile
from PySide6.QtCore import QPoint, QPointF, Qt, QTimer
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication
from viewer_samples import packed_particles

from particleseg_app.gui import theme
from particleseg_app.gui.viewers import OrthosliceView
from particleseg_app.gui.viewers.slice_picture import SlicePicture
from particleseg_app.gui.viewers.slice_view import SliceView
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box
from particleseg_app.volumes import (
    LabelWriter,
    import_scan,
    inspect_source,
    open_labels,
    open_scan,
)

STEPS = 200
STEP_MS = 25


def make_volumes(folder: Path, edge: int) -> None:
    """Write scan.h5 and labels.h5 of edge³ voxels: copies of a small packing with new noise."""
    grey, labels = packed_particles()
    size = grey.shape[0]
    copies = -(-edge // size)
    random = np.random.default_rng(0)
    noise = random.integers(-900, 900, (edge + 512, edge), dtype=np.int16)
    tiff = folder / "scan.tif"
    with tifffile.TiffWriter(tiff, bigtiff=True) as writer:
        for z in range(edge):
            plane = np.tile(grey[z % size], (copies, copies))[:edge, :edge].astype(np.int32)
            first = int(random.integers(0, 512))
            plane += noise[first : first + edge]
            writer.write(plane.clip(0, 65535).astype(np.uint16), contiguous=True)
    import_scan(inspect_source(tiff), folder / "scan.h5", Progress(), CancelToken())
    tiff.unlink()
    highest = int(labels.max())
    with LabelWriter(folder / "labels.h5", (edge,) * 3, highest * copies**3) as writer:
        for z in range(0, edge, 64):
            for y in range(0, edge, 64):
                for x in range(0, edge, 64):
                    box = Box((z, y, x), (min(edge, z + 64), min(edge, y + 64), min(edge, x + 64)))
                    part = labels[tuple(slice(a % size, a % size + 64) for a in (z, y, x))]
                    part = part[tuple(slice(0, n) for n in box.shape)]
                    copy = (z // size * copies + y // size) * copies + x // size
                    shifted = np.where(part > 0, part + copy * highest, 0)
                    writer.write(box, shifted.astype(np.uint32))


class Stopwatch:
    """Notes when slices were asked for and painted, and how long the window was busy."""

    def __init__(self, view: SliceView) -> None:
        self.view = view
        self.asked: dict[int, float] = {}
        self.latencies: list[float] = []
        self.longest_block = 0.0
        self.longest_work = 0.0
        self._last_beat, self._last_work = time.perf_counter(), time.thread_time()
        view.window().loader.loaded.connect(self._shown)
        self._timer = QTimer(interval=1, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _shown(self, picture: SlicePicture) -> None:
        if picture.axis == self.view.plane.axis:
            self.view.viewport().repaint()  # now, so that painting is counted too
            began = self.asked.pop(picture.index, None)
            if began is not None:
                self.latencies.append(time.perf_counter() - began)

    def _beat(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        self.longest_block = max(self.longest_block, now - self._last_beat)
        self.longest_work = max(self.longest_work, worked - self._last_work)
        self._last_beat, self._last_work = now, worked

    def stop(self) -> None:
        self._timer.stop()
        self.view.window().loader.loaded.disconnect(self._shown)


def turn_wheel(view: SliceView) -> None:
    at = view.viewport().rect().center()
    event = QWheelEvent(
        QPointF(at),
        QPointF(view.viewport().mapToGlobal(at)),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view.viewport(), event)


def run_for(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)


def measure(folder: Path, edge: int) -> None:
    with open_scan(folder / "scan.h5") as scan, open_labels(folder / "labels.h5") as labels:
        view = OrthosliceView()
        view.resize(1280, 800)
        view.show()
        view.set_scan(scan, 10.0)
        view.set_labels(labels)
        run_for(3)
        for name in ("xy", "xz", "yz"):
            slice_view = view.view(name)
            axis = slice_view.plane.axis
            start = [edge // 2] * 3
            start[axis] = (edge - STEPS) // 2
            view.go_to(*start)
            run_for(2)
            watch = Stopwatch(slice_view)
            for _ in range(STEPS):
                watch.asked[view.position[axis] + 1] = time.perf_counter()
                turn_wheel(slice_view)
                run_for(STEP_MS / 1000)
            run_for(1)
            watch.stop()
            ordered = sorted(watch.latencies)
            print(
                f"{edge:>5}³  {name:<5} {len(ordered):>4} of {STEPS}"
                f"  {1000 * statistics.median(ordered):>8.0f}"
                f"  {1000 * ordered[int(0.95 * len(ordered))]:>8.0f}"
                f"  {1000 * ordered[-1]:>8.0f}  {1000 * watch.longest_block:>10.0f}"
                f"  {1000 * watch.longest_work:>10.0f}"
            )
        view.stop()
        view.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("edges", nargs="*", type=int, default=[512])
    parser.add_argument("--folder", type=Path, help="keep the volumes here and use them again")
    arguments = parser.parse_args()
    app = QApplication([])
    theme.apply_theme(app, dark=True)
    print("slice to screen, ms   seen       median       95 %   longest     blocked     working")
    for edge in arguments.edges:
        if arguments.folder is None:
            with tempfile.TemporaryDirectory() as folder:
                make_volumes(Path(folder), edge)
                measure(Path(folder), edge)
        else:
            folder = arguments.folder / str(edge)
            if not (folder / "labels.h5").exists():
                folder.mkdir(parents=True, exist_ok=True)
                make_volumes(folder, edge)
            measure(folder, edge)


if __name__ == "__main__":
    main()
