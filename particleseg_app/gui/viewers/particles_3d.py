"""The 3D view: coloured particles, the scan as a volume, or both, in a box with its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QLabel,
    QSizePolicy,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.clip_bar import ClipBar
from particleseg_app.gui.viewers.colour_legend import ColourLegend
from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.opengl import find_opengl
from particleseg_app.gui.viewers.particle_picking import first_hit_on_ray
from particleseg_app.gui.viewers.particles_3d_bar import BOTH, PARTICLES, SCAN, Particles3DBar
from particleseg_app.gui.viewers.scene_loader import (
    HARDWARE,
    SOFTWARE,
    GreyScene,
    ParticleScene,
    SceneLoader,
)
from particleseg_app.gui.viewers.scene_texts import SceneTexts
from particleseg_app.gui.viewers.seen_particles import SeenSurfaces
from particleseg_app.gui.viewers.slice_reader import ScanLike, SliceVolume
from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

NOT_AVAILABLE = (
    "The 3D view is not available on this computer.\nThe slices and everything else work as usual."
)
NOTHING = "Particles appear here in 3D once they have been found."
MOTION_ENDS_MS = 220
SEEN_AFTER_MS = 60
SEEN = "seen"


class Particles3DView(QWidget):
    """Particles in 3D, in the same colours as in the slices.

    The left button turns, the wheel zooms, the right button moves. Signal `label_clicked` with
    the particle clicked on, 0 for none, and `point_clicked` with it and a point (z, y, x) inside
    it, in voxels. Nothing is read or drawn before the view is first shown. Call `stop` before the
    program ends.
    """

    label_clicked = Signal(int)
    point_clicked = Signal(int, object)

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
        self._changed: list[Box] | None = []  # since `_particles`; None: who knows where
        self._look = LabelLook.plain()
        self._waiting_for: set[str] = set()
        self._markers: list[tuple[float, float, float]] = []
        self.highlights_clicked = True
        self._have_grey = False
        self._mode = PARTICLES
        self._motion_end = QTimer(self, interval=MOTION_ENDS_MS, singleShot=True)
        self._motion_end.timeout.connect(lambda: self._moving_ended())
        self._seen_wanted = QTimer(self, interval=SEEN_AFTER_MS, singleShot=True)
        self._seen_wanted.timeout.connect(lambda: self._prepare_seen())
        self._build()
        theme.notifier.changed.connect(self._take_colours)
        self._take_colours()

    def _build(self) -> None:
        self.bar = Particles3DBar()
        self.bar.mode_chosen.connect(self.set_mode)
        self.bar.reset_wanted.connect(self.reset_view)
        self.cut = self.bar.cut
        self.cut.clicked.connect(self._open_towards_viewer)
        self.cut.toggled.connect(self._toggle_cut)
        self._message = QLabel(NOTHING)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setMargin(theme.MARGIN)
        self._holder = QWidget()
        self._holder_layout = QVBoxLayout(self._holder)
        self._holder_layout.setContentsMargins(0, 0, 0, 0)
        self._texts = SceneTexts(self._holder)
        self.legend = ColourLegend(self._holder)
        self.clip_bar = ClipBar()
        self.clip_bar.hide()
        self.clip_bar.changed.connect(self._cut_moved)
        self.clip_bar.axis_chosen.connect(self._open_towards_viewer)
        self._stack = QStackedLayout()
        self._stack.addWidget(self._message)
        self._stack.addWidget(self._holder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.bar)
        layout.addWidget(self.clip_bar)
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
        changed: Sequence[Box] | None = None,
    ) -> None:
        """Show the particles of a label volume, or none. `table` is not needed at present.

        Labels in place of others of the same scan, as after a mend, leave the picture as it is
        until theirs is ready, and only particles that differ are made anew; `changed` are the
        boxes in which they may differ (None: anywhere).
        """
        had_scan = self._scan
        before, self._labels = self._labels, labels
        mended = before is not None and labels is not None and before.shape == labels.shape
        self._waiting_for.discard(PARTICLES)
        if self._loader is not None:
            self._loader.cancel(PARTICLES)
        if voxel_size_um is not None:
            self._voxel_size_um = voxel_size_um
        if mended:
            known = self._changed is not None and changed is not None
            self._changed = [*(self._changed or ()), *(changed or ())] if known else None
            self._prepare()
            return
        self._stop_seen()
        self._selected = 0
        self._particles = None
        if self._scene is not None:
            self._scene.particles.set_selected(0)
            self._scene.particles.set(None, None, None, None)
            self._scene.refresh()
            if had_scan is None and labels is not None:
                self._scene.set_box(labels.shape)
        self._mode = PARTICLES if labels is not None else SCAN
        self._prepare()

    def set_look(self, look: LabelLook) -> None:
        """Colours of the particles, and which of them are shown."""
        if look is self._look:
            return
        uncovered = look.visibility is not self._look.visibility
        self._look = look
        if self._scene is not None:
            self._scene.particles.set_look(look)
            self._scene.refresh()
        if uncovered:
            self._want_seen()
        self._show_state()

    def set_cut(self, axis: int | None, share: float = 0.5, *, flipped: bool = False) -> None:
        """Cut open across `axis` (0 z, 1 y, 2 x) at a share of its length; None shows all."""
        if axis is not None:
            self.clip_bar.choose(axis, share, flipped=flipped)
        self.cut.setChecked(axis is not None)

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
        if mode not in (PARTICLES, SCAN, BOTH):
            raise ValueError(f"unknown mode {mode!r}")
        self._mode = mode
        self._prepare()
        self._want_seen()

    def select_label(self, label: int | None) -> None:
        """Highlight one particle, or none."""
        self._selected = label or 0
        if self._scene is not None:
            self._scene.particles.set_selected(self._selected)
            self._scene.refresh()

    def set_markers(self, points: Sequence[tuple[float, float, float]]) -> None:
        """Mark points (z, y, x), in voxels, each in the colour of its number."""
        self._markers = list(points)
        if self._scene is not None:
            self._scene.set_markers(self._markers)

    def reset_view(self) -> None:
        if self._scene is not None:
            self._scene.reset_view()
            self._want_seen()

    def clear(self) -> None:
        """Show nothing; the scan and labels are not read any more."""
        self.set_scan(None)

    def stop(self) -> None:
        """End the threads; the view shows nothing new afterwards."""
        self._motion_end.stop()
        self._seen_wanted.stop()
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
        self._want_seen()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        super().hideEvent(event)
        self._motion_end.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._texts.place_remark()
        self.legend.place()
        self._want_seen()

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
        self._stop_seen()
        if self._scene is not None:
            self._scene.particles.set_selected(0)
            self._scene.particles.set(None, None, None, None)
            self._scene.set_volume(None, 1)

    def _prepare(self) -> None:
        """Begin whatever is missing for what is to be seen, if the view can be seen."""
        if self.isVisible() and self._shape() is not None and self.available:
            self._make_scene()
        if self._scene is not None and self._loader is not None and self.isVisible():
            outdated = self._particles is None or self._changed != []
            if self._wants(PARTICLES) and outdated and self._labels is not None:
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
            if self._particles is None:
                self._changed = []
                self._loader.prepare_particles(self._labels)
            else:
                self._loader.mend_particles(self._labels, self._particles, self._changed)
        elif what == SCAN and self._scan is not None:
            self._loader.prepare_scan(self._scan, *self._grey_range)

    def _make_scene(self) -> None:
        if self._scene is not None:
            return
        opengl = find_opengl()
        assert opengl is not None
        from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

        budget = SOFTWARE if opengl.software else HARDWARE
        self._scene = SceneCanvas(
            self._clicked, self._place_texts, self._moving, budget.triangles_in_motion
        )
        self._scene.particles.set_look(self._look)
        self._scene.set_markers(self._markers)
        self._holder_layout.addWidget(self._scene.canvas.native)
        self._texts.raise_all()
        self.legend.raise_()
        self._loader = SceneLoader(budget, self)
        self._loader.seen_ready.connect(self._show_seen)
        self._loader.particles_ready.connect(self._show_particles)
        self._loader.scan_ready.connect(self._show_scan)
        self._loader.failed.connect(self._show_failure)
        shape = self._shape()
        assert shape is not None
        self._scene.set_box(shape)
        self._cut_moved()

    def _show_particles(self, prepared: ParticleScene, token: CancelToken) -> None:
        if self._scene is None or self._labels is None or token.cancelled:
            return
        self._waiting_for.discard(PARTICLES)
        self._changed = []
        if prepared is not self._particles:
            mended = self._particles is not None
            self._particles = prepared
            particles = self._scene.particles
            particles.set(
                prepared.surfaces,
                prepared.coarse,
                prepared.ellipsoids,
                prepared.surface_of,
                keep_seen=mended,
            )
            particles.set_selected(self._selected)
            self._scene.refresh()
        self._want_seen()
        self._show_state()

    # --- surfaces of what is seen, where there are too many particles --------------------------

    def _want_seen(self) -> None:
        """Make surfaces of what is seen soon, if that is how the particles are drawn."""
        if self._particles is None or self._particles.ellipsoids is None:
            return
        if self._loader is not None:
            self._loader.cancel(SEEN)
        self._waiting_for.add(SEEN)
        self._seen_wanted.start()

    def _stop_seen(self) -> None:
        self._seen_wanted.stop()
        self._waiting_for.discard(SEEN)
        if self._loader is not None:
            self._loader.cancel(SEEN)

    def _prepare_seen(self) -> None:
        whole, labels = self._particles, self._labels
        if self._scene is None or self._loader is None or labels is None or whole is None:
            return
        if not self.isVisible() or not self._wants(PARTICLES) or whole.ellipsoids is None:
            self._waiting_for.discard(SEEN)
            return
        self._loader.prepare_seen(labels, whole, self._scene.viewpoint(self._look.visibility))

    def _show_seen(self, seen: SeenSurfaces | None, token: CancelToken) -> None:
        if self._scene is None or token.cancelled:
            return
        self._waiting_for.discard(SEEN)
        self._scene.particles.set_seen(seen)
        self._scene.refresh()

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
        has_particles = self._labels is not None
        self.bar.show_state(
            self._mode if self._shape() is not None else None,
            ready=self._scene is not None,
            particles=has_particles,
            scan=self._scan is not None,
        )
        shows_particles = self._mode != SCAN and has_particles
        self.clip_bar.setVisible(self.cut.isChecked() and self.cut.isEnabled())
        self.legend.set_scale(self._look.colouring.scale if shows_particles else None)
        self.legend.place()
        if self._scene is None or self._shape() is None:
            known_missing = self.isVisible() and not self.available
            self._message.setText(NOT_AVAILABLE if known_missing else NOTHING)
            self._stack.setCurrentWidget(self._message)
            return
        self._stack.setCurrentWidget(self._holder)
        if self._waiting_for - {SEEN} and (self._particles is None or SCAN in self._waiting_for):
            self._texts.say("Preparing the 3D view …")
        elif self._particles is not None and self._particles.empty:
            self._texts.say("There are no particles to show.")
        else:
            self._texts.say("")
        self._place_texts()

    # --- mouse ---------------------------------------------------------------------------------

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
        if self._scene is None or self._particles is None or self._mode == SCAN:
            return 0, None
        start, direction = self._scene.ray(pixel)
        return first_hit_on_ray(
            self._particles.labels,
            self._particles.step,
            start,
            direction,
            self._look.visibility,
            self._scene.clip,
        )

    def _moving(self, moving: bool) -> None:
        if moving and self._scene is not None:
            self._scene.set_motion(True)
            self._stop_seen()
        self._motion_end.start()

    def _moving_ended(self) -> None:
        if self._scene is not None:
            self._scene.set_motion(False)
            self._want_seen()

    # --- cut open ------------------------------------------------------------------------------

    def _open_towards_viewer(self, *_args: object) -> None:
        """Cut away the side that one looks at, so that one sees inside."""
        if self._scene is not None:
            axis, _, _ = self.clip_bar.plane()
            self.clip_bar.flip.setChecked(self._scene.viewer_is_beyond(axis))

    def _toggle_cut(self, on: bool) -> None:
        self._show_state()
        self._cut_moved()

    def _cut_moved(self) -> None:
        shape = self._shape()
        if self._scene is None or shape is None:
            return
        self.clip_bar.set_volume(shape, self._voxel_size_um)
        before = self._scene.clip
        if self.cut.isChecked():
            self._scene.set_clip(*self.clip_bar.plane())
        else:
            self._scene.set_clip(None)
        crowd = self._particles is not None and self._particles.ellipsoids is not None
        if crowd and self._scene.clip != before:
            self._moving(True)

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
