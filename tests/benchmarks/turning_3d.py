"""How fluid the 3D view is: `python tests/benchmarks/turning_3d.py [EDGE] [--particles N]`.

Shows EDGE³ labels (default 256) in the 3D view of a 900 × 700 window and prints how long it takes
until the particles are seen, the frames a second really drawn while the mouse turns them for a few
seconds, and how long the window is busy with other colours, hidden particles, a selection and a
cut. With --particles N (EDGE 512 by default then) the labels are N small separate grains, made
quickly; without it some touching ones, as large in a small cube as in a large one. Needs a display;
on a machine without one: xvfb-run -a -s "-screen 0 1600x1200x24".
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "gui")]

import numpy as np  # noqa: E402
from PySide6.QtCore import QPointF, Qt  # noqa: E402
from PySide6.QtGui import QMouseEvent  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402
from viewer_samples import (  # noqa: E402
    MemoryLabels,
    MemoryScan,
    MemoryVolume,
    packed_particles,
    statistics_of,
)

from particleseg_app.gui.viewers import Particles3DView  # noqa: E402
from particleseg_app.gui.viewers.label_look import (  # noqa: E402
    LabelColouring,
    LabelLook,
    LabelVisibility,
)
from particleseg_app.gui.viewers.opengl import find_opengl  # noqa: E402
from particleseg_app.units import Box  # noqa: E402

SECONDS = 4.0
FEWEST_VOXELS = 64  # along an edge; below there are too few particles to turn
GRAIN = 8  # voxels of the coarse noise that the touching particles' surfaces are made with


def wait(app: QApplication, until, limit: float = 120.0) -> float:
    """Let the window work until something holds; the seconds it took."""
    started = time.perf_counter()
    while not until() and time.perf_counter() < started + limit:
        app.processEvents()
        time.sleep(0.005)
    return time.perf_counter() - started


def small_grains(edge: int, count: int) -> np.ndarray:
    """At least `count` ellipsoids of different size and place in a cube, labels (z, y, x)."""
    random = np.random.default_rng(3)
    cells = int(np.ceil(count ** (1 / 3)))
    pitch = edge / cells
    radii = random.uniform(0.30, 0.48, (3, cells, cells, cells)).astype(np.float32) * pitch
    shift = random.uniform(-0.08, 0.08, (3, cells, cells, cells)).astype(np.float32) * pitch
    place = np.arange(edge)
    cell = np.minimum((place / pitch).astype(int), cells - 1)
    away = (place + 0.5 - (cell + 0.5) * pitch).astype(np.float32)
    number = (random.permutation(cells**3) + 1).astype(np.uint32).reshape((cells,) * 3)
    labels = np.zeros((edge,) * 3, np.uint32)
    for z in range(edge):
        at = np.ix_(cell, cell)
        q = ((away[z] - shift[0, cell[z]]) / radii[0, cell[z]])[at] ** 2
        q = q + ((away[:, None] - shift[1, cell[z]][at]) / radii[1, cell[z]][at]) ** 2
        q = q + ((away[None, :] - shift[2, cell[z]][at]) / radii[2, cell[z]][at]) ** 2
        labels[z] = np.where(q < 1, number[cell[z]][at], 0)
    return labels


class GrainScan(MemoryVolume):
    """Grey values made from the labels when they are read."""

    def __init__(self, labels: np.ndarray) -> None:
        super().__init__(labels)
        self.dtype = np.dtype(np.uint8)
        self.statistics = statistics_of(self.read_slice(0, labels.shape[0] // 2))

    def read(self, box: Box) -> np.ndarray:
        return np.where(super().read(box) > 0, 170, 40).astype(np.uint8)

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        return np.where(super().read_slice(axis, index) > 0, 170, 40).astype(np.uint8)


def frames_per_second(app: QApplication, view: Particles3DView) -> tuple[float, float]:
    """Frames drawn in a second of turning, and in a second of the processor's time."""
    assert view._scene is not None
    scene = view._scene.canvas
    canvas = scene.native
    drawn = 0

    def count(_event) -> None:
        nonlocal drawn
        drawn += 1

    scene.events.draw.connect(count)
    middle = QPointF(canvas.width() / 2, canvas.height() / 2)

    def mouse(kind, place, button, buttons) -> None:
        event = QMouseEvent(
            kind, place, canvas.mapToGlobal(place), button, buttons, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(canvas, event)

    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    mouse(QMouseEvent.Type.MouseButtonPress, middle, left, left)
    started, worked, step = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < SECONDS:
        step += 1
        place = middle + QPointF(120 * np.sin(step / 20), 60 * np.cos(step / 30))
        mouse(QMouseEvent.Type.MouseMove, place, none, left)
        app.processEvents()
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    away = middle + QPointF(90, 40)  # where it was pressed it would be a click
    mouse(QMouseEvent.Type.MouseButtonRelease, away, left, none)
    scene.events.draw.disconnect(count)
    return drawn / seconds, drawn / max(worked, 1e-6)


def time_changes(app: QApplication, view: Particles3DView, count: int) -> None:
    """How long the window is busy with changes of looks, the next frame included."""
    assert view._scene is not None
    labels = np.arange(1, count + 1)
    random = np.random.default_rng(1)
    by_value = LabelColouring.by_value(labels, random.normal(size=count), "Size", "µm")
    every = LabelVisibility.all()
    some = LabelVisibility((), labels[::10])
    changes = {
        "other colours": lambda: view.set_look(LabelLook(by_value, every)),
        "a tenth hidden": lambda: view.set_look(LabelLook(by_value, some)),
        "all shown": lambda: view.set_look(LabelLook(by_value, every)),
        "one selected": lambda: view.select_label(count // 2),
        "none selected": lambda: view.select_label(None),
        "cut open": view.cut.click,
        "cut closed": view.cut.click,
    }
    print("milliseconds the window is busy: the change, and the frame after it (wall, processor)")
    for name, change in changes.items():
        times = [(time.perf_counter(), time.process_time())]
        change()
        times.append((time.perf_counter(), time.process_time()))
        view._scene.picture()
        times.append((time.perf_counter(), time.process_time()))
        parts = [
            f"{1000 * (b[k] - a[k]):6.0f}" for a, b in itertools.pairwise(times) for k in (0, 1)
        ]
        print(f"  {name:15s} {parts[0]} {parts[1]}   {parts[2]} {parts[3]}")
        print(f"    fine again after {wait(app, lambda: view.ready and still(view)):.1f} s")


def still(view: Particles3DView) -> bool:
    return view.still


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edge", nargs="?", type=int)
    parser.add_argument("--particles", type=int)
    parser.add_argument("--picture", type=Path, help="folder for pictures at rest and in motion")
    options = parser.parse_args()
    edge = options.edge or (512 if options.particles else 256)
    if edge < FEWEST_VOXELS or (edge % GRAIN and not options.particles):
        parser.error(f"EDGE must be a multiple of {GRAIN}, and {FEWEST_VOXELS} or more.")
    app = QApplication(sys.argv[:1])
    if options.particles:
        values = small_grains(edge, options.particles)
        scan = GrainScan(values)
    else:
        grey, values = packed_particles(edge, round(260 * (edge / 128) ** 3))
        scan = MemoryScan(grey)
    view = Particles3DView()
    view.resize(900, 700)
    view.show()
    count = int(values.max())
    print(f"{edge}³ voxels, {count} particles, OpenGL: {find_opengl()}")
    view.set_scan(scan, 10.0)
    labels = MemoryLabels(values)
    worked = time.process_time()
    view.set_labels(labels)
    first = wait(app, lambda: view._preparation.particles is not None)
    print(f"particles seen after {first:.1f} s", end=", ")
    later = first + wait(app, lambda: view.ready and still(view))
    print(f"as finely as at rest after {later:.1f} s", end=" ")
    print(f"({time.process_time() - worked:.1f} s of the processor)")
    print("frames a second while turning, and in a second of the processor's time")
    for mode in ("particles", "scan", "both"):
        view.set_mode(mode)
        wait(app, lambda: view.ready)
        wait(app, lambda: False, 1.0)
        on_screen, of_processor = frames_per_second(app, view)
        print(f"  {mode:10s} {on_screen:5.1f}  {of_processor:5.1f}")
    view.set_mode("particles")
    view.reset_view()
    wait(app, lambda: view.ready and still(view))
    if options.picture:
        options.picture.mkdir(parents=True, exist_ok=True)
        far = view._scene.camera.turntable.scale_factor
        for place, factor in (("far", 1.0), ("near", 0.22)):
            view._scene.camera.turntable.scale_factor = far * factor
            view._moving(True)
            wait(app, lambda: view.ready and still(view))
            for name, moving in (("rest", False), ("motion", True)):
                view._scene.set_motion(moving)
                picture = view._scene.picture()
                picture.save(str(options.picture / f"{place} {name}.png"))
            view._scene.set_motion(False)
        view.reset_view()
        wait(app, lambda: view.ready and still(view))
    time_changes(app, view, count)
    start = count // 2
    changed = np.argwhere(values == start)
    box = Box(tuple(map(int, changed.min(axis=0))), tuple(map(int, changed.max(axis=0) + 1)))
    labels.values[box.slices][labels.values[box.slices] == start] = start + 1
    view.set_labels(labels, changed=[box])
    print(f"a mend is shown after {wait(app, lambda: view.ready and still(view)):.1f} s")
    view.stop()


if __name__ == "__main__":
    main()
