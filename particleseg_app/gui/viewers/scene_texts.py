"""What is written over the 3D scene: the sizes of the box, a remark, a ring round a particle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QLabel, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.slice_geometry import AXIS_NAMES
from particleseg_app.units import Shape, format_micrometres

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

FAR_OUTSIDE = 60  # pixels
SMALLEST_RING, LARGEST_RINGED = 11.0, 26.0  # radii in pixels


class SceneTexts:
    """Small widgets that lie over the scene inside `holder` and let the mouse through."""

    def __init__(self, holder: QWidget) -> None:
        self._holder = holder
        self._remark = QLabel(holder)
        self._sizes_shown = False
        self._sizes = [QLabel(holder) for _ in range(3)]  # of the axes x, y, z
        self._ring = _Ring(holder)
        for widget in (self._remark, self._ring, *self._sizes):
            widget.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            widget.hide()

    def raise_all(self) -> None:
        """Lie above a scene that was put in later."""
        for widget in (self._remark, self._ring, *self._sizes):
            widget.raise_()

    def take_colours(self) -> None:
        colours = theme.current()
        self._remark.setStyleSheet(f"color: {colours.canvas_muted}; background: transparent;")
        for axis, label in enumerate(self._sizes):
            label.setStyleSheet(
                f"color: {colours.axes[2 - axis]}; font-size: 9pt; padding: 0 3px;"
                # A size may come to lie over particles in a narrow view.
                " background: rgba(18, 21, 24, 165); border-radius: 3px;"
            )

    def say(self, text: str) -> None:
        """Show a remark at the lower left, or none."""
        self._remark.setText(text)
        self._remark.setVisible(bool(text))
        self.place_remark()

    def place_remark(self) -> None:
        self._remark.adjustSize()
        self._remark.move(theme.SPACING, self._holder.height() - self._remark.height() - 8)

    def hide_sizes(self) -> None:
        self._sizes_shown = False
        for widget in (self._ring, *self._sizes):
            widget.hide()

    def _show_sizes(self) -> None:
        """Show the sizes after the frame that may be drawn just now: showing draws another one."""
        self._sizes_shown = True
        for label in self._sizes:
            if label.isHidden():
                QTimer.singleShot(0, label, lambda label=label: label.setVisible(self._sizes_shown))

    def place(self, scene: SceneCanvas, shape: Shape, voxel_size_um: float | None) -> None:
        """Follow the scene, which shows a volume of `shape` (z, y, x)."""
        # Where the others do not step back, a large particle has to be found, too.
        largest = min(self._holder.width(), self._holder.height()) / 2
        tells = scene.particles.look.tells
        self._ring.surround(scene.selected_circle(), largest if tells else LARGEST_RINGED)
        ends = np.array(shape[::-1], float)
        centre = scene.camera.project(ends[None] / 2)[0]
        for axis, label in enumerate(self._sizes):
            length = _length_text(ends[axis], voxel_size_um)
            label.setText(f"{AXIS_NAMES[2 - axis]}  {length}")
            label.adjustSize()
            pixels = scene.camera.project(_edge_middles(ends, axis))
            away = pixels - centre
            distance = np.hypot(away[:, 0], away[:, 1])
            farthest = int(np.argmax(distance))  # there the text hides nothing
            outward = away[farthest] / max(float(distance[farthest]), 1e-6)
            gap = 6 + 0.5 * label.width() * abs(float(outward[0])) + 8 * abs(float(outward[1]))
            column, row = pixels[farthest] + outward * gap
            if _outside(column, self._holder.width()) or _outside(row, self._holder.height()):
                # Its edge is far from what one looks at. Hiding it would draw the scene anew.
                label.move(-label.width(), -label.height())
                continue
            left = _within(column - label.width() / 2, self._holder.width() - label.width())
            top = _within(row - label.height() / 2, self._holder.height() - label.height())
            label.move(left, top)
        self._show_sizes()


class _Ring(QWidget):
    """A ring round a highlighted particle that would not be found at a glance."""

    def surround(self, circle: tuple[float, float, float] | None, largest: float) -> None:
        """Go round a circle (x, y, radius) in pixels; hide for None and above a `largest` one."""
        if circle is None or circle[2] > largest:
            self.hide()
            return
        x, y, radius = circle
        size = 2 * round(max(radius + 5, SMALLEST_RING)) + 3
        self.setGeometry(round(x - size / 2), round(y - size / 2), size, size)
        self.show()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(2, 2, -2, -2)
        for colour, width in ((QColor(0, 0, 0, 150), 3.6), (QColor("white"), 1.6)):
            painter.setPen(QPen(colour, width))
            painter.drawEllipse(area)
        painter.end()


def _edge_middles(ends: np.ndarray, axis: int) -> np.ndarray:
    """Middles (4, 3) of the edges along `axis` of a box from the origin to `ends`."""
    middles = np.tile(ends / 2, (4, 1))
    first, second = (a for a in range(3) if a != axis)
    middles[:, first] = ends[first] * np.array([0, 0, 1, 1])
    middles[:, second] = ends[second] * np.array([0, 1, 0, 1])
    return middles


def _within(place: float, room: int) -> int:
    return round(min(max(2.0, float(place)), max(2, room - 2)))


def _outside(place: float, room: int) -> bool:
    return not -FAR_OUTSIDE < float(place) < room + FAR_OUTSIDE


def _length_text(voxels: float, voxel_size_um: float | None) -> str:
    if voxel_size_um is None:
        return f"{voxels:.0f} voxels"
    return format_micrometres(voxels * voxel_size_um)
