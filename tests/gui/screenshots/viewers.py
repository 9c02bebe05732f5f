"""Takes pictures of the viewers for people to look at: `python viewers.py FOLDER [TIFF_FOLDER]`.

Runs on any platform plug-in of Qt; 3D needs one with OpenGL (Xvfb on a machine without display).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

sys.path.insert(0, str(Path(__file__).parents[1]))

from viewer_samples import MemoryLabels, MemoryScan, packed_particles

from particleseg_app.gui import theme
from particleseg_app.gui.viewers import OrthosliceView

SIZES = ((1280, 800), (2560, 1440))


def settle(seconds: float = 0.8) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def hover(view: OrthosliceView, plane: str, x: float, y: float) -> None:
    """Move the mouse to a place of one slice, given as shares of its width and height."""
    viewport = view.view(plane).viewport()
    place = QPointF(viewport.width() * x, viewport.height() * y)
    event = QMouseEvent(
        QMouseEvent.Type.MouseMove,
        place,
        viewport.mapToGlobal(place),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(viewport, event)


def orthoslices(folder: Path, name: str, scan: MemoryScan, labels: MemoryLabels | None) -> None:
    for dark in (False, True):
        theme.apply_theme(QApplication.instance(), dark)  # type: ignore[arg-type]
        for size in SIZES:
            view = OrthosliceView()
            view.resize(*size)
            view.show()
            view.set_scan(scan, 10.0)
            view.set_labels(labels)
            settle()
            if labels is not None:
                z, y, x = scan.shape[0] // 2, scan.shape[1] // 2, scan.shape[2] // 2
                view.select_label(int(labels.values[z, y, x]) or 5)
            hover(view, "xy", 0.45, 0.55)
            settle(0.4)
            shade = "dark" if dark else "light"
            view.grab().save(str(folder / f"{name}_{size[0]}_{shade}.png"))
            if labels is not None and size == SIZES[0]:
                view.set_overlay_mode("contours")
                view.go_to(z, y + 6, x - 5, 20)
                settle(0.5)
                view.grab().save(str(folder / f"{name}_zoom_contours_{shade}.png"))
                view.set_overlay_mode("fill")
                settle(0.2)
                view.grab().save(str(folder / f"{name}_zoom_fill_{shade}.png"))
                QTest.mouseClick(
                    view._cells[next(iter(view._cells))].bar.size_button,
                    Qt.MouseButton.LeftButton,
                    pos=QPoint(5, 5),
                )
                settle(0.5)
                view.grab().save(str(folder / f"{name}_enlarged_{shade}.png"))
            view.stop()
            view.close()
            view.deleteLater()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    app = QApplication.instance() or QApplication([])
    grey, labels = packed_particles()
    orthoslices(folder, "synthetic", MemoryScan(grey), MemoryLabels(labels))
    if len(sys.argv) > 2:
        import tifffile

        files = sorted(Path(sys.argv[2]).glob("*.tif*"))
        stack = np.stack([tifffile.imread(file) for file in files])
        orthoslices(folder, "real", MemoryScan(stack), None)
    del app


if __name__ == "__main__":
    main()
