"""Icons from `resources/icons`, drawn in the colour of the present theme."""

from __future__ import annotations

import os
from pathlib import Path

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QIconEngine, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer

_renderers: dict[tuple[str, str], QSvgRenderer] = {}


def resources_folder() -> Path:
    override = os.environ.get("PARTICLESEG_RESOURCES")
    return Path(override) if override else Path(__file__).parents[2] / "resources"


def _renderer(name: str, colour: QColor) -> QSvgRenderer:
    key = (name, colour.name())
    if key not in _renderers:
        path = resources_folder() / "icons" / f"{name}.svg"
        drawing = path.read_bytes().replace(b"#000", colour.name().encode())
        _renderers[key] = QSvgRenderer(QByteArray(drawing))
    return _renderers[key]


class _LineIconEngine(QIconEngine):
    """Draws the SVG when asked, so that a change of theme recolours every icon by itself."""

    def __init__(self, name: str, colour: QColor | None) -> None:
        super().__init__()
        self._name = name
        self._colour = colour

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        palette = QGuiApplication.palette()
        disabled = mode == QIcon.Mode.Disabled
        group = QPalette.ColorGroup.Disabled if disabled else QPalette.ColorGroup.Active
        colour = self._colour
        if colour is None or disabled:
            colour = palette.color(group, QPalette.ColorRole.WindowText)
        _renderer(self._name, colour).render(painter, QRectF(rect))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return _LineIconEngine(self._name, self._colour)


def icon(name: str, colour: QColor | str | None = None) -> QIcon:
    """A line icon by name; `colour` fixes its colour, else it follows the theme's text."""
    return QIcon(_LineIconEngine(name, QColor(colour) if colour is not None else None))


def application_icon() -> QIcon:
    return QIcon(str(resources_folder() / "icons" / "particleseg.svg"))
