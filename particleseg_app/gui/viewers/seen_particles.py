"""Which particles can be seen from a viewpoint, and their surfaces as fine as can be drawn.

With tens of thousands of particles only a fraction is seen at any time. Rays through the small
label volume find these; only they get surfaces, and the nearer one looks, the fewer there are and
the finer their surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.gui.viewers.ellipsoids import Ellipsoids
from particleseg_app.gui.viewers.label_look import LabelVisibility
from particleseg_app.gui.viewers.particle_surfaces import ParticleSurfaces, particle_surfaces
from particleseg_app.gui.viewers.slice_reader import SliceVolume
from particleseg_app.gui.viewers.volume_preview import (
    only_labels,
    preview_step,
    read_labels_preview,
    thinned,
)
from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape

RAYS = 26_000
RAY_STEP = 0.7  # in voxels of the small volume
LEAST_EDGE = 4.0  # voxels across a typical particle whose surface beats its ellipsoid
TRIANGLES_OF_UNIT = 14.5  # of a rounded particle one voxel across; goes with its surface
MOST_OF_THEM = 0.6  # a share of surfaces below which all better look alike


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """Where a scene is looked at from.

    `near` and `far` (4, 3): points (x, y, z) in voxels of the full volume, on two planes across
    the view, at the corners upper left, upper right, lower left and lower right of the picture;
    `aspect` its width over its height. Points where `clip` (a, b, c, d) gives
    a·x + b·y + c·z + d < 0 are cut away.
    """

    near: np.ndarray
    far: np.ndarray
    aspect: float
    clip: tuple[float, float, float, float]
    visibility: LabelVisibility


@dataclass(frozen=True, eq=False)
class SeenSurfaces:
    """Surfaces of the particles `labels` (n,), the ones that are seen from a viewpoint."""

    labels: np.ndarray
    surfaces: ParticleSurfaces
    viewpoint: Viewpoint


def seen_labels(labels: np.ndarray, step: int, view: Viewpoint, cancel: CancelToken) -> np.ndarray:
    """Particles (n,) of a small label volume (z, y, x) that rays from the viewpoint meet first.

    Those that take most of the picture come first.
    """
    starts, directions, lengths = _rays(labels.shape, step, view)
    shown = view.visibility
    met = np.zeros(len(starts), np.uint32)
    alive = np.arange(len(starts))
    ends = np.array(labels.shape[::-1])
    travelled = 0.0
    while alive.size:
        cancel.check()
        at = (starts[alive] + travelled * directions[alive]).astype(np.int32)
        np.clip(at, 0, ends - 1, out=at)
        found = labels[at[:, 2], at[:, 1], at[:, 0]]
        if not shown.everything:
            found = shown.only_shown(found)
        hit = found != 0
        met[alive[hit]] = found[hit]
        travelled += RAY_STEP
        alive = alive[~hit & (lengths[alive] > travelled)]
    seen, rays = np.unique(met[met != 0], return_counts=True)
    return seen[np.argsort(-rays, kind="stable")]


def seen_surfaces(
    volume: SliceVolume,
    labels: np.ndarray,
    step: int,
    whole: Ellipsoids,
    view: Viewpoint,
    most_triangles: int,
    most_voxels: int,
    cancel: CancelToken,
) -> SeenSurfaces | None:
    """Surfaces of what is seen, with at most about `most_triangles`.

    `labels` is the small copy of `volume`, every `step`-th voxel, and `whole` the particles in
    it. Where what is seen fills a small part of the volume only, that part is read again more
    finely, with at most `most_voxels`. None where nothing is seen, or so many particles that
    surfaces of them would have to be worse than their ellipsoids.
    """
    seen = seen_labels(labels, step, view, cancel)
    if not seen.size:
        return None
    rows = np.searchsorted(whole.labels, seen)
    edges = np.cbrt(whole.volumes[rows])
    triangles = np.cumsum(TRIANGLES_OF_UNIT * edges**2)  # with every voxel read
    needed = max(1, int(np.ceil(np.sqrt(triangles[-1] / most_triangles))))
    coarsest = max(1, int(np.median(edges) / LEAST_EDGE))
    finer = min(needed, coarsest)
    fit = int(np.searchsorted(triangles / finer**2, most_triangles))
    if fit < MOST_OF_THEM * len(seen):
        return None
    seen, rows = seen[:fit], rows[:fit]
    boxes = whole.boxes[rows]
    # A voxel of the copy more on each side, because a particle ends between two of them.
    low = np.maximum(boxes[:, :3].min(axis=0) - 1, 0)
    high = np.minimum(boxes[:, 3:].max(axis=0) + 1, labels.shape)
    first, end = low * step, np.minimum(high * step, volume.shape)
    box = Box(tuple(int(v) for v in first), tuple(int(v) for v in end))  # type: ignore[arg-type]
    finer = max(finer, preview_step(box.shape, most_voxels))
    if np.median(edges) / finer < LEAST_EDGE:
        return None
    if finer < step:
        part = read_labels_preview(PartOfVolume(volume, box), finer, cancel)
    else:
        finer = step * (finer // step)
        part = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        part = thinned(part, finer // step)
    surfaces = particle_surfaces(only_labels(part, seen), finer, cancel)
    surfaces.vertices[:] += first[::-1].astype(np.float32)
    # What is too small for this resolution stays an ellipsoid.
    return SeenSurfaces(np.unique(surfaces.labels), surfaces, view)


class PartOfVolume:
    """A box of a volume, read as if it were a volume of its own."""

    def __init__(self, volume: SliceVolume, box: Box) -> None:
        self._volume, self._box = volume, box
        self.shape: Shape = box.shape
        self.dtype = volume.dtype

    def read(self, box: Box) -> np.ndarray:
        whole = box.moved(self._box.start)
        if hasattr(self._volume, "read"):
            labels: np.ndarray = self._volume.read(whole)
            return labels
        z, y, x = whole.slices
        return np.stack(
            [self._volume.read_slice(0, index)[y, x] for index in range(z.start, z.stop)]
        )

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        start, stop = [0, 0, 0], list(self.shape)
        start[axis], stop[axis] = index, index + 1
        box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
        return self.read(box).squeeze(axis)


def _rays(
    shape: tuple[int, ...], step: int, view: Viewpoint
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts (n, 3), unit directions (n, 3) and lengths (n,) of rays inside the small volume."""
    columns = max(2, round(np.sqrt(RAYS * view.aspect)))
    rows = max(2, round(RAYS / columns))
    across = (np.arange(columns) + 0.5) / columns
    down = (np.arange(rows) + 0.5) / rows
    v, u = (a.reshape(-1, 1) for a in np.meshgrid(down, across, indexing="ij"))
    near, far = (
        (1 - v) * ((1 - u) * c[0] + u * c[1]) + v * ((1 - u) * c[2] + u * c[3])
        for c in (view.near / step, view.far / step)
    )
    directions = far - near
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    safe = np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    ends = np.array(shape[::-1], float)
    faces = np.stack([(0 - near) / safe, (ends - near) / safe])
    first = np.maximum(faces.min(axis=0).max(axis=1), 0.0)
    last = faces.max(axis=0).min(axis=1)
    a = np.array(view.clip[:3])
    if a.any():
        gain = directions @ a
        here = near @ a + view.clip[3] / step
        cut = -here / np.where(np.abs(gain) < 1e-9, 1e-9, gain)
        first = np.where(gain > 0, np.maximum(first, cut), first)
        last = np.where(gain < 0, np.minimum(last, cut), last)
    inside = last > first
    starts = near[inside] + first[inside, None] * directions[inside]
    return starts, directions[inside], (last - first)[inside]
