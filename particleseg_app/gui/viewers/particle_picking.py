"""Which particle a ray through the 3D view meets first."""

from __future__ import annotations

import numpy as np

from particleseg_app.gui.viewers.label_look import LabelVisibility


def first_label_on_ray(
    labels: np.ndarray,
    step: float,
    start: np.ndarray,
    direction: np.ndarray,
    visibility: LabelVisibility | None = None,
    clip: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
) -> int:
    """First particle that a ray meets in a small label volume (z, y, x), 0 for none.

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
        return 0
    distances = np.arange(max(first, 0.0), last, 0.35)
    points = origin + distances[:, None] * slope
    places = np.floor(points).astype(np.int64)
    inside = ((places >= 0) & (places < ends)).all(axis=1)
    inside &= step * (points @ np.array(clip[:3])) + clip[3] >= 0
    x, y, z = places[inside].T
    met = labels[z, y, x]
    if visibility is not None:
        met = visibility.only_shown(met)
    hits = np.flatnonzero(met)
    return int(met[hits[0]]) if hits.size else 0
