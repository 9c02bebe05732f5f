"""Prepares what the 3D view shows, in a background thread, newest wish first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QObject, Signal

from particleseg_app.errors import Cancelled
from particleseg_app.gui.viewers.front_ellipsoids import compile_search
from particleseg_app.gui.viewers.particle_scene import (
    HARDWARE,
    SOFTWARE,
    DrawingBudget,
    ParticleScene,
    mended_scene,
    particle_scene,
)
from particleseg_app.gui.viewers.seen_particles import Viewpoint, seen_surfaces
from particleseg_app.gui.viewers.slice_reader import SliceVolume
from particleseg_app.gui.viewers.volume_preview import preview_step, read_grey_preview
from particleseg_app.progress import CancelToken
from particleseg_app.units import Box

__all__ = [
    "HARDWARE",
    "SOFTWARE",
    "DrawingBudget",
    "GreyScene",
    "ParticleScene",
    "SceneLoader",
    "particle_scene",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GreyScene:
    grey: np.ndarray
    step: int


class SceneLoader(QObject):
    """Reads and prepares volumes in the background.

    Signals: `particles_ready` with a `ParticleScene`, `scan_ready` with a `GreyScene`, `failed`
    with ``particles`` or ``scan``, `seen_ready` with `SeenSurfaces` or None. A newer call replaces
    what an older one still prepares; particles and what is seen come with the token of their call,
    which is cancelled by then if they were replaced on their way.
    """

    particles_ready = Signal(object, object)
    scan_ready = Signal(object)
    seen_ready = Signal(object, object)
    failed = Signal(str)

    def __init__(self, budget: DrawingBudget, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.budget = budget
        self._jobs: dict[str, _Job] = {}

    def prepare_particles(self, labels: SliceVolume) -> None:
        def work(cancel: CancelToken) -> None:
            prepared = particle_scene(labels, self.budget, cancel)
            cancel.check()
            if prepared.ellipsoids is not None:
                # Nobody waits for it: without it the drawing takes longer.
                threading.Thread(target=compile_search, name="3D view: search", daemon=True).start()
            self.particles_ready.emit(prepared, cancel)

        self._begin("particles", work)

    def mend_particles(
        self, labels: SliceVolume, before: ParticleScene, changed: Sequence[Box] | None
    ) -> None:
        """Bring a scene up to date after mends inside the boxes `changed` (None: anywhere)."""

        def work(cancel: CancelToken) -> None:
            prepared = mended_scene(before, labels, changed, self.budget, cancel)
            cancel.check()
            self.particles_ready.emit(prepared, cancel)

        self._begin("particles", work)

    def prepare_seen(self, labels: SliceVolume, whole: ParticleScene, view: Viewpoint) -> None:
        """Make surfaces of the particles that are seen from a viewpoint."""
        particles = whole.ellipsoids
        assert particles is not None

        def work(cancel: CancelToken) -> None:
            seen = seen_surfaces(
                labels,
                whole.labels,
                whole.step,
                particles,
                view,
                self.budget.triangles,
                self.budget.seen_voxels,
                cancel,
            )
            cancel.check()
            self.seen_ready.emit(seen, cancel)

        self._begin("seen", work)

    def prepare_scan(self, scan: SliceVolume, low: float, high: float) -> None:
        def work(cancel: CancelToken) -> None:
            step = preview_step(scan.shape, self.budget.grey_voxels)
            grey = read_grey_preview(scan, step, low, high, cancel)
            cancel.check()
            self.scan_ready.emit(GreyScene(grey, step))

        self._begin("scan", work)

    def cancel(self, what: str) -> None:
        """Stop preparing ``particles``, ``scan`` or ``seen``; returns at once."""
        job = self._jobs.pop(what, None)
        if job is not None:
            job.cancel_token.cancel()

    def stop(self) -> None:
        """Stop everything and wait for the threads."""
        jobs = list(self._jobs.values())
        for what in list(self._jobs):
            self.cancel(what)
        for job in jobs:
            job.join()

    @property
    def busy(self) -> bool:
        return any(job.is_alive() for job in self._jobs.values())

    def _begin(self, what: str, work: Callable[[CancelToken], None]) -> None:
        before = self._jobs.get(what)
        self.cancel(what)
        job = _Job(what, work, before, self._tell_failure)
        self._jobs[what] = job
        job.start()

    def _tell_failure(self, what: str) -> None:
        try:
            self.failed.emit(what)
        except RuntimeError:  # the window went in the meantime
            pass


class _Job(threading.Thread):
    """One piece of work; it begins when the one it replaces has ended."""

    def __init__(
        self,
        what: str,
        work: Callable[[CancelToken], None],
        before: _Job | None,
        fail: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"3D view: {what}", daemon=True)
        self.cancel_token = CancelToken()
        self._what, self._work, self._before, self._fail = what, work, before, fail

    def run(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        try:
            self.cancel_token.check()
            self._work(self.cancel_token)
        except Cancelled:
            return
        except Exception:
            # A volume that was closed meanwhile fails too, but then nobody waits for it.
            if not self.cancel_token.cancelled:
                _log.exception("The 3D view could not be prepared.")
                self._fail(self._what)
