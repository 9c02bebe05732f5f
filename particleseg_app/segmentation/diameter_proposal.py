"""Proposes the diameter of an average particle by what a network finds in a few parts of the scan.

The network sees particles well between half and one and a half of the size it is made for, so what
it finds tells how large they are. Parts of the scan are shown to it as if its particles were larger
than they probably are, then as if they were a little larger than what was found, until both agree.
From above, because a network that is shown particles much too large finds grains and pores inside
them, which agree with themselves just as well.

How large they probably are is measured by a threshold first (`volumes.granulometry`), which is
quick, but misled by noise, plates, fused grains and pores.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np

from particleseg_app.errors import UserError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.failures import is_of_card
from particleseg_app.segmentation.particle_looks import Look, Looks
from particleseg_app.segmentation.seen_scan import seen
from particleseg_app.volumes import DiameterProposal, Scan, diameter_by_threshold

logger = logging.getLogger(__name__)

# Fewer whole particles than this say nothing, fewer than that little.
_FEWEST = 6
_FEW = 30
# Particles are shown smaller than the network wants them: more of them fit whole into a part.
_SHOWN_LARGER = 1.4
_WELL_SEEN = 1.6
# How much larger than the threshold found them particles may be, and are first taken to be.
_FIRST = 3.0
_STEP = 1.7
# Looked at closer, particles are at least this share as wide, unless there are more of them.
_SAME = 0.85
# What fills less than this share of what was found before is nothing but details of that.
_SPURIOUS = 0.3
# In voxels of the scan. Parts of larger particles would be read for a long time.
_SMALLEST_DIAMETER, _LARGEST_DIAMETER = 5.0, 200.0
_MOST_LOOKS = 8
# Scans are looked at that are this many particles deep.
_DEPTH = 1.5
# By this factor a threshold that is sure must differ to raise a doubt.
_APART = 1.5


def propose_diameter(
    scan: Scan, progress: Progress, cancel: CancelToken
) -> DiameterProposal | None:
    """Diameter of an average particle of a scan, in its voxels; None where none can be told.

    Each particle counts as much as it is wide, as when one measures what is seen in slices. Takes
    some seconds (docs/particle_diameter.md), with a bundled model. Raises `Cancelled`.
    """
    progress.start("Measuring typical particles")
    shown = seen(scan)
    by_threshold = diameter_by_threshold(shown, cancel)
    if by_threshold is not None and min(scan.shape) < _DEPTH * by_threshold.diameter_voxels:
        return by_threshold  # hardly a particle is whole in so thin a stack
    try:
        looks = Looks.with_quickest_model(shown, cancel)
        found = _looked_from_above(looks, by_threshold)
    except (UserError, RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not is_of_card(error):
            raise
        logger.warning("No network could look at the particles.", exc_info=True)
        found = None
    if found is None:
        return by_threshold
    proposal = _proposal(found, by_threshold)
    if by_threshold is None or by_threshold.confidence == "poor" or proposal.confidence != "poor":
        return proposal
    return by_threshold


def _looked_from_above(looks: Looks, by_threshold: DiameterProposal | None) -> Look | None:
    """The look in which particles are as large as they were taken to be; None if there is none."""
    largest = min(_LARGEST_DIAMETER, min(looks.scan.shape) / 1.2)
    first = largest
    if by_threshold is not None and by_threshold.confidence != "poor":
        first = min(largest, _FIRST * by_threshold.diameter_voxels)
    best = _fullest(map(looks.at, _downwards(first)))
    if best is None:
        best = _fullest(map(looks.at, _upwards(first, largest)))
    return None if best is None else _looked_closer(looks, best, largest)


def _looked_closer(looks: Looks, best: Look, largest: float) -> Look:
    """Look again, closer or from farther away, until particles are as large as they are shown."""
    for _ in range(_MOST_LOOKS):
        if best.mean > 1.1 * best.assumed and best.assumed < largest:
            look = looks.at(min(largest, _SHOWN_LARGER * best.mean))
            if look.count < _FEWEST:
                break
            best = look
            continue
        far_above = best.assumed > _WELL_SEEN * best.mean
        closer = looks.at(
            max(best.assumed / 2, _SHOWN_LARGER * best.mean)
            if far_above
            else best.assumed / _SHOWN_LARGER
        )
        if closer.count < _FEWEST or closer.filled < _SPURIOUS * best.filled:
            break
        # What was one particle from afar may be several; few that are whole are the small ones.
        settled = closer.mean > _SAME * best.mean
        if not settled and closer.count < _FEW / 2:
            break
        done = settled and not far_above
        if not done or closer.count > best.count:
            best = closer
        if done:
            break
    return best


def _fullest(looks: Iterable[Look]) -> Look | None:
    """The first look that finds particles enough; or one before it that finds a few much larger
    ones, if what is found then fills so little that it lies inside them.

    The few are trusted more where one look after the other finds them equally large.
    """
    few: Look | None = None
    least_filled = 0.0
    for look in looks:
        if look.count >= _FEWEST:
            inside = few is not None and look.mean < few.mean / 2 and look.filled < least_filled
            return few if inside else look
        if look.count < 2:
            continue
        lasting = few is not None and _SAME < look.mean / few.mean < 1 / _SAME
        if few is None or look.filled > few.filled:
            few = look
        least_filled = few.filled * (1 if lasting else _SPURIOUS)
    return few


def _downwards(first: float) -> Iterator[float]:
    while first >= _SMALLEST_DIAMETER:
        yield first
        first /= _STEP


def _upwards(first: float, largest: float) -> Iterator[float]:
    while first < largest:
        first = min(largest, first * _STEP)
        yield first


def _proposal(look: Look, by_threshold: DiameterProposal | None) -> DiameterProposal:
    diameter, between_parts = look.mean, look.between_parts()
    doubts = []
    if look.count < _FEW:
        doubts.append("so few whole particles were seen")
    if between_parts > 1.25:
        doubts.append("parts of the scan differ")
    if look.assumed > _WELL_SEEN * diameter:
        doubts.append("particles differ much in size")
    elif diameter > 1.1 * look.assumed:
        doubts.append("the scan is small for its particles")
    if by_threshold is not None and by_threshold.confidence == "good":
        ratio = diameter / by_threshold.diameter_voxels
        if not 1 / _APART < ratio < _APART:
            doubts.append("a threshold gives another size")
    parts = int(np.unique(look.parts).size)
    where = f"{look.count} particles in {parts} part{'s' if parts > 1 else ''} of the scan"
    factor = max(1.1 if look.count >= _FEW else 1.25, between_parts)
    return DiameterProposal(
        diameter_voxels=diameter,
        low=diameter / factor,
        high=diameter * factor,
        confidence="poor" if look.count < _FEWEST else "fair" if doubts else "good",
        explanation=f"Measured on {where} that a network found"
        + (f"; {', and '.join(doubts)}." if doubts else "; all measurements agree."),
    )
