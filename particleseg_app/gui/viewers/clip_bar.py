"""The thin row that cuts the 3D view open: which axis, where, and which side goes away."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
)

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.viewers.slice_cell import BAR_HEIGHT, place_text
from particleseg_app.gui.viewers.slice_geometry import AXIS_NAMES
from particleseg_app.units import Shape

STEPS = 1000


class ClipBar(QFrame):
    """Signals: `changed` when the plane moves (`plane` says where it is then), `axis_chosen`."""

    changed = Signal()
    axis_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self.setFixedHeight(BAR_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._shape: Shape = (1, 1, 1)
        self._voxel_size_um: float | None = None
        self._axes = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(theme.SPACING, 0, theme.SPACING, 0)
        layout.setSpacing(theme.SPACING // 2)
        layout.addWidget(QLabel("Cut"))
        for axis in (2, 1, 0):
            button = QToolButton()
            button.setText(AXIS_NAMES[axis])
            button.setCheckable(True)
            button.setChecked(axis == 2)
            button.setAutoRaise(True)
            button.setStyleSheet("padding: 2px 7px;")
            button.setToolTip(f"Cut across the {AXIS_NAMES[axis]} axis")
            button.setAccessibleName(button.toolTip())
            self._axes.addButton(button, axis)
            layout.addWidget(button)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setValue(STEPS // 2)
        self.slider.setMinimumWidth(40)
        self.slider.setAccessibleName("Place of the cut")
        layout.addWidget(self.slider, 1)
        self._place = QLabel()
        self._place.setProperty("role", "muted")
        layout.addWidget(self._place)
        self.flip = QToolButton()
        self.flip.setIcon(icon("flip"))
        self.flip.setCheckable(True)
        self.flip.setAutoRaise(True)
        self.flip.setToolTip("Cut the other side away")
        self.flip.setAccessibleName("Cut the other side away")
        layout.addWidget(self.flip)
        self.slider.valueChanged.connect(self._tell)
        self._axes.idClicked.connect(self.axis_chosen)
        self._axes.idClicked.connect(self._tell)
        self.flip.toggled.connect(self._tell)

    def set_volume(self, shape: Shape, voxel_size_um: float | None) -> None:
        self._shape, self._voxel_size_um = shape, voxel_size_um
        self._write_place()

    def plane(self) -> tuple[int, float, bool]:
        """Axis, place in voxels along it, and whether what lies beyond it is cut away."""
        axis = self._axes.checkedId()
        place = self.slider.value() / STEPS * self._shape[axis]
        return axis, place, self.flip.isChecked()

    def _tell(self, *_args: object) -> None:
        self._write_place()
        self.changed.emit()

    def _write_place(self) -> None:
        axis, place, _ = self.plane()
        size, unit = self._voxel_size_um or 1.0, "µm" if self._voxel_size_um else "voxels"
        self._place.setText(f"{place_text(place * size)} {unit}")
        # Digits of changing width must not push the slider about.
        widest = f"{place_text(self._shape[axis] * size)} {unit}"
        metrics = self._place.fontMetrics()
        self._place.setFixedWidth(
            max(metrics.horizontalAdvance(t) for t in (widest, self._place.text())) + 2
        )
