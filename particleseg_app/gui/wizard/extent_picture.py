"""A drawing of the whole scan as a box with its edges in µm, to check the voxel size by."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from particleseg_app.gui import theme
from particleseg_app.units import Shape, format_micrometres

# Directions of the axes on the screen, as seen from the front, above and right.
X_WAY = (math.cos(math.radians(12)), math.sin(math.radians(12)))
Y_WAY = (math.cos(math.radians(38)), -math.sin(math.radians(38)))
SHORTEN_Y = 0.6
MARGIN = 46
LARGEST = 320.0


class ExtentPicture(QWidget):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._shape = shape
        self._voxel_size_um: float | None = None
        self.setMinimumHeight(140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Drawing of the scan with its size")
        theme.notifier.changed.connect(self.update)

    def set_voxel_size(self, voxel_size_um: float | None) -> None:
        self._voxel_size_um = voxel_size_um
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        z, y, x = self._shape
        right = QPointF(*X_WAY) * x
        back = QPointF(*Y_WAY) * (y * SHORTEN_Y)
        up = QPointF(0, -z)
        width = right.x() + back.x()
        height = z + right.y() - back.y()
        room_x, room_y = self.width() - 2 * MARGIN - 60, self.height() - 2 * MARGIN
        scale = min(room_x / width, room_y / height, LARGEST / max(width, height))
        if scale <= 0:
            painter.end()
            return
        right, back, up = right * scale, back * scale, up * scale
        total_x, total_y = width * scale, height * scale
        corner = QPointF(
            (self.width() - total_x) / 2, (self.height() - total_y) / 2 - up.y() - back.y()
        )
        known = self._voxel_size_um is not None
        front = theme.colour(colours.accent if known else colours.muted)
        painter.setPen(QPen(front, 1.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        for sides, shade in (
            ((QPointF(0, 0), right, right + up, up), 0.20),
            ((up, up + right, up + right + back, up + back), 0.10),
            ((right, right + back, right + back + up, right + up), 0.30),
        ):
            painter.setBrush(theme.colour(colours.accent if known else colours.muted, shade))
            painter.drawPolygon(QPolygonF([corner + side for side in sides]))
        painter.setPen(theme.colour(colours.text if known else colours.muted))
        self._write(painter, corner + right / 2 + QPointF(0, 18), self._text(x))
        deep = corner + right + back / 2 + QPointF(12, 14)
        self._write(painter, deep, self._text(y), Qt.AlignmentFlag.AlignLeft)
        high = corner + up / 2 + QPointF(-10, 0)
        self._write(painter, high, self._text(z), Qt.AlignmentFlag.AlignRight)
        painter.end()

    def _text(self, count: int) -> str:
        if self._voxel_size_um is None:
            return f"{count} voxels"
        return format_micrometres(count * self._voxel_size_um)

    def _write(
        self,
        painter: QPainter,
        at: QPointF,
        text: str,
        side: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignHCenter,
    ) -> None:
        width = 160
        left = {
            Qt.AlignmentFlag.AlignHCenter: at.x() - width / 2,
            Qt.AlignmentFlag.AlignLeft: at.x(),
            Qt.AlignmentFlag.AlignRight: at.x() - width,
        }[side]
        box = QRectF(left, at.y() - 12, width, 24)
        painter.drawText(box, side | Qt.AlignmentFlag.AlignVCenter, text)
