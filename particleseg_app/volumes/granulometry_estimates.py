"""How wide the particles of one block are: three estimates that fail in different ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particleseg_app.progress import CancelToken

_NECK_SHARE = 0.75
_NECK_STEP = 0.6
# Median diameter of the sections of a ball, in ball diameters.
_SECTION_OF_BALL = math.sqrt(3) / 2
# The largest ball inside an irregular particle is smaller than the ball of the same volume.
_INSCRIBED_TO_EQUIVALENT = 1.2
_CLUMPED = 1.5
# Wider than this many ordinary particles: a wall, a stone, not one of them.
_GIANT = 4.0


@dataclass(frozen=True)
class BlockEstimates:
    """Diameters in voxels, found in one block; `particles` is how many were counted.

    `inscribed` is the diameter of the largest ball in a particle, weighted like the others.
    """

    by_volume: float
    inscribed: float
    by_surface: float
    particles: int

    @property
    def clumped(self) -> bool:
        """Whether touching particles were taken for one: far more volume than an inner ball."""
        return self.by_volume > _CLUMPED * self.inscribed

    @property
    def combined(self) -> float:
        by_inscribed = self.inscribed * _INSCRIBED_TO_EQUIVALENT
        if self.clumped:
            # Volume and surface of clumps say nothing of particles; the inner ball still does.
            return by_inscribed
        return float(np.median([self.by_volume, by_inscribed, self.by_surface]))

    @property
    def spread(self) -> float:
        values = (self.by_volume, self.inscribed * _INSCRIBED_TO_EQUIVALENT, self.by_surface)
        return max(values) / min(values)

    def scaled(self, factor: float) -> BlockEstimates:
        """The same in other voxels, `factor` times as fine."""
        return BlockEstimates(
            by_volume=self.by_volume * factor,
            inscribed=self.inscribed * factor,
            by_surface=self.by_surface * factor,
            particles=self.particles,
        )


def measure_block(
    block: np.ndarray, threshold: float, thin: bool, cancel: CancelToken
) -> BlockEstimates | None:
    """The three estimates in voxels of the block, or None when it holds no measurable particle.

    `block`: grey values (z, y, x), one slice where `thin`. Particles are brighter than
    `threshold`. Raises `Cancelled`.
    """
    import cc3d
    import edt

    foreground = block > threshold
    # Specks of noise: bright ones in the matrix, dark ones inside particles.
    speck = 4 if thin else 12
    foreground = cc3d.dust(foreground.astype(np.uint8), speck, connectivity=6)
    foreground = 1 - cc3d.dust((1 - foreground).astype(np.uint8), 4 * speck, connectivity=6)
    share = float(foreground.mean())
    if not 0.005 < share < 0.985:
        return None
    cancel.check()
    plane = foreground[0] if thin else foreground
    distance = edt.edt(np.ascontiguousarray(plane), black_border=False, parallel=1)
    distance = distance.reshape(foreground.shape).astype(np.float32)
    cancel.check()
    found = _parted_particles(distance, thin, cancel)
    if found.volume.size == 0:
        return None
    if thin:
        equivalent = np.sqrt(4 * found.volume / math.pi) / _SECTION_OF_BALL
        inscribed = found.inscribed / _SECTION_OF_BALL
        # A slice meets particles as often as they are wide, so they are weighted already.
        weight = found.weight
    else:
        equivalent, inscribed = np.cbrt(6 * found.volume / math.pi), found.inscribed
        weight = found.weight * equivalent
    cancel.check()
    return BlockEstimates(
        by_volume=_weighted_median(equivalent, weight),
        inscribed=_weighted_median(inscribed, weight),
        by_surface=_surface_diameter(foreground, found.ordinary, thin),
        particles=int(found.volume.size),
    )


@dataclass(frozen=True)
class _Parted:
    """Voxel counts and largest inner balls (diameter) of whole particles, and what each counts.

    Large particles are cut by the block more often, so those that are whole count more: the
    inverse of the share of positions at which they would be whole. `ordinary` marks voxels of
    particles of all kinds (cut or whole), but not of container walls and other giants.
    """

    volume: np.ndarray
    inscribed: np.ndarray
    weight: np.ndarray
    ordinary: np.ndarray


def _parted_particles(distance: np.ndarray, thin: bool, cancel: CancelToken) -> _Parted:
    """Part the foreground, given by its distance map, at its necks."""
    from particleseg_app.volumes import granulometry_kernels as kernels

    top = np.empty(distance.size, np.int32)
    count = kernels.climb(distance, top)
    cancel.check()
    peak = kernels.peaks(distance, top, count)
    first, second, level = kernels.passes(distance, top)
    order = np.argsort(-level, kind="stable")
    owner = kernels.merge_summits(
        first[order], second[order], level[order], peak, _NECK_SHARE, _NECK_STEP
    )
    cancel.check()
    volume, box = kernels.measure(distance.shape, top, owner)
    shape = np.array(distance.shape)
    axes = [1, 2] if thin else [0, 1, 2]
    low, high = box[:, axes], box[:, [axis + 3 for axis in axes]]
    whole = (volume > 0) & (low > 0).all(axis=1) & (high < shape[axes] - 1).all(axis=1)
    whole &= peak > 1.0
    share = (high[whole] - low[whole] + 1) / shape[axes]
    # The distance reaches to the centre of the next background voxel, half a voxel too far.
    inscribed = 2 * np.maximum(peak - 0.5, 0) + 0.5
    giant = inscribed > _GIANT * np.median(inscribed[whole]) if whole.any() else volume < 0
    giant[0] = True  # the background
    return _Parted(
        volume=volume[whole].astype(np.float64),
        inscribed=inscribed[whole],
        weight=1 / np.prod(np.maximum(1 - share, 0.05), axis=1),
        ordinary=~giant[owner[top]].reshape(distance.shape),
    )


def _surface_diameter(foreground: np.ndarray, ordinary: np.ndarray, thin: bool) -> float:
    """Diameter of balls with the same volume per surface as all ordinary particles together."""
    faces = 0
    for axis in (1, 2) if thin else (0, 1, 2):
        inside, matrix = np.moveaxis(ordinary, axis, 0), np.moveaxis(foreground == 0, axis, 0)
        faces += int(np.count_nonzero(inside[1:] & matrix[:-1]))
        faces += int(np.count_nonzero(inside[:-1] & matrix[1:]))
    voxels = float(np.count_nonzero(ordinary))
    if not faces:
        return float(min(n for n in foreground.shape if n > 1))
    if thin:
        # A boundary of all directions has 4/π as many pixel edges as length.
        return 4 * voxels / (faces * math.pi / 4) / _SECTION_OF_BALL
    # A surface of all directions has 3/2 as many voxel faces as area.
    return 6 * voxels / (faces * 2 / 3)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    middle = np.searchsorted(cumulative, cumulative[-1] / 2)
    return float(values[order[min(int(middle), values.size - 1)]])
