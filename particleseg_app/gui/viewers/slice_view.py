"""A slice of a scan that listens to mouse and keys, and lends them to a tool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QEnterEvent, QKeyEvent, QMouseEvent, QPainter, QWheelEvent
from PySide6.QtWidgets import QWidget

from particleseg_app.gui.viewers.slice_canvas import SliceCanvas
from particleseg_app.gui.viewers.slice_geometry import Plane, Point, SliceCamera
from particleseg_app.gui.viewers.slice_picture import SlicePicture

CLICK_PIXELS = 4
WHEEL_STEP = 120
ZOOM_STEP = 1.2
FAST_STEPS = 10


class SliceTool(Protocol):
    """Takes the left button of a slice view while it is active, and draws over every view."""

    @property
    def active(self) -> bool: ...
    def pressed(self, view: SliceView, at: Point) -> None: ...
    def moved(self, view: SliceView, at: Point) -> None: ...
    def released(self, view: SliceView, at: Point, dragged: bool) -> None: ...
    def cancelled(self) -> bool: ...
    def deleted(self) -> bool: ...
    def paint(self, view: SliceView, painter: QPainter) -> None: ...


class SliceView(SliceCanvas):
    """A slice that says what the user wants with mouse and keys; it does only what it is told."""

    cross_moved = Signal(int, int, int)  # z, y, x
    scrolled = Signal(int, int)  # axis, slices
    clicked = Signal(int, int, int)  # z, y, x
    pointed = Signal(object)  # (z, y, x) under the mouse, or None
    centre_wanted = Signal(int, int, int)
    fit_wanted = Signal()

    def __init__(self, plane: Plane, camera: SliceCamera, parent: QWidget | None = None) -> None:
        super().__init__(plane, camera, parent)
        self.tool: SliceTool | None = None
        self._mouse: QPointF | None = None
        self._pressed_at: QPointF | None = None
        self._button = Qt.MouseButton.NoButton
        self._dragged = False
        self._wheel = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)

    def show_picture(self, picture: SlicePicture | None) -> None:
        super().show_picture(picture)
        self._tell_pointed_again()

    def paint_tool(self, painter: QPainter) -> None:
        if self.tool is not None:
            painter.save()
            self.tool.paint(self, painter)
            painter.restore()

    def _camera_changed(self) -> None:
        super()._camera_changed()
        self._tell_pointed_again()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if self.picture is None or self._button != Qt.MouseButton.NoButton:
            return
        self._button = event.button()
        self._pressed_at = self._mouse = event.position()
        self._dragged = False
        if self._button == Qt.MouseButton.LeftButton:
            if self._tool_active():
                self._tool(lambda tool: tool.pressed(self, self.point_at(event.position())))
            else:
                self.cross_moved.emit(*self.nearest_voxel(event.position()))
        elif self._button in (Qt.MouseButton.MiddleButton, Qt.MouseButton.RightButton):
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        before, self._mouse = self._mouse, event.position()
        if self._pressed_at is not None:
            away = event.position() - self._pressed_at
            self._dragged |= max(abs(away.x()), abs(away.y())) > CLICK_PIXELS
        if self._button == Qt.MouseButton.LeftButton:
            if self._tool_active():
                self._tool(lambda tool: tool.moved(self, self.point_at(event.position())))
            else:
                self.cross_moved.emit(*self.nearest_voxel(event.position()))
        elif self._button != Qt.MouseButton.NoButton and before is not None:
            moved = (before - event.position()) / self.camera.zoom
            self.camera.move(self.plane.row_axis, moved.y(), self.plane.column_axis, moved.x())
        elif self._tool_active():
            self._tool(lambda tool: tool.moved(self, self.point_at(event.position())))
        self._tell_pointed(event.position())
        event.accept()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() != self._button:
            return
        self._button = Qt.MouseButton.NoButton
        self._pressed_at = None
        self.setCursor(Qt.CursorShape.CrossCursor)
        if event.button() == Qt.MouseButton.LeftButton:
            at = event.position()
            if self._tool_active():
                self._tool(lambda tool: tool.released(self, self.point_at(at), self._dragged))
            elif not self._dragged:
                voxel = self.voxel_at(at)
                if voxel is not None:
                    self.clicked.emit(*voxel)
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() == Qt.MouseButton.LeftButton and not self._tool_active():
            self.centre_wanted.emit(*self.nearest_voxel(event.position()))
            event.accept()
        else:
            self.mousePressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        self._mouse = None
        self.pointed.emit(None)

    def enterEvent(self, event: QEnterEvent) -> None:  # noqa: N802
        self._mouse = event.position()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        event.accept()
        delta = event.angleDelta()
        turned = delta.y() or delta.x()  # Alt or Shift turn the wheel sideways on some systems
        if self.picture is None or not turned:
            return
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            factor = ZOOM_STEP ** (turned / WHEEL_STEP)
            self.camera.zoom_about(factor, self.point_at(event.position()))
            return
        self._wheel += turned
        steps = abs(self._wheel) // WHEEL_STEP
        if steps:
            sign = 1 if self._wheel > 0 else -1
            self._wheel -= sign * steps * WHEEL_STEP
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                steps *= FAST_STEPS
            self.scrolled.emit(self.plane.axis, -sign * steps)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        many = FAST_STEPS if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        key = event.key()
        moves = {
            Qt.Key.Key_Left: (self.plane.column_axis, -many),
            Qt.Key.Key_Right: (self.plane.column_axis, many),
            Qt.Key.Key_Up: (self.plane.row_axis, -many),
            Qt.Key.Key_Down: (self.plane.row_axis, many),
            Qt.Key.Key_PageUp: (self.plane.axis, -many),
            Qt.Key.Key_PageDown: (self.plane.axis, many),
        }
        if key in moves:
            self.scrolled.emit(*moves[Qt.Key(key)])
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            z, y, x = self.position
            factor = 1 / ZOOM_STEP if key == Qt.Key.Key_Minus else ZOOM_STEP
            self.camera.zoom_about(factor, (z + 0.5, y + 0.5, x + 0.5))
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_0):
            self.fit_wanted.emit()
        elif key in (Qt.Key.Key_Escape, Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            event.setAccepted(self._key_for_tool(key == Qt.Key.Key_Escape))
            return
        else:
            event.ignore()  # so that the window's own shortcuts and the wizard's keys still work
            return
        event.accept()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        event.ignore()

    def _tell_pointed(self, pixel: QPointF) -> None:
        self.pointed.emit(self.voxel_at(pixel))

    def _tell_pointed_again(self) -> None:
        """Something else came to lie under the mouse."""
        if self._mouse is not None:
            self._tell_pointed(self._mouse)

    def _tool_active(self) -> bool:
        return self.tool is not None and self.tool.active

    def _key_for_tool(self, escape: bool) -> bool:
        if self.tool is None or not self.tool.active:
            return False
        return self.tool.cancelled() if escape else self.tool.deleted()

    def _tool(self, act: Callable[[SliceTool], None]) -> None:
        assert self.tool is not None
        act(self.tool)
        self.viewport().update()
