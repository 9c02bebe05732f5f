"""Proposes the diameter of an average particle from a few blocks of a scan.

Each block is smoothed a little, parted into particles and matrix by one threshold, and its
particles are parted at their necks. A particle counts as much as it is wide, as it would if one
measured what is seen in slices. Three estimates that fail in different ways are then compared:
the volume of the parted particles, the largest ball inside each of them, and volume over surface
of all of them together. What they and the blocks disagree by is how unsure the proposal is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.grey_statistics import otsu

if TYPE_CHECKING:
    from particleseg_app.volumes.scan import Scan

_BLOCK_EDGE = 160
_SLICE_EDGE = 640
# How many blocks at which reduction (0.5 enlarges).
_BLOCK_COUNTS = {0.5: 4, 1.0: 6, 2.0: 3, 4.0: 2}
# Stacks thinner than this are judged slice by slice, because all particles in them are cut.
_THIN = 32
_LARGEST_REDUCTION = 4
# Particles narrower than this touch over more than their necks: the scan is enlarged first.
_NARROW = 16.0
# Particles wider than this share of a block are too few in it: the scan is reduced first.
_WIDE_SHARE = 0.28
_NECK_SHARE = 0.75
_NECK_STEP = 0.6
_SMALLEST_DIAMETER = 4.0
# Median diameter of the sections of a ball, in ball diameters.
_SECTION_OF_BALL = math.sqrt(3) / 2
# The largest ball inside an irregular particle is smaller than the ball of the same volume.
_INSCRIBED_TO_EQUIVALENT = 1.2
_CLUMPED = 1.5
# Wider than this many ordinary particles: a wall, a stone, not one of them.
_GIANT = 4.0


@dataclass(frozen=True)
class DiameterProposal:
    """Diameter of an average particle in voxels, the range it probably lies in, and
    how sure that is: "good", "fair" or "poor". `explanation` is a sentence for the user."""

    diameter_voxels: float
    low: float
    high: float
    confidence: str
    explanation: str


@dataclass(frozen=True)
class _BlockResult:
    """Estimates (voxels of the scan) of one block; `particles` is how many were counted.

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


def propose_diameter(scan: Scan, cancel: CancelToken) -> DiameterProposal | None:
    """Granulometry of a few blocks of `scan`; None when nothing like particles is found.

    Particles are what is brighter than the threshold. Takes seconds; raises `Cancelled`.
    """
    thin = scan.shape[0] < _THIN
    reduction = 1.0
    while True:
        first_look = _measure_blocks(scan, reduction, thin, 2, cancel)
        if not first_look:
            break
        diameter = float(np.median([r.combined for r in first_look]))
        edge = _block_edge(reduction, thin)
        if diameter < _NARROW and reduction == 1.0:
            reduction = 0.5
            break
        wide = diameter > _WIDE_SHARE * edge
        room = max(scan.shape[1:] if thin else scan.shape) > edge
        if not (wide and room and reduction < _LARGEST_REDUCTION):
            break
        reduction *= 2
    results = _measure_blocks(scan, reduction, thin, _BLOCK_COUNTS[reduction], cancel)
    return _proposal(results, thin) if results else None


def _proposal(results: list[_BlockResult], thin: bool) -> DiameterProposal:
    combined = np.array([r.combined for r in results])
    weights = np.sqrt([r.particles for r in results])
    diameter = float(np.exp(np.average(np.log(combined), weights=weights)))
    between_blocks = float(np.exp(np.std(np.log(combined))))
    between_estimates = float(np.median([r.spread for r in results]))
    particles = sum(r.particles for r in results)
    factor = max(1.1, between_blocks, math.sqrt(between_estimates))
    doubts = []
    clumped = float(np.mean([r.clumped for r in results]))
    if clumped > 0.3:
        doubts.append("touching particles could not be told apart well")
    elif between_estimates > 1.6:
        doubts.append("different ways of measuring disagree")
    if len(results) > 1 and between_blocks > 1.25:
        doubts.append("parts of the scan differ")
    if particles < 30:
        doubts.append("so few whole particles were seen")
    if diameter < 6:
        doubts.append("the particles are only a few voxels wide")
    if thin:
        doubts.append("the stack is thin, so particles were measured in single slices")
    very_unsure = (
        between_estimates > 2.6
        or between_blocks > 1.6
        or particles < 8
        or diameter < _SMALLEST_DIAMETER
    )
    confidence = "poor" if very_unsure or len(doubts) > 2 else "fair" if doubts else "good"
    where = f"{_counted(particles, 'particle')} in {_counted(len(results), 'part')} of the scan"
    explanation = f"Measured on {where}" + (
        f"; {', and '.join(doubts)}." if doubts else "; all measurements agree."
    )
    return DiameterProposal(
        diameter_voxels=diameter,
        low=diameter / factor,
        high=diameter * factor,
        confidence=confidence,
        explanation=explanation,
    )


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _measure_blocks(
    scan: Scan, reduction: float, thin: bool, count: int, cancel: CancelToken
) -> list[_BlockResult]:
    blocks = []
    for box in _spread_boxes(scan.shape, reduction, thin, count):
        cancel.check()
        blocks.append(_read_reduced(scan, box, reduction, cancel))
    threshold = _common_threshold(blocks)
    if threshold is None:
        return []
    results = []
    for block in blocks:
        cancel.check()
        found = _measure_block(block, threshold, thin, cancel)
        if found is not None:
            results.append(_scaled(found, reduction))
    return results


