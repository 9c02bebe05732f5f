"""Every particle as an ellipsoid: what a very large number of particles is drawn as in motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.progress import CancelToken

SEMI_AXIS = 5.0  # a solid ellipsoid's squared semi-axis is five times the variance along it


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """Particles as ellipsoids with their own middle and second moments.

    `labels` (n,) uint32 ascending; `centres` (n, 3) float32 with columns (x, y, z) and `forms`
    (n, 6) float32, in voxels of the full volume: the symmetric matrix xx, xy, xz, yy, yz, zz
    whose eigenvalues are the squared semi-axes. `boxes` (n, 6): first and end voxel (z, y, x) of
    each particle in the small volume it was measured in.
    """

    labels: np.ndarray
    centres: np.ndarray
    forms: np.ndarray
    boxes: np.ndarray

    @property
    def volumes(self) -> np.ndarray:
        """Volumes (n,) in voxels of the full volume."""
        xx, xy, xz, yy, yz, zz = self.forms.astype(np.float64).T
        squared = xx * (yy * zz - yz**2) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
        result: np.ndarray = 4 / 3 * np.pi * np.sqrt(np.maximum(squared, 0.0))
        return result

    def place_of(self, label: int) -> int | None:
        """The row of a particle, or None if it is not there."""
        place = int(np.searchsorted(self.labels, label))
        found = place < len(self.labels) and self.labels[place] == label
        return place if found else None


def ellipsoids(labels: np.ndarray, step: int, cancel: CancelToken) -> Ellipsoids:
    """Ellipsoids of all particles of a label volume (z, y, x) sampled every `step` voxels."""
    import fastremap

    compact, mapping = fastremap.renumber(labels, preserve_zero=True, in_place=False)
    cancel.check()
    numbers = np.zeros(len(mapping) + 1, np.uint32)
    for label, place in mapping.items():
        numbers[int(place)] = label
    numbers = numbers[: int(compact.max(initial=0)) + 1]
    count = len(numbers)
    flat = np.flatnonzero(compact)
    owner = compact.reshape(-1)[flat].astype(np.intp)
    places = np.unravel_index(flat, compact.shape)
    del compact
    cancel.check()
    sizes = np.maximum(np.bincount(owner, minlength=count), 1).astype(np.float64)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(1, count))
    boxes = np.zeros((count, 6), np.int64)
    means = np.zeros((count, 3))
    for axis in range(3):
        cancel.check()
        sums = np.bincount(owner, weights=places[axis], minlength=count)
        means[:, axis] = sums / sizes
        if count > 1:
            along = places[axis][order]
            boxes[1:, axis] = np.minimum.reduceat(along, starts)
            boxes[1:, 3 + axis] = np.maximum.reduceat(along, starts) + 1
    away = [places[axis] - means[owner, axis] for axis in range(3)]
    forms = np.zeros((count, 6))
    for column, (a, b) in enumerate(((2, 2), (2, 1), (2, 0), (1, 1), (1, 0), (0, 0))):
        cancel.check()
        forms[:, column] = np.bincount(owner, weights=away[a] * away[b], minlength=count) / sizes
    forms[:, [0, 3, 5]] += 1 / 12  # a voxel is a cube, not a point
    by_label = np.argsort(numbers[1:]) + 1
    return Ellipsoids(
        labels=numbers[by_label],
        centres=((means[by_label][:, ::-1] + 0.5) * step).astype(np.float32),
        forms=(SEMI_AXIS * step**2 * forms[by_label]).astype(np.float32),
        boxes=boxes[by_label],
    )
