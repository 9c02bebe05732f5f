"""From where particles are seen best that others stand round: the direction with least before them.

Voxels are thrown on a screen across each direction, and of every place there counts what is
nearest to the viewer. Depths are those of voxels, so it is a matter of counting, not of drawing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

Direction = tuple[float, float]  # azimuth and elevation in degrees, as of the camera

USUAL: Direction = (-38.0, 28.0)
AZIMUTHS = tuple(USUAL[0] + 45 * turn for turn in range(8))
ELEVATIONS = (USUAL[1], 62.0)
# One always looks from the same side unless another one shows much more.
WORTH_TURNING = 1.15
# Labels are thinned to about so many: this is done before a case is painted.
MOST_VOXELS = 32**3


def towards_viewer(direction: Direction) -> np.ndarray:
    """The unit vector (x, y, z) from the scene to the viewer; z points down."""
    azimuth, elevation = (math.radians(angle) for angle in direction)
    level = math.cos(elevation)
    return np.array([-math.sin(azimuth) * level, -math.cos(azimuth) * level, -math.sin(elevation)])


def clearest_direction(labels: np.ndarray, asked: Iterable[int]) -> Direction:
    """The direction from which most can be seen of the particles `asked` about.

    `labels` (z, y, x) are all that is drawn. The usual direction where there is hardly a better
    one, or nothing to see.
    """
    step = max(1, math.ceil((labels.size / MOST_VOXELS) ** (1 / 3)))
    thinned = np.ascontiguousarray(labels[::step, ::step, ::step])
    places = np.argwhere(thinned)[:, ::-1].astype(np.float32)  # (x, y, z)
    wanted = np.isin(thinned[thinned > 0], list(asked))
    if not wanted.any() or wanted.all():
        return USUAL
    seen = {
        direction: _visible_share(places, wanted, towards_viewer(direction))
        for direction in itertools.product(AZIMUTHS, ELEVATIONS)
    }
    best = max(seen, key=lambda direction: seen[direction])
    return best if seen[best] > WORTH_TURNING * seen[USUAL] else USUAL


def _visible_share(places: np.ndarray, wanted: np.ndarray, towards: np.ndarray) -> float:
    """How much of the outline of the wanted voxels has none of the others before it."""
    across = np.cross(towards, (0.0, 0.0, 1.0))
    across /= np.linalg.norm(across)
    up = np.cross(across, towards)
    screen = np.floor(places @ np.stack([across, up], 1).astype(np.float32)).astype(np.int64)
    screen -= screen.min(axis=0)
    width = int(screen[:, 0].max()) + 1
    pixels = screen[:, 1] * width + screen[:, 0]
    depth = places @ towards.astype(np.float32)
    nearest = np.full(int(pixels.max()) + 1, -np.inf, np.float32)
    before = nearest.copy()
    np.maximum.at(nearest, pixels[wanted], depth[wanted])
    np.maximum.at(before, pixels[~wanted], depth[~wanted])
    outline = np.isfinite(nearest)
    return float((nearest[outline] > before[outline]).mean())
