"""What the colours of the particles stand for: a small scale with both ends, or named colours."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.label_look import ColourKey, ColourScale, colour_scale

WIDTH, BAR, PADDING = 148, 8, 8
SWATCH, GAP = 10, 7
WIDEST_NAME = 220


class ColourLegend(QWidget):
    """Lies over a dark canvas and lets the mouse through; hidden while there is no scale."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.scale: ColourScale | ColourKey | None = None
        self.hide()

    def set_scale(self, scale: ColourScale | ColourKey | None) -> None:
        self.scale = scale
        if isinstance(scale, ColourScale):
            self._fit_scale(scale)
        elif scale is not None:
            self._fit_key(scale)
        self.update()
        self.setVisible(scale is not None)

    def title(self) -> str:
        assert self.scale is not None
        unit = self.scale.unit if isinstance(self.scale, ColourScale) else ""
        return f"{self.scale.title} ({unit})" if unit else self.scale.title

    def place(self) -> None:
        """Go to the upper left of what it lies over, where a scene in 3D has least to show."""
        self.move(8, 8)

    def _fit_scale(self, scale: ColourScale) -> None:
        metrics = QFontMetricsF(self._font())
        title = metrics.horizontalAdvance(self.title())
        ends = sum(metrics.horizontalAdvance(text) for text in scale.end_texts()) + 16
        width = max(WIDTH, round(max(title, ends)) + 2) + 2 * PADDING
        self.setFixedSize(width, round(2 * metrics.height()) + BAR + 2 * PADDING + 4)
        low, high = scale.end_texts()
        self.setAccessibleName(f"{self.title()}: {low} to {high}")

    def _fit_key(self, key: ColourKey) -> None:
        metrics = QFontMetricsF(self._font())
        names = [metrics.horizontalAdvance(name) for name in self._names(key)]
        width = max(metrics.horizontalAdvance(key.title), SWATCH + GAP + max(names, default=0.0))
        lines = 1 + len(names)
        height = lines * metrics.height() + (lines - 1) * 2
        self.setFixedSize(round(width) + 2 + 2 * PADDING, round(height) + 2 * PADDING)
        self.setAccessibleName(f"{key.title}: {', '.join(name for name, _ in key.entries)}")

    def _names(self, key: ColourKey) -> list[str]:
        metrics = QFontMetricsF(self._font())
        elide = Qt.TextElideMode.ElideRight
        return [metrics.elidedText(name, elide, WIDEST_NAME) for name, _ in key.entries]

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
        if isinstance(self.scale, ColourScale):
            self._paint_scale(painter, self.scale, inside.adjusted(0, line + 2, 0, 0), line)
        else:
            self._paint_key(painter, self.scale, inside.adjusted(0, line + 2, 0, 0), line)
        painter.end()

    def _paint_scale(self, painter: QPainter, scale: ColourScale, place: QRectF, line: int) -> None:
        bar = QRectF(place.left(), place.top(), place.width(), BAR)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        shown = colour_scale()
        for share in np.linspace(0, 1, 12):
            red, green, blue = shown[round(share * (len(shown) - 1))].tolist()
            gradient.setColorAt(float(share), QColor(red, green, blue))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRoundedRect(bar, 2, 2)
        painter.setPen(QColor(theme.current().canvas_muted))
        low, high = scale.end_texts()
        below = QRectF(place.left(), bar.bottom() + 2, place.width(), line)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, high)

    def _paint_key(self, painter: QPainter, key: ColourKey, place: QRectF, line: int) -> None:
        top = place.top()
        for name, (_, colour) in zip(self._names(key), key.entries, strict=True):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(*colour))
            swatch = QRectF(place.left(), top + (line - SWATCH) / 2, SWATCH, SWATCH)
            painter.drawRoundedRect(swatch, 2, 2)
            painter.setPen(QColor(theme.current().canvas_text))
            text = QRectF(swatch.right() + GAP, top, place.width(), line)
            painter.drawText(text, Qt.AlignmentFlag.AlignLeft, name)
            top += line + 2
