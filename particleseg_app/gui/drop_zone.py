"""Where a scan is dropped: the area on the start page, and the veil over an open project."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.style import button, label, row

ICON_SIZE = 52


def dropped_paths(mime: QMimeData) -> list[Path]:
    """Files and folders of a drag that lie on this computer."""
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]


def _paint_frame(widget: QWidget, active: bool, veil: float) -> None:
    colours = theme.current()
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    fill = QColor(colours.selection if active else colours.panel)
    fill.setAlphaF(veil)
    pen = QPen(QColor(colours.accent if active else colours.border), 2, Qt.PenStyle.CustomDashLine)
    pen.setDashPattern([4, 4])
    painter.setPen(pen)
    painter.setBrush(fill)
    painter.drawRoundedRect(QRectF(widget.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 14, 14)
    painter.end()


class DropZone(QWidget):
    """Shows where to drop and offers the same as buttons; the window itself takes the drop."""

    folder_wanted = Signal()
    file_wanted = Signal()
    project_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._active = False
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._title = label("Drop a scan here", "title")
        self._title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        hint = label("A folder of TIFF slices, or one TIFF file with all slices", "muted")
        hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.folder_button = button("Choose a folder…", self.folder_wanted.emit, primary=True)
        self.file_button = button("Choose a file…", self.file_wanted.emit)
        self.project_button = button("Open a project…", self.project_wanted.emit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(32, 28, 32, 28)
        layout.setSpacing(8)
        layout.addStretch(3)
        layout.addWidget(self._picture)
        layout.addSpacing(4)
        layout.addWidget(self._title)
        layout.addWidget(hint)
        layout.addSpacing(16)
        buttons = row(
            None, self.folder_button, self.file_button, self.project_button, None, spacing=10
        )
        layout.addLayout(buttons)
        layout.addStretch(3)
        self.setMinimumHeight(260)
        theme.notifier.changed.connect(self._draw_picture)
        self._draw_picture()

    def set_active(self, active: bool) -> None:
        """Light up while something is dragged over the window."""
        if active != self._active:
            self._active = active
            self._title.setText("Let go to open it" if active else "Drop a scan here")
            self.update()

    def _draw_picture(self) -> None:
        drawn = icon("scan", theme.current().accent)
        self._picture.setPixmap(drawn.pixmap(ICON_SIZE, ICON_SIZE))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        _paint_frame(self, self._active, 1.0)


class DropVeil(QWidget):
    """Covers an open project while something is dragged over it and says what dropping does."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._text = label("", "title")
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.addWidget(self._text)
        self.hide()

    def show_over(self, area: QWidget, text: str) -> None:
        self._text.setText(text)
        self.setGeometry(area.geometry().adjusted(12, 12, -12, -12))
        self.raise_()
        self.show()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        _paint_frame(self, True, 0.93)
