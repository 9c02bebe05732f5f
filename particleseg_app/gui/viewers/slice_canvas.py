"""One slice of a scan on the screen: its picture, what lies over it, and where voxels are."""

from __future__ import annotations

import math
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QPainter,
    QPen,
    QResizeEvent,
    QShowEvent,
    QTransform,
)
from PySide6.QtWidgets import QGraphicsView, QStyleOptionGraphicsItem, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers import canvas_painting
from particleseg_app.gui.viewers.label_colours import overlay_table
from particleseg_app.gui.viewers.label_look import LabelColouring, LabelLook
from particleseg_app.gui.viewers.slice_geometry import Plane, Point, SliceCamera
from particleseg_app.gui.viewers.slice_picture import Region, SlicePicture, SliceRequest

MARGIN_READ = 0.3  # part of the view that is made ready beyond each of its sides


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


class SliceCanvas(pg.GraphicsView):
    """Shows the slice of one plane. `picture_wanted` when it shows less than there is room for."""

    picture_wanted = Signal()

    def __init__(self, plane: Plane, camera: SliceCamera, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.plane = plane
        self.camera = camera
        self.voxel_size_um: float | None = None
        self.position: tuple[int, int, int] = (0, 0, 0)
        self.picture: SlicePicture | None = None
        self.remark = ""
        self._overlay_look = (0.45, False)
        self._table_of: tuple[float, bool, LabelColouring] | None = None
        self._grey = _Picture(axisOrder="row-major")
        self._overlay = _Picture(axisOrder="row-major")
        for depth, item in enumerate((self._grey, self._overlay)):
            item.setZValue(depth)
            item.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
            self.scene().addItem(item)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.NoAnchor)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
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

    def nearest_voxel(self, pixel: QPointF) -> tuple[int, int, int]:
        """Voxel (z, y, x) of the scan that is nearest to a place on the screen."""
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
            z, y, x = self.position
            at = self.pixel_at((z + 0.5, y + 0.5, x + 0.5))
            canvas_painting.draw_cross(painter, size, at, self.plane)
            self.paint_tool(painter)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            canvas_painting.draw_axes(painter, self.plane)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            canvas_painting.draw_scale_bar(painter, size, self.camera.zoom, self.voxel_size_um)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour(theme.current().accent, 0.9), 1))
            painter.drawRect(QRectF(0.5, 0.5, size[0] - 1, size[1] - 1))
        painter.restore()

    def paint_tool(self, painter: QPainter) -> None:
        """Draw, in pixels of the screen, what lies over the picture; nothing here."""

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusOutEvent(event)
        self.viewport().update()
