"""The 3D view: coloured particles, the scan as a volume, or both, in a box with its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.clear_view import USUAL, Direction
from particleseg_app.gui.viewers.clip_bar import ClipBar
from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.opengl import find_opengl
from particleseg_app.gui.viewers.particle_picking import first_hit_on_ray
from particleseg_app.gui.viewers.particles_3d_bar import BOTH, PARTICLES, SCAN, Particles3DBar
from particleseg_app.gui.viewers.scene_cut import SceneCut
from particleseg_app.gui.viewers.scene_loader import HARDWARE, SOFTWARE
from particleseg_app.gui.viewers.scene_preparation import ScenePreparation
from particleseg_app.gui.viewers.scene_stage import SceneStage
from particleseg_app.gui.viewers.slice_reader import ScanLike, SliceVolume
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

NOT_AVAILABLE = (
    "The 3D view is not available on this computer.\nThe slices and everything else work as usual."
)
NOTHING = "Particles appear here in 3D once they have been found."
MOTION_ENDS_MS = 220


class Particles3DView(QWidget):
    """Particles in 3D, in the same colours as in the slices.

    The left button turns, the wheel zooms, the right button moves. Signal `label_clicked` with
    the particle clicked on, 0 for none, and `point_clicked` with it and a point (z, y, x) inside
    it, in voxels; `scale_shown` with whether it says what the colours mean. Nothing is read or
    drawn before the view is first shown. Call `stop` before the program ends.
    """

    label_clicked = Signal(int)
    scale_shown = Signal(bool)
    point_clicked = Signal(int, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._voxel_size_um: float | None = None
        self._scene: SceneCanvas | None = None
        self._markers: list[tuple[float, float, float]] = []
        self._direction = USUAL
        self.highlights_clicked = True
        self._preparation = ScenePreparation(self)
        self._preparation.changed.connect(self._show_state)
        self._preparation.failed.connect(self._show_failure)
        self._motion_end = QTimer(self, interval=MOTION_ENDS_MS, singleShot=True)
        self._motion_end.timeout.connect(lambda: self._moving_ended())
        self._build()
        theme.notifier.changed.connect(self._take_colours)
        self._take_colours()

    def _build(self) -> None:
        self.bar = Particles3DBar()
        self.bar.mode_chosen.connect(self.set_mode)
        self.bar.reset_wanted.connect(self.reset_view)
        self.cut = self.bar.cut
        self._stage = SceneStage()
        self.legend = self._stage.legend
        self.clip_bar = ClipBar()
        self.clip_bar.hide()
        self._cut = SceneCut(self.cut, self.clip_bar, self._volume)
        self._cut.toggled.connect(self._show_state)
        self._cut.moved.connect(self._cut_moved)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.bar)
        layout.addWidget(self.clip_bar)
        layout.addWidget(self._stage, 1)
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
        return self._scene is not None and self._preparation.complete

    @property
    def still(self) -> bool:
        """Whether nothing moves, and nothing finer is about to be drawn."""
        return not self._motion_end.isActive() and not self._preparation.surfaces_wanted_soon

    def set_scan(self, scan: ScanLike | None, voxel_size_um: float | None = None) -> None:
        """Show another scan (None: nothing); its particles are set afterwards."""
        self._voxel_size_um = voxel_size_um
        self._preparation.set_scan(scan)
        self._preparation.mode = SCAN
        self._prepare()

    def set_labels(
        self,
        labels: SliceVolume | None,
        table: Any = None,
        voxel_size_um: float | None = None,
        changed: Sequence[Box] | None = None,
    ) -> None:
        """Show the particles of a label volume, or none. `table` is not needed at present.

        Labels in place of others of the same scan, as after a mend, leave the picture as it is
        until theirs is ready, and only particles that differ are made anew; `changed` are the
        boxes in which they may differ (None: anywhere).
        """
        if voxel_size_um is not None:
            self._voxel_size_um = voxel_size_um
        if not self._preparation.set_labels(labels, changed):
            self._preparation.mode = PARTICLES if labels is not None else SCAN
        self._prepare()

    def set_look(self, look: LabelLook) -> None:
        """Colours of the particles, and which of them are shown."""
        before = self._preparation.look
        if look is before:
            return
        self._preparation.look = look
        if self._scene is not None:
            self._scene.particles.set_look(look)
            self._scene.refresh()
        if look.visibility is not before.visibility:
            self._preparation.want_seen()
        self._show_state()

    def set_voxel_size(self, voxel_size_um: float | None) -> None:
        self._voxel_size_um = voxel_size_um
        self._place_texts()

    def set_window(self, low: float, high: float) -> None:
        """Grey values of the scan shown black and white."""
        self._preparation.set_window(low, high)

    def set_mode(self, mode: str) -> None:
        """Show ``particles``, the ``scan``, or ``both``."""
        if mode not in (PARTICLES, SCAN, BOTH):
            raise ValueError(f"unknown mode {mode!r}")
        self._preparation.mode = mode
        self._prepare()
        self._preparation.want_seen()

    def select_label(self, label: int | None) -> None:
        """Highlight one particle, or none."""
        self._preparation.selected = label or 0
        if self._scene is not None:
            self._scene.particles.set_selected(label or 0)
            self._scene.refresh()

    def set_markers(self, points: Sequence[tuple[float, float, float]]) -> None:
        """Mark points (z, y, x), in voxels, each in the colour of its number."""
        self._markers = list(points)
        if self._scene is not None:
            self._scene.set_markers(self._markers)

    def look_from(self, direction: Direction) -> None:
        """Look out of another direction, now and whenever a view begins."""
        self._direction = direction
        if self._scene is not None:
            self._scene.direction = direction
            self.reset_view()

    def reset_view(self) -> None:
        if self._scene is not None:
            self._scene.reset_view()
            self._preparation.want_seen()

    def clear(self) -> None:
        """Show nothing; the scan and labels are not read any more."""
        self.set_scan(None)

    def stop(self) -> None:
        """End the threads; the view shows nothing new afterwards."""
        self._motion_end.stop()
        self._preparation.stop()
        self._cut.attach(None)
        if self._scene is not None:
            self._scene.close()
            self._scene = None
        self._show_state()

    def _volume(self) -> tuple[Shape | None, float | None]:
        return self._preparation.shape, self._voxel_size_um

    # --- preparing -----------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        self._prepare()
        self._preparation.want_seen()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        super().hideEvent(event)
        self._motion_end.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._preparation.want_seen()

    def _prepare(self) -> None:
        """Begin whatever is missing for what is to be seen, if the view can be seen."""
        if self.isVisible() and self._preparation.shape is not None and self.available:
            self._make_scene()
        if self._scene is not None and self.isVisible():
            self._preparation.begin_missing()
            mode = self._preparation.mode
            self._scene.show(particles=mode != SCAN, scan=mode != PARTICLES)
        self._show_state()

    def _make_scene(self) -> None:
        shape = self._preparation.shape
        if self._scene is not None or shape is None:
            return
        opengl = find_opengl()
        assert opengl is not None
        from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

        budget = SOFTWARE if opengl.software else HARDWARE
        self._scene = SceneCanvas(
            self._clicked,
            self._drawn,
            self._moving,
            budget.triangles_in_motion,
            software=opengl.software,
        )
        self._scene.direction = self._direction
        self._scene.particles.set_look(self._preparation.look)
        self._scene.set_markers(self._markers)
        self._stage.hold(self._scene.canvas.native)
        self._preparation.attach(self._scene, budget)
        self._scene.set_box(shape)
        self._cut.attach(self._scene)

    def _show_failure(self) -> None:
        self._stage.say("The 3D view could not be prepared.")

    def _show_state(self) -> None:
        """Bring buttons, message and status in line with what there is."""
        shown = self._preparation
        has_particles = shown.labels is not None
        self.bar.show_state(
            shown.mode if shown.shape is not None else None,
            ready=self._scene is not None,
            particles=has_particles,
            scan=shown.scan is not None,
        )
        shows_particles = shown.mode != SCAN and has_particles
        self.clip_bar.setVisible(self.cut.isChecked() and self.cut.isEnabled())
        self.legend.set_scale(shown.look.colouring.scale if shows_particles else None)
        self.legend.place()
        there = self._scene is not None and shown.shape is not None
        self.scale_shown.emit(there and self.legend.scale is not None)
        if self._scene is None or shown.shape is None:
            known_missing = self.isVisible() and not self.available
            self._stage.show_message(NOT_AVAILABLE if known_missing else NOTHING)
            return
        remark = ""
        if shown.first_awaited:
            remark = "Preparing the 3D view …"
        elif shown.particles is not None and shown.particles.empty:
            remark = "There are no particles to show."
        self._stage.show_scene(remark)
        self._place_texts()

    # --- mouse and motion ----------------------------------------------------------------------

    def _clicked(self, pixel: tuple[float, float]) -> None:
        label, point = self._hit_under(pixel)
        if self.highlights_clicked:
            self.select_label(label or None)
        self.label_clicked.emit(label)
        if point is not None:
            self.point_clicked.emit(label, point)

    def _hit_under(
        self, pixel: tuple[float, float]
    ) -> tuple[int, tuple[float, float, float] | None]:
        shown = self._preparation
        if self._scene is None or shown.particles is None or shown.mode == SCAN:
            return 0, None
        start, direction = self._scene.camera.ray(pixel)
        return first_hit_on_ray(
            shown.particles.labels,
            shown.particles.step,
            start,
            direction,
            shown.look.visibility,
            self._scene.clip,
        )

    def _moving(self, moving: bool) -> None:
        if moving and self._scene is not None:
            self._scene.set_motion(True)
            self._preparation.stop_seen()
        self._motion_end.start()

    def _drawn(self) -> None:
        self._place_texts()
        if self._motion_end.isActive():
            # A frame may take longer than that, which does not mean that the user has stopped.
            self._motion_end.start()

    def _moving_ended(self) -> None:
        if self._scene is not None:
            self._scene.set_motion(False)
            self._preparation.want_seen()

    def _cut_moved(self) -> None:
        if self._preparation.crowded:
            self._moving(True)

    # --- looks ---------------------------------------------------------------------------------

    def _place_texts(self) -> None:
        self._stage.place_texts(self._scene, *self._volume())

    def _take_colours(self) -> None:
        self._stage.take_colours()
        if self._scene is not None:
            self._scene.take_colours()
