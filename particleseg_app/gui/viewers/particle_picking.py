"""Which particle a ray through the 3D view meets first."""

from __future__ import annotations

import numpy as np

from particleseg_app.gui.viewers.label_look import LabelVisibility

NO_CLIP = (0.0, 0.0, 0.0, 1.0)


def first_hit_on_ray(
    labels: np.ndarray,
    step: float,
    start: np.ndarray,
    direction: np.ndarray,
    visibility: LabelVisibility | None = None,
    clip: tuple[float, float, float, float] = NO_CLIP,
) -> tuple[int, tuple[float, float, float] | None]:
    """First particle that a ray meets in a small label volume (z, y, x), and a point in it.

    0 and None where it meets none. The point (z, y, x), in voxels of the full volume, is the middle
    of the way through the particle, so that it lies well inside it.

    `start` and `direction` are (x, y, z) in voxels of the full volume, `step` of them a voxel of
    `labels`. Particles that `visibility` hides are passed through, and so are points where
    `clip` (a, b, c, d) gives a·x + b·y + c·z + d < 0.
    """
    ends = np.array(labels.shape[::-1], float)
    origin = np.asarray(start, float) / step
    slope = np.asarray(direction, float)
    slope = slope / max(float(np.linalg.norm(slope)), 1e-12)
    safe = np.where(np.abs(slope) < 1e-12, 1e-12, slope)
    entries = np.sort(np.stack([(0 - origin) / safe, (ends - origin) / safe]), axis=0)
    first, last = float(entries[0].max()), float(entries[1].min())
    if last <= max(first, 0.0):
        return 0, None
    distances = np.arange(max(first, 0.0), last, 0.35)
    points = origin + distances[:, None] * slope
    places = np.floor(points).astype(np.int64)
    inside = ((places >= 0) & (places < ends)).all(axis=1)
    inside &= step * (points @ np.array(clip[:3])) + clip[3] >= 0
    points = points[inside]
    x, y, z = places[inside].T
    met = labels[z, y, x]
    if visibility is not None:
        met = visibility.only_shown(met)
    hits = np.flatnonzero(met)
    if not hits.size:
        return 0, None
    first_hit = hits[0]
    leaves = np.flatnonzero(met[first_hit:] != met[first_hit])
    beyond = first_hit + leaves[0] if leaves.size else met.size
    column, row, depth = (step * points[(first_hit + beyond - 1) // 2]).tolist()
    return int(met[first_hit]), (depth, row, column)
