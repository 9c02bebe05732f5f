"""What the 3D view shows, prepared in the background and handed to the scene when it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.particles_3d_bar import BOTH, PARTICLES, SCAN
from particleseg_app.gui.viewers.scene_loader import (
    DrawingBudget,
    GreyScene,
    ParticleScene,
    SceneLoader,
)
from particleseg_app.gui.viewers.seen_particles import SeenSurfaces
from particleseg_app.gui.viewers.slice_reader import ScanLike, SliceVolume
from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.scene_canvas import SceneCanvas

SEEN_AFTER_MS = 60
SEEN = "seen"


class ScenePreparation(QObject):
    """Keeps the volumes of the 3D view and what was made of them.

    `changed` tells that something is ready or waited for that was not before, `failed` that
    something could not be prepared. Nothing is read before `attach` and `begin_missing`.
    """

    changed = Signal()
    failed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.scan: ScanLike | None = None
        self.labels: SliceVolume | None = None
        self.particles: ParticleScene | None = None
        self.look = LabelLook.plain()
        self.selected = 0
        self.mode = PARTICLES
        self._scene: SceneCanvas | None = None
        self._loader: SceneLoader | None = None
        self._changed: list[Box] | None = []  # since `particles`; None: who knows where
        self._waiting_for: set[str] = set()
        self._have_grey = False
        self._grey_range = (0.0, 1.0)
        self._window = (0.0, 1.0)
        self._seen_wanted = QTimer(self, interval=SEEN_AFTER_MS, singleShot=True)
        self._seen_wanted.timeout.connect(lambda: self._prepare_seen())

    # --- what is shown -------------------------------------------------------------------------

    @property
    def shape(self) -> Shape | None:
        """Shape (z, y, x) of the volumes, or None where there are none."""
        volume = self.scan or self.labels
        return volume.shape if volume is not None else None

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for was handed to the scene."""
        return not self._waiting_for

    @property
    def surfaces_wanted_soon(self) -> bool:
        """Whether surfaces of what is seen are about to be made."""
        return self._seen_wanted.isActive()

    @property
    def first_awaited(self) -> bool:
        """Whether something is waited for of which nothing is shown yet."""
        first = self.particles is None or SCAN in self._waiting_for
        return bool(self._waiting_for - {SEEN}) and first

    @property
    def crowded(self) -> bool:
        """Whether the particles are too many for surfaces of all of them."""
        return self.particles is not None and self.particles.ellipsoids is not None

    def set_scan(self, scan: ScanLike | None) -> None:
        """Another scan, without particles; None is nothing."""
        self.labels = None
        self.particles = None
        self._have_grey = False
        self.selected = 0
        self._waiting_for.clear()
        if self._loader is not None:
            self._loader.cancel(PARTICLES)
            self._loader.cancel(SCAN)
        self.stop_seen()
        self._clear_particles()
        if self._scene is not None:
            self._scene.set_volume(None, 1)
        self.scan = scan
        if scan is not None:
            self._grey_range = self._window = scan.statistics.display_range()
            if self._scene is not None:
                self._scene.set_box(scan.shape)

    def set_labels(self, labels: SliceVolume | None, changed: Sequence[Box] | None) -> bool:
        """Other particles, or None; returns whether they are the old ones with mends.

        Mended ones leave the scene as it is until theirs are ready, and only particles that
        differ are made anew; `changed` are the boxes in which they may differ (None: anywhere).
        """
        had_scan = self.scan is not None
        before, self.labels = self.labels, labels
        self._waiting_for.discard(PARTICLES)
        if self._loader is not None:
            self._loader.cancel(PARTICLES)
        if before is not None and labels is not None and before.shape == labels.shape:
            known = self._changed is not None and changed is not None
            self._changed = [*(self._changed or ()), *(changed or ())] if known else None
            return True
        self.stop_seen()
        self.selected = 0
        self.particles = None
        self._clear_particles()
        if self._scene is not None:
            self._scene.refresh()
            if not had_scan and labels is not None:
                self._scene.set_box(labels.shape)
        return False

    def set_window(self, low: float, high: float) -> None:
        """Grey values of the scan shown black and white."""
        self._window = (low, high)
        if self._scene is not None and self._have_grey:
            self._scene.set_grey_limits(*self._grey_limits())

    def _clear_particles(self) -> None:
        if self._scene is not None:
            self._scene.particles.set_selected(0)
            self._scene.particles.set(None, None, None, None)

    # --- preparing -----------------------------------------------------------------------------

    def attach(self, scene: SceneCanvas, budget: DrawingBudget) -> None:
        """Hand everything to this scene from now on."""
        self._scene = scene
        self._loader = SceneLoader(budget, self)
        self._loader.seen_ready.connect(self._show_seen)
        self._loader.particles_ready.connect(self._show_particles)
        self._loader.scan_ready.connect(self._show_scan)
        self._loader.failed.connect(self._show_failure)

    def begin_missing(self) -> None:
        """Begin whatever is missing for what is to be seen."""
        outdated = self.particles is None or self._changed != []
        if self._wants(PARTICLES) and outdated and self.labels is not None:
            self._begin(PARTICLES)
        if self._wants(SCAN) and not self._have_grey and self.scan is not None:
            self._begin(SCAN)

    def stop(self) -> None:
        """End the threads and let go of everything."""
        self._seen_wanted.stop()
        if self._loader is not None:
            self._loader.stop()
            self._loader = None
        self._scene = None
        self.scan = self.labels = None

    def _wants(self, what: str) -> bool:
        return self.mode in (what, BOTH)

    def _begin(self, what: str) -> None:
        if what in self._waiting_for or self._loader is None:
            return
        self._waiting_for.add(what)
        if what == PARTICLES and self.labels is not None:
            if self.particles is None:
                self._changed = []
                self._loader.prepare_particles(self.labels)
            else:
                self._loader.mend_particles(self.labels, self.particles, self._changed)
        elif what == SCAN and self.scan is not None:
            self._loader.prepare_scan(self.scan, *self._grey_range)

    def _show_particles(self, prepared: ParticleScene, token: CancelToken) -> None:
        if self._scene is None or self.labels is None or token.cancelled:
            return
        self._waiting_for.discard(PARTICLES)
        self._changed = []
        if prepared is not self.particles:
            mended = self.particles is not None
            self.particles = prepared
            self._scene.particles.set(
                prepared.surfaces,
                prepared.coarse,
                prepared.ellipsoids,
                prepared.surface_of,
                keep_seen=mended,
            )
            self._scene.particles.set_selected(self.selected)
            self._scene.refresh()
        self.want_seen()
        self.changed.emit()

    def _show_scan(self, prepared: GreyScene) -> None:
        if self._scene is None or self.scan is None or SCAN not in self._waiting_for:
            return
        self._waiting_for.discard(SCAN)
        self._have_grey = True
        self._scene.set_volume(prepared.grey, prepared.step)
        self._scene.set_grey_limits(*self._grey_limits())
        self.changed.emit()

    def _grey_limits(self) -> tuple[float, float]:
        """The window in the 8-bit greys of the small copy."""
        first, last = self._grey_range
        scale = 255 / max(last - first, 1e-12)
        low, high = ((value - first) * scale for value in self._window)
        return low, max(high, low + 1)

    def _show_failure(self, what: str) -> None:
        self._waiting_for.discard(what)
        self.changed.emit()
        self.failed.emit()

    # --- surfaces of what is seen, where there are too many particles --------------------------

    def want_seen(self) -> None:
        """Make surfaces of what is seen soon, if that is how the particles are drawn."""
        if not self.crowded:
            return
        if self._loader is not None:
            self._loader.cancel(SEEN)
        self._waiting_for.add(SEEN)
        self._seen_wanted.start()

    def stop_seen(self) -> None:
        """Leave it, because the scene is looked at from elsewhere."""
        self._seen_wanted.stop()
        self._waiting_for.discard(SEEN)
        if self._loader is not None:
            self._loader.cancel(SEEN)

    def _prepare_seen(self) -> None:
        whole, labels = self.particles, self.labels
        if self._scene is None or self._loader is None or labels is None or whole is None:
            return
        if not self._scene.shown or not self._wants(PARTICLES) or whole.ellipsoids is None:
            self._waiting_for.discard(SEEN)
            return
        self._loader.prepare_seen(labels, whole, self._scene.viewpoint(self.look.visibility))

    def _show_seen(self, seen: SeenSurfaces | None, token: CancelToken) -> None:
        if self._scene is None or token.cancelled:
            return
        self._waiting_for.discard(SEEN)
        self._scene.particles.set_seen(seen)
        self._scene.refresh()
