"""Has slice views show the slices they are at: asks for pictures, and says what keeps them away."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject, QTimer

from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.slice_canvas import SliceCanvas
from particleseg_app.gui.viewers.slice_geometry import Plane
from particleseg_app.gui.viewers.slice_loader import SliceLoader
from particleseg_app.gui.viewers.slice_picture import SlicePicture
from particleseg_app.gui.viewers.slice_reader import ScanLike, SliceVolume

PATIENCE_MS = 350  # a slice that takes longer is announced


class SliceFeed(QObject):
    """Set how the slices are to look (`window`, `selected`, `look`), then `ask` for them.

    `window`: grey values shown black and white. `selected`: the particle outlined, 0 for none.
    """

    def __init__(self, views: Mapping[Plane, SliceCanvas], parent: QObject) -> None:
        super().__init__(parent)
        self.window = (0.0, 255.0)
        self.selected = 0
        self.look = LabelLook.plain()
        self.loader = SliceLoader(self)
        self.loader.loaded.connect(self._show_picture)
        self.loader.failed.connect(self._show_failure)
        self._views = views
        self._has_scan = False
        self._waiting = QTimer(self, interval=PATIENCE_MS, singleShot=True)
        self._waiting.timeout.connect(self._announce_waiting)

    def set_volumes(self, scan: ScanLike | None, labels: SliceVolume | None) -> None:
        """Read slices from these from now on; without a scan, none."""
        self._has_scan = scan is not None
        self.loader.set_volumes(scan, labels)
        if scan is None:
            self._waiting.stop()

    def ask(self, plane: Plane) -> None:
        """Read the slice that one view is at, if the view is seen."""
        view = self._views[plane]
        if not self._has_scan or not view.isVisible():
            return
        self.loader.request(view.request(self.window, self.selected, self.look))
        if not self._waiting.isActive():
            self._waiting.start()

    def ask_all(self) -> None:
        for plane in self._views:
            self.ask(plane)

    def _show_picture(self, picture: SlicePicture) -> None:
        if not self._has_scan:
            return
        view = self._view(picture.axis)
        view.show_picture(picture)
        if _is_current(view):
            if not view.picture_is_enough():
                self.ask(view.plane)
            if all(_is_current(view) or not view.isVisible() for view in self._views.values()):
                self._waiting.stop()

    def _show_failure(self, axis: int, index: int, reason: str) -> None:
        view = self._view(axis)
        view.show_picture(None)
        view.remark = (
            f"Slice {index + 1} could not be read from the disk. Please check the drive "
            f"that holds the project, then scroll on and back."
        )
        view.setToolTip(reason)
        view.viewport().update()

    def _announce_waiting(self) -> None:
        for view in self._views.values():
            if view.isVisible() and view.picture is None and not view.remark:
                view.remark = "Reading …"
                view.viewport().update()

    def _view(self, axis: int) -> SliceCanvas:
        return next(view for plane, view in self._views.items() if plane.axis == axis)


def _is_current(view: SliceCanvas) -> bool:
    """Whether it shows the slice that it is at."""
    return view.picture is not None and view.picture.index == view.position[view.plane.axis]
