"""The diameter of an average particle from a few blocks of a scan, by one threshold.

Each block is smoothed a little, parted into particles and matrix by one threshold, and its
particles are parted at their necks. A particle counts as much as it is wide, as it would if one
measured what is seen in slices. Three estimates that fail in different ways are then compared:
the volume of the parted particles, the largest ball inside each of them, and volume over surface
of all of them together. What they and the blocks disagree by is how unsure the proposal is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particleseg_app.progress import CancelToken
from particleseg_app.volumes.granulometry_blocks import (
    GreyVolume,
    block_edge,
    boxes_to_measure,
    read_reduced,
)
from particleseg_app.volumes.granulometry_estimates import BlockEstimates, measure_block
from particleseg_app.volumes.grey_statistics import otsu

# How many blocks at which reduction (0.5 enlarges).
_BLOCK_COUNTS = {0.5: 4, 1.0: 6, 2.0: 3, 4.0: 2}
# Stacks thinner than this are judged slice by slice, because all particles in them are cut.
_THIN = 32
_LARGEST_REDUCTION = 4
# Particles narrower than this touch over more than their necks: the scan is enlarged first.
_NARROW = 16.0
# Particles wider than this share of a block are too few in it: the scan is reduced first.
_WIDE_SHARE = 0.28
_SMALLEST_DIAMETER = 4.0


@dataclass(frozen=True)
class DiameterProposal:
    """Diameter of an average particle in voxels, the range it probably lies in, and
    how sure that is: "good", "fair" or "poor". `explanation` is a sentence for the user."""

    diameter_voxels: float
    low: float
    high: float
    confidence: str
    explanation: str


def diameter_by_threshold(scan: GreyVolume, cancel: CancelToken) -> DiameterProposal | None:
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
        edge = block_edge(reduction, thin)
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


def _proposal(results: list[BlockEstimates], thin: bool) -> DiameterProposal:
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
    scan: GreyVolume, reduction: float, thin: bool, count: int, cancel: CancelToken
) -> list[BlockEstimates]:
    blocks = []
    for box in boxes_to_measure(scan.shape, reduction, thin, count):
        cancel.check()
        blocks.append(read_reduced(scan, box, reduction, cancel))
    threshold = _common_threshold(blocks)
    if threshold is None:
        return []
    results = []
    for block in blocks:
        cancel.check()
        found = measure_block(block, threshold, thin, cancel)
        if found is not None:
            results.append(found.scaled(reduction))
    return results


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
