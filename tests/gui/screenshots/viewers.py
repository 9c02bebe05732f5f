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
from PySide6.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

sys.path.insert(0, str(Path(__file__).parents[1]))

from viewer_samples import MemoryLabels, MemoryScan, packed_particles

from particleseg_app.gui import theme
from particleseg_app.gui.viewers import (
    HistogramWindow,
    Measurement,
    MeasuringPanel,
    MeasuringTool,
    OrthosliceView,
    Particles3DView,
)

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
            view.setFocus()
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


def measuring(folder: Path, scan: MemoryScan) -> None:
    """The histogram and the measuring tool beside the slices, as the wizard has them."""
    for dark in (False, True):
        theme.apply_theme(QApplication.instance(), dark)  # type: ignore[arg-type]
        page = QWidget()
        view = OrthosliceView()
        histogram = HistogramWindow()
        histogram.window_changed.connect(view.set_window)
        tool = MeasuringTool(view)
        side = QVBoxLayout()
        side.addWidget(histogram)
        side.addWidget(MeasuringPanel(tool), 1)
        layout = QHBoxLayout(page)
        layout.addWidget(view, 1)
        layout.addLayout(side)
        page.resize(1280, 800)
        page.show()
        view.set_scan(scan, 10.0)
        histogram.set_statistics(scan.statistics)
        settle()
        z, y, x = view.position
        tool.set_kind("line")
        tool.add(Measurement("line", 0, z, (z, y - 10, x - 28), (z, y + 2, x - 12)))
        tool.add(Measurement("line", 2, x, (z - 30, y + 8, x), (z - 12, y + 8, x)))
        tool.set_kind("circle")
        tool.add(Measurement("circle", 0, z, (z, y + 30, x - 40), (z, y + 30, x - 20)))
        settle(0.4)
        page.grab().save(str(folder / f"measuring_{'dark' if dark else 'light'}.png"))
        view.stop()
        page.close()
        page.deleteLater()


def in_3d(folder: Path, scan: MemoryScan, labels: MemoryLabels) -> None:
    for dark in (False, True):
        theme.apply_theme(QApplication.instance(), dark)  # type: ignore[arg-type]
        for size in SIZES:
            view = OrthosliceView()
            scene = Particles3DView()
            view.set_fourth_widget(scene)
            view.resize(*size)
            view.show()
            view.set_scan(scan, 10.0)
            view.set_labels(labels)
            scene.set_scan(scan, 10.0)
            scene.set_labels(labels)
            for mode in ("particles", "both", "scan"):
                scene.set_mode(mode)
                settle(0.3)
                while scene.available and not scene.ready:
                    settle(0.1)
                settle(0.6)
                shade = "dark" if dark else "light"
                view.grab().save(str(folder / f"3d_{mode}_{size[0]}_{shade}.png"))
            scene.set_mode("particles")
            scene.select_label(int(labels.values[labels.shape[0] // 2].max()))
            settle(0.4)
            view.grab().save(str(folder / f"3d_selected_{size[0]}_{shade}.png"))
            scene.stop()
            view.stop()
            view.close()
            view.deleteLater()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    app = QApplication.instance() or QApplication([])
    grey, labels = packed_particles()
    in_3d(folder, MemoryScan(grey), MemoryLabels(labels))
    measuring(folder, MemoryScan(grey))
    orthoslices(folder, "synthetic", MemoryScan(grey), MemoryLabels(labels))
    if len(sys.argv) > 2:
        import tifffile

        files = sorted(Path(sys.argv[2]).glob("*.tif*"))
        stack = np.stack([tifffile.imread(file) for file in files])
        orthoslices(folder, "real", MemoryScan(stack), None)
    del app


if __name__ == "__main__":
    main()
