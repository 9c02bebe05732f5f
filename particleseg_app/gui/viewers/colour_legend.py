"""What the colours of the particles stand for: a small scale with its title and both ends."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.label_look import ColourScale, colour_scale

WIDTH, BAR, PADDING = 148, 8, 8


class ColourLegend(QWidget):
    """Lies over a dark canvas and lets the mouse through; hidden while there is no scale."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.scale: ColourScale | None = None
        self.hide()

    def set_scale(self, scale: ColourScale | None) -> None:
        self.scale = scale
        if scale is not None:
            metrics = QFontMetricsF(self._font())
            title = metrics.horizontalAdvance(self.title())
            ends = sum(metrics.horizontalAdvance(text) for text in scale.end_texts()) + 16
            width = max(WIDTH, round(max(title, ends)) + 2) + 2 * PADDING
            self.setFixedSize(width, round(2 * metrics.height()) + BAR + 2 * PADDING + 4)
            low, high = scale.end_texts()
            self.setAccessibleName(f"{self.title()}: {low} to {high}")
            self.update()
        self.setVisible(scale is not None)

    def title(self) -> str:
        assert self.scale is not None
        return f"{self.scale.title} ({self.scale.unit})" if self.scale.unit else self.scale.title

    def place(self) -> None:
        """Go to the upper left of what it lies over, where a scene in 3D has least to show."""
        self.move(8, 8)

    def _font(self) -> QFont:
        font = self.font()
        font.setPointSizeF(9)
        return font

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        if self.scale is None:
            return
        colours = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        shade = QColor(colours.canvas)
        shade.setAlphaF(0.82)
        painter.setBrush(shade)
        painter.drawRoundedRect(QRectF(self.rect()), 5, 5)
        painter.setFont(self._font())
        line = painter.fontMetrics().height()
        inside = QRectF(self.rect()).adjusted(PADDING, PADDING, -PADDING, -PADDING)
        painter.setPen(QColor(colours.canvas_text))
        painter.drawText(
            QRectF(inside.left(), inside.top(), inside.width(), line),
            Qt.AlignmentFlag.AlignLeft,
            self.title(),
        )
        bar = QRectF(inside.left(), inside.top() + line + 2, inside.width(), BAR)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        shown = colour_scale()
        for place in np.linspace(0, 1, 12):
            red, green, blue = shown[round(place * (len(shown) - 1))].tolist()
            gradient.setColorAt(float(place), QColor(red, green, blue))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRoundedRect(bar, 2, 2)
        painter.setPen(QColor(colours.canvas_muted))
        low, high = self.scale.end_texts()
        below = QRectF(inside.left(), bar.bottom() + 2, inside.width(), line)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, high)
        painter.end()
