"""Where the 3D scene is shown, with what is written over it, or a message in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QStackedLayout, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.colour_legend import ColourLegend
from particleseg_app.gui.viewers.scene_texts import SceneTexts
from particleseg_app.units import Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas


class SceneStage(QWidget):
    """Shows a message until a scene is put in with `hold` and shown with `show_scene`."""

    def __init__(self) -> None:
        super().__init__()
        self._message = QLabel()
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setMargin(theme.MARGIN)
        self._holder = QWidget()
        self._holder_layout = QVBoxLayout(self._holder)
        self._holder_layout.setContentsMargins(0, 0, 0, 0)
        self._texts = SceneTexts(self._holder)
        self.legend = ColourLegend(self._holder)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._message)
        self._stack.addWidget(self._holder)

    def hold(self, canvas: QWidget) -> None:
        """Put the widget that the scene is drawn on below everything that is written."""
        self._holder_layout.addWidget(canvas)
        self._texts.raise_all()
        self.legend.raise_()

    def show_message(self, text: str) -> None:
        self._message.setText(text)
        self._stack.setCurrentWidget(self._message)

    def show_scene(self, remark: str) -> None:
        """Show the scene with a remark at the lower left, or none."""
        self._stack.setCurrentWidget(self._holder)
        self.say(remark)

    def say(self, remark: str) -> None:
        self._texts.say(remark)

    def place_texts(
        self, scene: SceneCanvas | None, shape: Shape | None, voxel_size_um: float | None
    ) -> None:
        """Write the sizes of a volume of `shape` (z, y, x) beside it, where it is seen now."""
        if scene is None or shape is None:
            self._texts.hide_sizes()
        else:
            self._texts.place(scene, shape, voxel_size_um)

    def take_colours(self) -> None:
        colours = theme.current()
        self._message.setStyleSheet(f"background: {colours.canvas}; color: {colours.canvas_muted};")
        self._holder.setStyleSheet(f"background: {colours.canvas};")
        self._texts.take_colours()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._texts.place_remark()
        self.legend.place()
