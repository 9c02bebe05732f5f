"""How much of its convex hull a body fills."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particleseg_app.units import Shape

_HULL_EDGE = 40  # voxels along the longest edge that are enough for a hull


@dataclass(frozen=True)
class Hulled:
    """What a body adds to a hull: how many voxels it has, and `corners` (n, 3) of voxels that have
    the same hull as the body. Both of voxels that are thinned."""

    count: int
    corners: np.ndarray

    def spanned(self) -> Hulled:
        """The same with no more corners than the hull has."""
        hull = _hull(self.corners) if self.count else None
        return self if hull is None else Hulled(self.count, hull.points[hull.vertices])


def solidity(mask: np.ndarray) -> float:
    """Volume over that of the convex hull of the voxels of a bool mask (z, y, x), corners
    included; 1 for a convex body. Large masks are thinned."""
    step = thinning(mask.shape)
    return solidity_of([hulled(mask[::step, ::step, ::step])])


def solidity_of(bodies: list[Hulled]) -> float:
    """The solidity of disjoint bodies together, thinned on one grid."""
    count = sum(body.count for body in bodies)
    if count < 2:
        return 1.0
    hull = _hull(np.concatenate([body.corners for body in bodies]))
    return 1.0 if hull is None else float(min(1.0, count / hull.volume))


def thinning(shape: Shape) -> int:
    """Every how many voxels of a crop a hull needs."""
    return max(1, math.ceil(max(shape) / _HULL_EDGE))


def hulled(thin: np.ndarray, start: Shape = (0, 0, 0)) -> Hulled:
    """What the voxels of a thinned mask (z, y, x), which begins at `start`, add to a hull."""
    z, y = np.nonzero(thin.any(axis=2))
    if not z.size:
        return Hulled(0, np.zeros((0, 3), np.int64))
    rows = thin[z, y]
    low = rows.argmax(axis=1)
    high = thin.shape[2] - rows[:, ::-1].argmax(axis=1)
    corners = np.concatenate(
        [
            np.stack([z + dz, y + dy, x], axis=1)
            for dz in (0, 1)
            for dy in (0, 1)
            for x in (low, high)
        ]
    )
    return Hulled(int(thin.sum()), np.unique(corners, axis=0) + np.array(start))


def _hull(corners: np.ndarray):  # type: ignore[no-untyped-def]  # scipy has no types
    from scipy.spatial import ConvexHull, QhullError

    try:
        return ConvexHull(corners)
    except QhullError:  # pragma: no cover - voxel corners always span a volume
        return None
