"""One slice of a scan on the screen: picture, overlay, cross-hair, mouse and keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QEnterEvent,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
    QResizeEvent,
    QShowEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QGraphicsView, QStyleOptionGraphicsItem, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers import canvas_painting
from particleseg_app.gui.viewers.label_colours import overlay_table
from particleseg_app.gui.viewers.label_look import LabelColouring, LabelLook
from particleseg_app.gui.viewers.slice_geometry import Plane, SliceCamera
from particleseg_app.gui.viewers.slice_picture import Region, SlicePicture, SliceRequest

CLICK_PIXELS = 4
WHEEL_STEP = 120
ZOOM_STEP = 1.2
FAST_STEPS = 10
MARGIN_READ = 0.3  # part of the view that is made ready beyond each of its sides

Point = tuple[float, float, float]


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


class _Picture(pg.ImageItem):
    """An image whose voxels stay sharp squares when enlarged and are averaged when reduced."""

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionGraphicsItem,
        widget: QWidget | None = None,
    ) -> None:
        scale = painter.deviceTransform().m11()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < 0.999)
        super().paint(painter, option, widget)


class SliceView(pg.GraphicsView):
    """Shows the slice of one plane; says what the user wants and does what it is told."""

    cross_moved = Signal(int, int, int)  # z, y, x
    scrolled = Signal(int, int)  # axis, slices
    clicked = Signal(int, int, int)  # z, y, x
    pointed = Signal(object)  # (z, y, x) under the mouse, or None
    centre_wanted = Signal(int, int, int)
    fit_wanted = Signal()
    picture_wanted = Signal()

    def __init__(self, plane: Plane, camera: SliceCamera, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.plane = plane
        self.camera = camera
        self.voxel_size_um: float | None = None
        self.position: tuple[int, int, int] = (0, 0, 0)
        self.picture: SlicePicture | None = None
        self.tool: SliceTool | None = None
        self.remark = ""
        self.cross_visible = True
        self._overlay_look = (0.45, False)
        self._table_of: tuple[float, bool, LabelColouring] | None = None
        self._mouse: QPointF | None = None
        self._pressed_at: QPointF | None = None
        self._button = Qt.MouseButton.NoButton
        self._dragged = False
        self._wheel = 0
        self._grey = _Picture(axisOrder="row-major")
        self._overlay = _Picture(axisOrder="row-major")
        for depth, item in enumerate((self._grey, self._overlay)):
            item.setZValue(depth)
            item.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
            self.scene().addItem(item)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setMinimumSize(120, 90)
        self.setAccessibleName(f"{plane.name} slice")
        camera.changed.connect(self._camera_changed)

    # --- what is shown -------------------------------------------------------------------------

    def show_picture(self, picture: SlicePicture | None) -> None:
        """Show a picture of this plane, or nothing."""
        self.picture = picture
        self.remark = ""
        self._take_colours()
        if picture is None:
            self._grey.clear()
            self._overlay.clear()
        else:
            self._put(self._grey, picture.grey_picture, picture.grey_extent)
            if picture.overlay is None:
                self._overlay.clear()
            else:
                self._put(self._overlay, picture.overlay, picture.overlay_extent)
        self.viewport().update()
        if self._mouse is not None:
            self._tell_pointed(self._mouse)

    def _put(self, item: pg.ImageItem, image: Any, extent: tuple[int, int]) -> None:
        assert self.picture is not None
        top, _, left, _ = self.picture.region
        rows, columns = extent
        if self.plane.transposed:
            top, left, rows, columns = left, top, columns, rows
        item.setImage(image, autoLevels=False, levels=(0, 255))
        item.setRect(QRectF(left, top, columns, rows))

    def set_overlay_look(self, opacity: float, contours: bool) -> None:
        self._overlay_look = (round(opacity, 3), contours)
        self._take_colours()
        self.viewport().update()

    def _take_colours(self) -> None:
        """Colour the shown picture with the colours it was made for."""
        look = LabelLook.plain() if self.picture is None else self.picture.request.look
        wanted = (*self._overlay_look, look.colouring)
        if wanted != self._table_of:
            self._table_of = wanted
            self._overlay.setLookupTable(overlay_table(*self._overlay_look, look.colouring.colours))

    def set_position(self, position: tuple[int, int, int]) -> None:
        self.position = position
        self.viewport().update()

    def request(self, window: tuple[float, float], selected: int, look: LabelLook) -> SliceRequest:
        """What the loader is to make for what this view shows now."""
        pixel = 1 / (self.camera.zoom * self.devicePixelRatioF())  # voxels per screen dot
        return SliceRequest(
            axis=self.plane.axis,
            index=self.position[self.plane.axis],
            region=self._region(MARGIN_READ),
            grey_step=max(1, math.floor(pixel + 1e-6)),
            overlay_step=max(1, math.ceil(pixel - 0.25)),
            overlay_zoom=min(8, max(1, round(0.7 / pixel))),
            window=window,
            selected=selected,
            transposed=self.plane.transposed,
            look=look,
        )

    def picture_is_enough(self) -> bool:
        """Whether the shown picture covers what is visible, at the right resolution."""
        if self.picture is None:
            return False
        then = self.picture.request
        now = self.request(then.window, then.selected, then.look)
        same = (now.index, now.grey_step, now.overlay_step, now.overlay_zoom) == (
            then.index,
            then.grey_step,
            then.overlay_step,
            then.overlay_zoom,
        )
        top, bottom, left, right = self._region(0.0)
        have = self.picture.region
        covers = have[0] <= top and bottom <= have[1] and have[2] <= left and right <= have[3]
        return same and covers

    def _region(self, margin: float) -> Region:
        """The visible part in rows and columns of the raw slice."""
        shown = self.visible_rect()
        wide, high = shown.width() * margin, shown.height() * margin
        shape = self.camera.shape
        rows, columns = shape[self.plane.row_axis], shape[self.plane.column_axis]
        top = min(rows - 1, max(0, math.floor(shown.top() - high)))
        bottom = max(top + 1, min(rows, math.ceil(shown.bottom() + high)))
        left = min(columns - 1, max(0, math.floor(shown.left() - wide)))
        right = max(left + 1, min(columns, math.ceil(shown.right() + wide)))
        if self.plane.transposed:
            return left, right, top, bottom
        return top, bottom, left, right

    # --- geometry ------------------------------------------------------------------------------

    def visible_rect(self) -> QRectF:
        """What is visible, in voxels of this plane: columns to the right, rows down."""
        zoom = self.camera.zoom
        width, height = self.viewport().width() / zoom, self.viewport().height() / zoom
        column = self.camera.centre[self.plane.column_axis]
        row = self.camera.centre[self.plane.row_axis]
        return QRectF(column - width / 2, row - height / 2, width, height)

    def point_at(self, pixel: QPointF) -> Point:
        """Point (z, y, x) under a place on the screen; voxel i reaches from i to i + 1."""
        shown = self.visible_rect()
        point = [float(p) + 0.5 for p in self.position]
        point[self.plane.column_axis] = shown.left() + pixel.x() / self.camera.zoom
        point[self.plane.row_axis] = shown.top() + pixel.y() / self.camera.zoom
        return point[0], point[1], point[2]

    def pixel_at(self, point: Point) -> QPointF:
        """Place on the screen of a point (z, y, x) in voxels."""
        shown = self.visible_rect()
        return QPointF(
            (point[self.plane.column_axis] - shown.left()) * self.camera.zoom,
            (point[self.plane.row_axis] - shown.top()) * self.camera.zoom,
        )

    def voxel_at(self, pixel: QPointF) -> tuple[int, int, int] | None:
        """Voxel (z, y, x) under a place on the screen, or None outside the scan."""
        z, y, x = (math.floor(p) for p in self.point_at(pixel))
        inside = all(0 <= v < n for v, n in zip((z, y, x), self.camera.shape, strict=True))
        return (z, y, x) if inside and self.picture is not None else None

    def _nearest_voxel(self, pixel: QPointF) -> tuple[int, int, int]:
        z, y, x = (
            min(n - 1, max(0, math.floor(p)))
            for p, n in zip(self.point_at(pixel), self.camera.shape, strict=True)
        )
        return z, y, x

    def _camera_changed(self) -> None:
        shown = self.visible_rect()
        self.setSceneRect(shown)
        self.setTransform(QTransform.fromScale(self.camera.zoom, self.camera.zoom))
        self.viewport().update()
        if self._mouse is not None:
            self._tell_pointed(self._mouse)
        if self.isVisible() and not self.picture_is_enough():
            self.picture_wanted.emit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        if event is None:  # pyqtgraph calls this itself while it is being made
            return
        QGraphicsView.resizeEvent(self, event)
        self._camera_changed()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        self._camera_changed()

    # --- painting ------------------------------------------------------------------------------

    def drawBackground(self, painter: QPainter, rect: QRectF) -> None:  # noqa: N802
        painter.fillRect(rect, QColor(theme.current().canvas))

    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:  # noqa: N802
        painter.save()
        painter.resetTransform()
        size = (self.viewport().width(), self.viewport().height())
        if self.picture is None or self.remark:
            canvas_painting.draw_remark(painter, size, self.remark)
        if self.picture is not None:
            if self.cross_visible:
                z, y, x = self.position
                at = self.pixel_at((z + 0.5, y + 0.5, x + 0.5))
                canvas_painting.draw_cross(painter, size, at, self.plane)
            if self.tool is not None:
                painter.save()
                self.tool.paint(self, painter)
                painter.restore()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            canvas_painting.draw_axes(painter, self.plane)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            canvas_painting.draw_scale_bar(painter, size, self.camera.zoom, self.voxel_size_um)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour(theme.current().accent, 0.9), 1))
            painter.drawRect(QRectF(0.5, 0.5, size[0] - 1, size[1] - 1))
        painter.restore()

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusOutEvent(event)
        self.viewport().update()

    # --- mouse and keys ------------------------------------------------------------------------

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
                self.cross_moved.emit(*self._nearest_voxel(event.position()))
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
                self.cross_moved.emit(*self._nearest_voxel(event.position()))
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
            self.centre_wanted.emit(*self._nearest_voxel(event.position()))
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
