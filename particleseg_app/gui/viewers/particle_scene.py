"""The particles of a label volume made ready for the 3D view, and brought up to date after mends.

Few particles get surfaces once and for all. Where surfaces of all particles would have to be so
coarse that each is a few voxels wide, they are ellipsoids, and only those that are seen get
surfaces (`seen_particles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from particleseg_app.gui.viewers.ellipsoids import Ellipsoids, ellipsoids
from particleseg_app.gui.viewers.particle_surfaces import (
    ParticleSurfaces,
    count_surface_faces,
    joined_surfaces,
    particle_surfaces,
    surfaces_of_label,
    surfaces_without,
)
from particleseg_app.gui.viewers.slice_reader import SliceVolume
from particleseg_app.gui.viewers.volume_preview import (
    only_labels,
    preview_step,
    read_labels_preview,
    reread_labels_preview,
    thinned,
)
from particleseg_app.progress import CancelToken
from particleseg_app.units import Box

LABEL_VOXELS = 192**3
CROWD_EDGE = 3.0  # voxels across an average particle below which surfaces are not worth drawing
ONE_PARTICLE_VOXELS = 64**3


@dataclass(frozen=True)
class DrawingBudget:
    """How much can be drawn: triangles at rest and in motion, voxels of the scan.

    `seen_voxels`: how many voxels are read for the surfaces of what is seen.
    """

    triangles: int
    triangles_in_motion: int
    grey_voxels: int
    seen_voxels: int = LABEL_VOXELS


HARDWARE = DrawingBudget(2_500_000, 2_500_000, 256**3, 256**3)
SOFTWARE = DrawingBudget(420_000, 80_000, 128**3)


@dataclass(frozen=True, eq=False)
class ParticleScene:
    """What is drawn of all particles, and the small label volume it came from, for picking.

    `step` voxels of the volume are one of `labels`; the surfaces are made of every `thinning`-th
    and `coarse_thinning`-th of these. With `ellipsoids` there are no surfaces of all particles.
    """

    surfaces: ParticleSurfaces
    coarse: ParticleSurfaces | None
    labels: np.ndarray
    step: int
    thinning: int = 1
    coarse_thinning: int = 1
    ellipsoids: Ellipsoids | None = None

    @property
    def empty(self) -> bool:
        return not len(self.surfaces.triangles) and self.ellipsoids is None

    def surface_of(self, label: int) -> ParticleSurfaces | None:
        """The surface of one particle, or None if it has none at this resolution."""
        if self.ellipsoids is None:
            return surfaces_of_label(self.surfaces, label)
        place = self.ellipsoids.place_of(label)
        if place is None:
            return None
        low, high = self.ellipsoids.boxes[place, :3], self.ellipsoids.boxes[place, 3:]
        own = self.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        thin = preview_step(own.shape, ONE_PARTICLE_VOXELS)
        own = thinned(np.where(own == label, own, np.uint32(0)), thin)
        surface = particle_surfaces(own, self.step * thin)
        if not len(surface.triangles):
            return None
        surface.vertices[:] += (low[::-1] * self.step).astype(np.float32)
        return surface


def particle_scene(
    volume: SliceVolume, budget: DrawingBudget, cancel: CancelToken
) -> ParticleScene:
    """What can be drawn of all particles within the budget."""
    step = preview_step(volume.shape, LABEL_VOXELS)
    return _scene_of(read_labels_preview(volume, step, cancel), step, budget, cancel)


def mended_scene(
    before: ParticleScene,
    volume: SliceVolume,
    changed: Sequence[Box] | None,
    budget: DrawingBudget,
    cancel: CancelToken,
) -> ParticleScene:
    """A scene brought up to date after changes inside the boxes `changed` (None: anywhere).

    Only those boxes are read, and only particles that gained or lost voxels are made anew. Returns
    `before` itself where nothing changed at its resolution.
    """
    labels = reread_labels_preview(volume, before.step, before.labels, changed, cancel)
    differ = labels != before.labels
    if not differ.any():
        return before
    touched = np.union1d(labels[differ], before.labels[differ])
    touched = touched[touched != 0]
    if before.empty or not touched.size:
        return _scene_of(labels, before.step, budget, cancel)
    cancel.check()
    own = only_labels(labels, touched)
    box = _bounds((own != 0) | (only_labels(before.labels, touched) != 0))
    if before.ellipsoids is not None:
        return replace(
            before, labels=labels, ellipsoids=_mended_ellipsoids(before, own, box, touched, cancel)
        )

    def mended(surfaces: ParticleSurfaces, thinning: int) -> ParticleSurfaces:
        # On the same lattice as before, so that nothing else moves.
        first = [a // thinning * thinning for a in box.start]
        end = [-(-b // thinning) * thinning for b in box.stop]
        part = own[tuple(slice(a, b) for a, b in zip(first, end, strict=True))]
        new = particle_surfaces(thinned(part, thinning), before.step * thinning, cancel)
        new.vertices[:] += np.array(first[::-1], np.float32) * before.step
        return joined_surfaces(surfaces_without(surfaces, touched), new)

    coarse = before.coarse
    return replace(
        before,
        labels=labels,
        surfaces=mended(before.surfaces, before.thinning),
        coarse=None if coarse is None else mended(coarse, before.coarse_thinning),
    )


def _scene_of(
    labels: np.ndarray, step: int, budget: DrawingBudget, cancel: CancelToken
) -> ParticleScene:
    triangles = 2 * count_surface_faces(labels)
    fine = _thinning(triangles, budget.triangles)
    further = _thinning(triangles, budget.triangles_in_motion)
    if fine > 1:
        cancel.check()
        whole = ellipsoids(labels, step, cancel)
        edge = (np.count_nonzero(labels) / max(1, len(whole.labels))) ** (1 / 3)
        if edge / max(further, fine + 1) < CROWD_EDGE:
            nothing = particle_surfaces(np.zeros((1, 1, 1), np.uint32), 1.0)
            return ParticleScene(nothing, None, labels, step, fine, further, whole)
    surfaces = particle_surfaces(thinned(labels, fine), step * fine, cancel)
    coarse = None
    if len(surfaces.triangles) > budget.triangles_in_motion:
        further = max(fine + 1, further)
        coarse = particle_surfaces(thinned(labels, further), step * further, cancel)
    return ParticleScene(surfaces, coarse, labels, step, fine, further)


def _thinning(triangles: int, most_triangles: int) -> int:
    """Every how many voxels to keep so that of `triangles` about `most_triangles` are left."""
    factor = 1
    while triangles / factor**2 > most_triangles:
        factor += 1
    return factor


def _mended_ellipsoids(
    before: ParticleScene, own: np.ndarray, box: Box, touched: np.ndarray, cancel: CancelToken
) -> Ellipsoids:
    """The ellipsoids with those of the particles `touched` measured anew inside `box`."""
    old = before.ellipsoids
    assert old is not None
    new = ellipsoids(own[box.slices], before.step, cancel)
    kept = ~np.isin(old.labels, touched)
    labels = np.concatenate([old.labels[kept], new.labels])
    order = np.argsort(labels)
    shift = np.array(box.start[::-1], np.float32) * before.step
    return Ellipsoids(
        labels=labels[order],
        centres=np.concatenate([old.centres[kept], new.centres + shift])[order],
        forms=np.concatenate([old.forms[kept], new.forms])[order],
        boxes=np.concatenate([old.boxes[kept], new.boxes + np.tile(box.start, 2)])[order],
    )


def _bounds(mask: np.ndarray) -> Box:
    """The smallest box that holds every true voxel of a mask that has some."""
    start, stop = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        places = np.flatnonzero(mask.any(axis=others))
        start.append(int(places[0]))
        stop.append(int(places[-1]) + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