def _block_edge(reduction: float, thin: bool) -> int:
    return int((_SLICE_EDGE if thin else _BLOCK_EDGE) * reduction)


def _spread_boxes(shape: Shape, reduction: float, thin: bool, count: int) -> list[Box]:
    """Boxes spread over the inner part of the scan, different ones along each axis."""
    edge, step = _block_edge(reduction, thin), max(1, int(reduction))
    sizes = [min(n, edge) // step * step for n in shape]
    if thin:
        sizes[0] = 1
    places = []
    for axis, (length, size) in enumerate(zip(shape, sizes, strict=True)):
        # Keep away from the outer tenth, where container walls and artefacts are.
        margin = min(length // 10, (length - size) // 2)
        room = length - size - 2 * margin
        # Steps of different length along each axis spread the boxes without a regular grid.
        order = [(i * (1, 5, 2)[axis]) % count for i in range(count)]
        places.append(
            [margin + (room * position // (count - 1) if count > 1 else room // 2)
             for position in order]
        )  # fmt: skip
    boxes = []
    for start in zip(*places, strict=True):
        stop = tuple(a + n for a, n in zip(start, sizes, strict=True))
        box = Box(start, stop)
        if box not in boxes:
            boxes.append(box)
    return boxes


def _read_reduced(scan: Scan, box: Box, reduction: float, cancel: CancelToken) -> np.ndarray:
    """Grey values of `box` as float32: smoothed a little, or enlarged twice (reduction 0.5), or
    averaged over cubes of voxels (reduction 2 and more; squares where `box` is one slice)."""
    from scipy import ndimage

    flat = box.shape[0] == 1
    if reduction <= 1:
        values = scan.read(box).astype(np.float32)
        smoothing = 0.7 if reduction == 1 else 0.5
        sigma = (0.0 if flat else smoothing, smoothing, smoothing)
        smoothed: np.ndarray = ndimage.gaussian_filter(values, sigma, truncate=2.5)
        if reduction == 1:
            return smoothed
        cancel.check()
        for axis in (1, 2) if flat else (0, 1, 2):
            smoothed = _twice_as_fine(smoothed, axis)
        return smoothed
    return _averaged(scan, box, int(reduction), flat, cancel)


def _twice_as_fine(values: np.ndarray, axis: int) -> np.ndarray:
    """Put a value between every two along `axis`, on the cubic through four neighbours."""
    along = np.moveaxis(values, axis, 0)
    padded = np.concatenate([along[:1], along, along[-1:], along[-1:]])
    between = (9 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]) / 16
    fine = np.empty((2 * along.shape[0], *along.shape[1:]), np.float32)
    fine[::2], fine[1::2] = along, between
    return np.ascontiguousarray(np.moveaxis(fine, 0, axis))


def _averaged(scan: Scan, box: Box, reduction: int, flat: bool, cancel: CancelToken) -> np.ndarray:
    if flat:
        height, width = (n // reduction for n in box.shape[1:])
        squares = scan.read(box).reshape(1, height, reduction, width, reduction)
        return squares.mean(axis=(2, 4), dtype=np.float32)
    depth, height, width = (n // reduction for n in box.shape)
    reduced = np.empty((depth, height, width), np.float32)
    layers = max(1, 32 // reduction)
    for first in range(0, depth, layers):
        cancel.check()
        last = min(depth, first + layers)
        z, y, x = box.start
        part = Box(
            (z + first * reduction, y, x),
            (z + last * reduction, y + height * reduction, x + width * reduction),
        )
        cubes = scan.read(part).reshape(
            last - first, reduction, height, reduction, width, reduction
        )
        reduced[first:last] = cubes.mean(axis=(1, 3, 5), dtype=np.float32)
    return reduced


def _common_threshold(blocks: list[np.ndarray]) -> float | None:
    """Otsu's threshold of all blocks together, without padding and rare outliers."""
    sample = np.concatenate([block.reshape(-1)[::7] for block in blocks])
    lowest = sample.min()
    padding = sample == lowest
    if 0.05 < padding.mean() < 0.9 and np.unique(sample[::11]).size > 4:
        sample = sample[~padding]
    low, high = np.percentile(sample, (0.1, 99.9))
    if not high > low:
        return None
    counts, edges = np.histogram(sample, bins=512, range=(float(low), float(high)))
    return otsu(counts.astype(np.float64), edges)


def _measure_block(
    block: np.ndarray, threshold: float, thin: bool, cancel: CancelToken
) -> _BlockResult | None:
    """The three estimates in voxels of the block, or None when it holds no measurable particle."""
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
    return _BlockResult(
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


def _scaled(result: _BlockResult, factor: float) -> _BlockResult:
    return _BlockResult(
        by_volume=result.by_volume * factor,
        inscribed=result.inscribed * factor,
        by_surface=result.by_surface * factor,
        particles=result.particles,
    )
