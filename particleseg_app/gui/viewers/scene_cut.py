"""Cutting the particles of the 3D view open: the button, the bar with the slider, and the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QToolButton

from particleseg_app.gui.viewers.clip_bar import ClipBar
from particleseg_app.units import Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas


class SceneCut(QObject):
    """Joins `button` and `bar` with the scene, once there is one.

    `volume` gives the shape (z, y, x) of what is shown, None for nothing, and its voxel size.
    Signals: `toggled` when the cut is opened or closed, `moved` when another part is cut away.
    """

    toggled = Signal()
    moved = Signal()

    def __init__(
        self,
        button: QToolButton,
        bar: ClipBar,
        volume: Callable[[], tuple[Shape | None, float | None]],
    ) -> None:
        super().__init__(bar)
        self._button, self._bar, self._volume = button, bar, volume
        self._scene: SceneCanvas | None = None
        button.clicked.connect(self._open_towards_viewer)
        button.toggled.connect(self._toggle)
        bar.changed.connect(self.apply)
        bar.axis_chosen.connect(self._open_towards_viewer)

    def attach(self, scene: SceneCanvas | None) -> None:
        """Cut this scene open from now on."""
        self._scene = scene
        self.apply()

    def apply(self) -> None:
        """Bring the scene in line with button and bar."""
        shape, voxel_size_um = self._volume()
        if self._scene is None or shape is None:
            return
        self._bar.set_volume(shape, voxel_size_um)
        before = self._scene.clip
        if self._button.isChecked():
            self._scene.set_clip(*self._bar.plane())
        else:
            self._scene.set_clip(None)
        if self._scene.clip != before:
            self.moved.emit()

    def _open_towards_viewer(self, *_args: object) -> None:
        """Cut away the side that one looks at, so that one sees inside."""
        if self._scene is not None:
            axis, _, _ = self._bar.plane()
            self._bar.flip.setChecked(self._scene.camera.is_beyond(axis))

    def _toggle(self, _on: bool) -> None:
        self.toggled.emit()
        self.apply()
