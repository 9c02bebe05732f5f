"""How smoothly the particles turn in 3D: `python tests/benchmarks/turning_3d.py [EDGE]`.

Shows EDGE³ labels (default 256) in the 3D view of a 900 × 700 window, turns it with the mouse for
a few seconds, and prints the frames a second that were really drawn, for particles, scan and
both. Needs a display; on a machine without one: xvfb-run -a -s "-screen 0 1600x1200x24".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "gui")]

import numpy as np  # noqa: E402
from PySide6.QtCore import QPointF, Qt  # noqa: E402
from PySide6.QtGui import QMouseEvent  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402
from viewer_samples import MemoryLabels, MemoryScan, packed_particles  # noqa: E402

from particleseg_app.gui.viewers import Particles3DView  # noqa: E402
from particleseg_app.gui.viewers.opengl import find_opengl  # noqa: E402

SECONDS = 4.0


def wait(app: QApplication, until, limit: float = 60.0) -> None:
    end = time.perf_counter() + limit
    while not until() and time.perf_counter() < end:
        app.processEvents()
        time.sleep(0.01)


def frames_per_second(app: QApplication, view: Particles3DView) -> float:
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
    started, step = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        step += 1
        place = middle + QPointF(120 * np.sin(step / 20), 60 * np.cos(step / 30))
        mouse(QMouseEvent.Type.MouseMove, place, none, left)
        app.processEvents()
    seconds = time.perf_counter() - started
    mouse(QMouseEvent.Type.MouseButtonRelease, middle, left, none)
    scene.events.draw.disconnect(count)
    return drawn / seconds


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    app = QApplication(sys.argv[:1])
    grey, labels = packed_particles(edge, 260 * (edge // 128) ** 3)
    view = Particles3DView()
    view.resize(900, 700)
    view.show()
    view.set_scan(MemoryScan(grey), 10.0)
    view.set_labels(MemoryLabels(labels))
    print(f"{edge}³ voxels, {int(labels.max())} particles, OpenGL: {find_opengl()}")
    print("frames a second while turning")
    for mode in ("particles", "scan", "both"):
        view.set_mode(mode)
        wait(app, lambda: view.ready)
        wait(app, lambda: False, 1.0)
        print(f"  {mode:10s} {frames_per_second(app, view):5.1f}")
    view.stop()


if __name__ == "__main__":
    main()
