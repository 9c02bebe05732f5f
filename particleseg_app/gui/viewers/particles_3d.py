"""The 3D view: coloured particles, the scan as a volume, or both, in a box with its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QLabel,
    QSizePolicy,
    QStackedLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.viewers.opengl import find_opengl
from particleseg_app.gui.viewers.particle_picking import first_label_on_ray
from particleseg_app.gui.viewers.scene_loader import (
    HARDWARE,
    SOFTWARE,
    GreyScene,
    ParticleScene,
    SceneLoader,
)
from particleseg_app.gui.viewers.scene_texts import SceneTexts
from particleseg_app.gui.viewers.slice_cell import ViewBar
from particleseg_app.gui.viewers.slice_reader import ScanLike, SliceVolume
from particleseg_app.units import Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

NOT_AVAILABLE = (
    "The 3D view is not available on this computer.\nThe slices and everything else work as usual."
)
NOTHING = "Particles appear here in 3D once they have been found."
MOTION_ENDS_MS = 220
PARTICLES, SCAN, BOTH = "particles", "scan", "both"


class Particles3DView(QWidget):
    """Particles in 3D, in the same colours as in the slices.

    The left button turns, the wheel zooms, the right button moves. Signal `label_clicked` with
    the particle clicked on, 0 for none. Nothing is read or drawn before the view is first shown.
    Call `stop` before the program ends.
    """

    label_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scan: ScanLike | None = None
        self._labels: SliceVolume | None = None
        self._voxel_size_um: float | None = None
        self._selected = 0
        self._grey_range = (0.0, 1.0)
        self._window = (0.0, 1.0)
        self._scene: SceneCanvas | None = None
        self._loader: SceneLoader | None = None
        self._particles: ParticleScene | None = None
        self._waiting_for: set[str] = set()
        self._have_grey = False
        self._mode = PARTICLES
        self._motion_end = QTimer(self, interval=MOTION_ENDS_MS, singleShot=True)
        self._motion_end.timeout.connect(lambda: self._moving_ended())
        self._build()
        theme.notifier.changed.connect(self._take_colours)
        self._take_colours()

    def _build(self) -> None:
        self.bar = ViewBar("3D", narrow=330)
        self.bar.layout_.setSpacing(theme.SPACING // 4)
        self._modes = QButtonGroup(self)
        self._mode_buttons: dict[str, QToolButton] = {}
        self.bar.add_stretch()
        for mode, text in ((PARTICLES, "Particles"), (SCAN, "Scan"), (BOTH, "Both")):
            button = QToolButton()
            button.setText(text)
            button.setStyleSheet("padding: 3px 5px;")
            button.setMinimumWidth(button.fontMetrics().horizontalAdvance(text) + 14)
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.clicked.connect(lambda _on=False, mode=mode: self.set_mode(mode))
            self._modes.addButton(button)
            self._mode_buttons[mode] = button
            self.bar.add(button)
        self._reset = QToolButton()
        self._reset.setIcon(icon("fit"))
        self._reset.setAutoRaise(True)
        self._reset.setToolTip("Show the whole scan again")
        self._reset.setAccessibleName("Show the whole scan again")
        self._reset.clicked.connect(self.reset_view)
        self.bar.add(self._reset)
        self._message = QLabel(NOTHING)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setMargin(theme.MARGIN)
        self._holder = QWidget()
        self._holder_layout = QVBoxLayout(self._holder)
        self._holder_layout.setContentsMargins(0, 0, 0, 0)
        self._texts = SceneTexts(self._holder)
        self._stack = QStackedLayout()
        self._stack.addWidget(self._message)
        self._stack.addWidget(self._holder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.bar)
        layout.addLayout(self._stack, 1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._show_state()

    # --- what is shown -------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """Whether this computer can draw in 3D."""
        return find_opengl() is not None

    @property
    def ready(self) -> bool:
        """Whether everything that was asked for is on the screen."""
        return self._scene is not None and not self._waiting_for

    def set_scan(self, scan: ScanLike | None, voxel_size_um: float | None = None) -> None:
        """Show another scan (None: nothing); its particles are set afterwards."""
        self._forget()
        self._scan = scan
        self._voxel_size_um = voxel_size_um
        if scan is not None:
            self._grey_range = self._window = scan.statistics.display_range()
        self._mode = SCAN
        if self._scene is not None and scan is not None:
            self._scene.set_box(scan.shape)
        self._prepare()

    def set_labels(
        self,
        labels: SliceVolume | None,
        table: Any = None,
        voxel_size_um: float | None = None,
    ) -> None:
        """Show the particles of a label volume, or none. `table` is not needed at present."""
        had_scan = self._scan
        self._labels = labels
        self._selected = 0
        self._particles = None
        self._waiting_for.discard(PARTICLES)
        if self._loader is not None:
            self._loader.cancel(PARTICLES)
        if voxel_size_um is not None:
            self._voxel_size_um = voxel_size_um
        if self._scene is not None:
            self._scene.set_surfaces(None, None)
            if had_scan is None and labels is not None:
                self._scene.set_box(labels.shape)
        self._mode = PARTICLES if labels is not None else SCAN
        self._prepare()

    def set_voxel_size(self, voxel_size_um: float | None) -> None:
        self._voxel_size_um = voxel_size_um
        self._place_texts()

    def set_window(self, low: float, high: float) -> None:
        """Grey values of the scan shown black and white."""
        self._window = (low, high)
        if self._scene is not None and self._have_grey:
            self._scene.set_grey_limits(*self._grey_limits())

    def set_mode(self, mode: str) -> None:
        """Show ``particles``, the ``scan``, or ``both``."""
        if mode not in self._mode_buttons:
            raise ValueError(f"unknown mode {mode!r}")
        self._mode = mode
        self._prepare()

    def select_label(self, label: int | None) -> None:
        """Highlight one particle, or none."""
        self._selected = label or 0
        if self._scene is not None:
            self._scene.set_selected(self._selected)

    def reset_view(self) -> None:
        if self._scene is not None:
            self._scene.reset_view()

    def clear(self) -> None:
        """Show nothing; the scan and labels are not read any more."""
        self.set_scan(None)

    def stop(self) -> None:
        """End the threads; the view shows nothing new afterwards."""
        self._motion_end.stop()
        if self._loader is not None:
            self._loader.stop()
            self._loader = None
        if self._scene is not None:
            self._scene.close()
            self._scene = None
        self._scan = self._labels = None
        self._show_state()

    # --- preparing -----------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        self._prepare()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        super().hideEvent(event)
        self._motion_end.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._texts.place_remark()

    def _shape(self) -> Shape | None:
        volume = self._scan or self._labels
        return volume.shape if volume is not None else None

    def _forget(self) -> None:
        self._scan = self._labels = None
        self._particles = None
        self._have_grey = False
        self._selected = 0
        self._waiting_for.clear()
        if self._loader is not None:
            self._loader.cancel(PARTICLES)
            self._loader.cancel(SCAN)
        if self._scene is not None:
            self._scene.set_surfaces(None, None)
            self._scene.set_volume(None, 1)

    def _prepare(self) -> None:
        """Begin whatever is missing for what is to be seen, if the view can be seen."""
        if self.isVisible() and self._shape() is not None and self.available:
            self._make_scene()
        if self._scene is not None and self._loader is not None and self.isVisible():
            if self._wants(PARTICLES) and self._particles is None and self._labels is not None:
                self._begin(PARTICLES)
            if self._wants(SCAN) and not self._have_grey and self._scan is not None:
                self._begin(SCAN)
            self._scene.show(particles=self._mode != SCAN, scan=self._mode != PARTICLES)
        self._show_state()

    def _wants(self, what: str) -> bool:
        return self._mode in (what, BOTH)

    def _begin(self, what: str) -> None:
        if what in self._waiting_for or self._loader is None:
            return
        self._waiting_for.add(what)
        if what == PARTICLES and self._labels is not None:
            self._loader.prepare_particles(self._labels)
        elif what == SCAN and self._scan is not None:
            self._loader.prepare_scan(self._scan, *self._grey_range)

    def _make_scene(self) -> None:
        if self._scene is not None:
            return
        opengl = find_opengl()
        assert opengl is not None
        from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

        self._scene = SceneCanvas(self._clicked, self._place_texts, self._moving)
        self._holder_layout.addWidget(self._scene.canvas.native)
        self._texts.raise_all()
        self._loader = SceneLoader(SOFTWARE if opengl.software else HARDWARE, self)
        self._loader.particles_ready.connect(self._show_particles)
        self._loader.scan_ready.connect(self._show_scan)
        self._loader.failed.connect(self._show_failure)
        shape = self._shape()
        assert shape is not None
        self._scene.set_box(shape)

    def _show_particles(self, prepared: ParticleScene) -> None:
        if self._scene is None or self._labels is None or PARTICLES not in self._waiting_for:
            return
        self._waiting_for.discard(PARTICLES)
        self._particles = prepared
        self._scene.set_surfaces(prepared.surfaces, prepared.coarse)
        self._scene.set_selected(self._selected)
        self._show_state()

    def _show_scan(self, prepared: GreyScene) -> None:
        if self._scene is None or self._scan is None or SCAN not in self._waiting_for:
            return
        self._waiting_for.discard(SCAN)
        self._have_grey = True
        self._scene.set_volume(prepared.grey, prepared.step)
        self._scene.set_grey_limits(*self._grey_limits())
        self._show_state()

    def _grey_limits(self) -> tuple[float, float]:
        """The window in the 8-bit greys of the small copy."""
        first, last = self._grey_range
        scale = 255 / max(last - first, 1e-12)
        low, high = ((value - first) * scale for value in self._window)
        return low, max(high, low + 1)

    def _show_failure(self, what: str) -> None:
        self._waiting_for.discard(what)
        self._show_state()
        self._texts.say("The 3D view could not be prepared.")

    def _show_state(self) -> None:
        """Bring buttons, message and status in line with what there is."""
        for mode, button in self._mode_buttons.items():
            needs_labels, needs_scan = mode != SCAN, mode != PARTICLES
            button.setEnabled(
                (not needs_labels or self._labels is not None)
                and (not needs_scan or self._scan is not None)
                and self._scene is not None
            )
            button.setChecked(mode == self._mode and self._shape() is not None)
        self._reset.setEnabled(self._scene is not None)
        if self._scene is None or self._shape() is None:
            known_missing = self.isVisible() and not self.available
            self._message.setText(NOT_AVAILABLE if known_missing else NOTHING)
            self._stack.setCurrentWidget(self._message)
            return
        self._stack.setCurrentWidget(self._holder)
        if self._waiting_for:
            self._texts.say("Preparing the 3D view …")
        elif self._particles is not None and not len(self._particles.surfaces.triangles):
            self._texts.say("There are no particles to show.")
        else:
            self._texts.say("")
        self._place_texts()

    # --- mouse ---------------------------------------------------------------------------------

    def _clicked(self, pixel: tuple[float, float]) -> None:
        label = self._label_under(pixel)
        self.select_label(label or None)
        self.label_clicked.emit(label)

    def _label_under(self, pixel: tuple[float, float]) -> int:
        if self._scene is None or self._particles is None or self._mode == SCAN:
            return 0
        start, direction = self._scene.ray(pixel)
        return first_label_on_ray(self._particles.labels, self._particles.step, start, direction)

    def _moving(self, moving: bool) -> None:
        if moving and self._scene is not None:
            self._scene.set_motion(True)
        self._motion_end.start()

    def _moving_ended(self) -> None:
        if self._scene is not None:
            self._scene.set_motion(False)

    # --- looks ---------------------------------------------------------------------------------

    def _place_texts(self) -> None:
        shape = self._shape()
        if self._scene is None or shape is None:
            self._texts.hide_sizes()
        else:
            self._texts.place(self._scene, shape, self._voxel_size_um)

    def _take_colours(self) -> None:
        colours = theme.current()
        self._message.setStyleSheet(f"background: {colours.canvas}; color: {colours.canvas_muted};")
        self._holder.setStyleSheet(f"background: {colours.canvas};")
        self._texts.take_colours()
        if self._scene is not None:
            self._scene.take_colours()
