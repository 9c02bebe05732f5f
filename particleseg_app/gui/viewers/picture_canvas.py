"""A vispy canvas that draws into memory and is painted like any other widget.

Where the processor itself does the drawing, an OpenGL widget costs more than what it shows: Qt
then puts the whole window together with OpenGL for every frame, however small the widget is. Here
the scene is drawn into a frame buffer of any size, read back, and painted at the size of the
widget, so that a frame may have fewer dots than the screen while the scene moves.

The backend follows those of vispy 0.17, of which it uses the part that is without OpenGL.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import (
    QImage,
    QOffscreenSurface,
    QOpenGLContext,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QShowEvent,
    QSurfaceFormat,
)
from PySide6.QtOpenGL import QOpenGLFramebufferObject
from PySide6.QtWidgets import QWidget
from vispy.app import Application

_BGRA, _UNSIGNED_BYTE, _PACK_ALIGNMENT = 0x80E1, 0x1401, 0x0D05

_qt: Any = Application("pyside6").backend_module
_CanvasWithoutOpenGL: Any = _qt.QtBaseCanvasBackend


class PictureCanvas(_CanvasWithoutOpenGL, QWidget):
    """The widget of such a canvas; what was drawn last is `picture`."""

    def _init_specific(self, parameters: Any, _options: dict[str, Any]) -> None:
        QWidget.__init__(self, parameters.parent)
        parameters.context.shared.add_ref("qt", self)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setFocusPolicy(Qt.FocusPolicy.WheelFocus)
        wanted = QSurfaceFormat()
        wanted.setDepthBufferSize(24)
        self._context = QOpenGLContext()
        self._context.setFormat(wanted)
        self._surface = QOffscreenSurface()
        self._surface.setFormat(wanted)
        self._surface.create()
        if not self._context.create() or not self._context.makeCurrent(self._surface):
            raise RuntimeError("no OpenGL context could be made")
        read = ctypes.CFUNCTYPE(None, *[ctypes.c_int] * 4, *[ctypes.c_uint] * 2, ctypes.c_void_p)
        self._read_pixels = read(int(self._context.getProcAddress(b"glReadPixels")))
        self._buffer: QOpenGLFramebufferObject | None = None
        self._scale = 1.0
        self._shown = np.zeros((1, 1), np.uint32)  # what `picture` is made of
        self.picture = QImage()
        self._begun = False
        self._next_frame = QTimer(self, interval=0, singleShot=True)
        self._next_frame.timeout.connect(self.draw_frame)
        self._initialized = True

    # --- frames --------------------------------------------------------------------------------

    def set_scale(self, scale: float) -> None:
        """Draw `scale` dots for each dot of the screen from the next frame on, across and down."""
        self._scale = scale

    def draw_frame(self) -> None:
        """Draw the scene as it is now, and have the widget painted."""
        self._next_frame.stop()
        if self._vispy_canvas is None or self.width() < 1 or self.height() < 1:
            return
        self._take_size()
        self._vispy_canvas.set_current()
        if not self._begun:
            self._begun = True
            self._vispy_canvas.events.initialize()
        self._vispy_canvas.events.draw(region=None)
        self._read()
        self.update()

    def _read(self) -> None:
        assert self._buffer is not None
        width, height = self._physical_size
        dots = np.empty((height, width), np.uint32)
        self._read_pixels(0, 0, width, height, _BGRA, _UNSIGNED_BYTE, dots.ctypes.data)
        # OpenGL begins at the lower left.
        self._shown = np.ascontiguousarray(dots[::-1])
        self.picture = QImage(
            self._shown.data, width, height, 4 * width, QImage.Format.Format_RGB32
        )

    def _take_size(self) -> None:
        """Have a buffer of the right size, which also the screen's dots for a pixel decide."""
        ratio = self.devicePixelRatioF() * self._scale
        width, height = max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))
        if self._buffer is not None and (width, height) == self._physical_size:
            return
        self._vispy_set_physical_size(width, height)
        self._context.makeCurrent(self._surface)
        self._buffer = QOpenGLFramebufferObject(
            width, height, QOpenGLFramebufferObject.Attachment.CombinedDepthStencil
        )
        self._vispy_canvas.set_current()
        self._tell_size()

    def _tell_size(self) -> None:
        self._vispy_canvas.events.resize(
            size=(self.width(), self.height()), physical_size=self._physical_size
        )

    # --- Qt ------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if self._vispy_canvas is not None:
            # Where things are on it is asked for before the next frame, too.
            self._tell_size()
            self._vispy_update()

    def resizeGL(self, _width: int, _height: int) -> None:  # noqa: N802
        """Called when the window moves to another screen."""
        self._vispy_update()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        self._vispy_update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        if self.picture.isNull():
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
        else:
            smooth = QPainter.RenderHint.SmoothPixmapTransform
            painter.setRenderHint(smooth, self.picture.width() < self.width())
            painter.drawImage(self.rect(), self.picture)
        painter.end()

    # --- what vispy asks of a canvas -----------------------------------------------------------

    def _vispy_update(self) -> None:
        if self._vispy_canvas is not None and self.isVisible():
            self._next_frame.start()

    def _vispy_set_current(self) -> None:
        if self._vispy_canvas is not None:
            self._context.makeCurrent(self._surface)

    def _vispy_swap_buffers(self) -> None:
        pass  # there is one buffer, which is read

    def _vispy_get_fb_bind_location(self) -> int:
        return self._buffer.handle() if self._buffer is not None else 0

    def _vispy_close(self) -> None:
        self._next_frame.stop()
        self.close()
        self._context.makeCurrent(self._surface)
        self._buffer = None
        self._context.doneCurrent()


class PictureApplication(Application):
    """Give this to a vispy canvas as its `app` and its widget is a `PictureCanvas`."""

    def __init__(self) -> None:
        super().__init__("pyside6")

    @property
    def backend_module(self) -> Any:
        return SimpleNamespace(
            CanvasBackend=PictureCanvas,
            ApplicationBackend=_qt.ApplicationBackend,
            TimerBackend=_qt.TimerBackend,
            capability=_qt.capability,
        )
