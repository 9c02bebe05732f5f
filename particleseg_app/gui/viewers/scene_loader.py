"""Prepares what the 3D view shows, in a background thread, newest wish first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QObject, Signal

from particleseg_app.errors import Cancelled
from particleseg_app.gui.viewers.particle_surfaces import (
    ParticleSurfaces,
    count_surface_faces,
    particle_surfaces,
)
from particleseg_app.gui.viewers.slice_reader import SliceVolume
from particleseg_app.gui.viewers.volume_preview import (
    preview_step,
    read_grey_preview,
    read_labels_preview,
)
from particleseg_app.progress import CancelToken

LABEL_VOXELS = 192**3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrawingBudget:
    """How much can be drawn: triangles at rest and in motion, voxels of the scan."""

    triangles: int
    triangles_in_motion: int
    grey_voxels: int


HARDWARE = DrawingBudget(2_500_000, 2_500_000, 256**3)
SOFTWARE = DrawingBudget(420_000, 80_000, 128**3)


@dataclass(frozen=True, eq=False)
class ParticleScene:
    """Surfaces ready to be drawn, and the small label volume they came from, for picking."""

    surfaces: ParticleSurfaces
    coarse: ParticleSurfaces | None
    labels: np.ndarray
    step: int


@dataclass(frozen=True, eq=False)
class GreyScene:
    grey: np.ndarray
    step: int


class SceneLoader(QObject):
    """Reads and prepares volumes in the background.

    Signals: `particles_ready` with a `ParticleScene`, `scan_ready` with a `GreyScene`, `failed`
    with ``particles`` or ``scan``. A newer call replaces what an older one still prepares.
    """

    particles_ready = Signal(object)
    scan_ready = Signal(object)
    failed = Signal(str)

    def __init__(self, budget: DrawingBudget, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.budget = budget
        self._jobs: dict[str, _Job] = {}

    def prepare_particles(self, labels: SliceVolume) -> None:
        def work(cancel: CancelToken) -> None:
            prepared = particle_scene(labels, self.budget, cancel)
            cancel.check()
            self.particles_ready.emit(prepared)

        self._begin("particles", work)

    def prepare_scan(self, scan: SliceVolume, low: float, high: float) -> None:
        def work(cancel: CancelToken) -> None:
            step = preview_step(scan.shape, self.budget.grey_voxels)
            grey = read_grey_preview(scan, step, low, high, cancel)
            cancel.check()
            self.scan_ready.emit(GreyScene(grey, step))

        self._begin("scan", work)

    def cancel(self, what: str) -> None:
        """Stop preparing ``particles`` or ``scan``; returns at once."""
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


def particle_scene(
    volume: SliceVolume, budget: DrawingBudget, cancel: CancelToken
) -> ParticleScene:
    """Surfaces of all particles, coarse enough to be drawn within the budget."""
    step = preview_step(volume.shape, LABEL_VOXELS)
    labels = read_labels_preview(volume, step, cancel)
    fine = _thinning(labels, budget.triangles)
    surfaces = particle_surfaces(_thinned(labels, fine), step * fine, cancel)
    coarse = None
    if len(surfaces.triangles) > budget.triangles_in_motion:
        further = max(fine + 1, _thinning(labels, budget.triangles_in_motion))
        coarse = particle_surfaces(_thinned(labels, further), step * further, cancel)
    return ParticleScene(surfaces, coarse, labels, step)


def _thinning(labels: np.ndarray, most_triangles: int) -> int:
    """Every how many voxels to keep so that the surfaces have at most about so many triangles."""
    triangles = 2 * count_surface_faces(labels)
    factor = 1
    while triangles / factor**2 > most_triangles:
        factor += 1
    return factor


def _thinned(labels: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return labels
    places = [np.minimum(np.arange(0, n, factor) + factor // 2, n - 1) for n in labels.shape]
    return labels[np.ix_(*places)]
