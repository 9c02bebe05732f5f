"""Proposes phases for a run: how many there are, and the grey values between them.

A phase is a peak of the histogram of the grey values inside particles that a deep valley parts from
the others; thresholds lie at the bottom of these valleys. Whoever wants more phases than there are
peaks gets the thresholds of multi-level Otsu (the largest variance between classes; Liao, Chen and
Chung 2001, in scikit-image). Otsu alone would not do: it finds as many classes as it is asked for,
and cuts a large phase in two rather than find a small one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.particles.interior_histogram import (
    FINE_BINS,
    InteriorHistogram,
    ScanWithStatistics,
    interior_histogram,
)
from particleseg_app.particles.measure import Labels
from particleseg_app.particles.phases import MOST_PHASES, Phases
from particleseg_app.progress import CancelToken, Progress

# A valley counts when it is at least this much lower than the lower of the peaks beside it. Two
# equal phases with normally distributed grey values have such a valley from 2.8 deviations on.
VALLEY_DEPTH = 0.25
SMALLEST_SHARE = 0.002  # of all voxels counted: less is no phase
# The same for a peak at the very end of the grey values: few voxels heap up there where brighter or
# darker ones were cut off, many where a whole phase was.
SMALLEST_SHARE_AT_END = 0.05
_END = 0.01  # of the range of grey values
_GROUND = 0.05  # of a valley's depth: what is no higher is its ground
_SURE = 3.0  # a valley must be deeper than this many deviations of its counts
_OTSU_BINS = 96  # its time grows with the fourth power


@dataclass(frozen=True)
class PhaseProposal:
    """Thresholds for every possible number of phases, and the number that is proposed.

    `histogram` has at most 1024 bins; `thresholds[n - 1]` are those of n phases, fewer where the
    grey values do not allow n.
    """

    histogram: InteriorHistogram
    count: int
    thresholds: tuple[tuple[float, ...], ...]

    @property
    def phases(self) -> Phases:
        """The phases that are proposed."""
        return self.phases_of(self.count)

    def phases_of(self, count: int) -> Phases:
        """`count` phases, or fewer where the grey values do not allow that many."""
        return Phases.numbered(self.thresholds[count - 1])


def propose_phases(
    labels: Labels,
    scan: ScanWithStatistics,
    progress: Progress,
    cancel: CancelToken,
    block_shape: tuple[int, int] | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> PhaseProposal:
    """Propose phases for labels (z, y, x) of a scan of the same shape.

    Reads the labels twice and the scan once, block by block. Raises `Cancelled`.
    """
    histogram = interior_histogram(labels, scan, progress, cancel, block_shape, memory_limit_bytes)
    progress.start("Looking for phases")
    return proposal_of(histogram)


def proposal_of(histogram: InteriorHistogram) -> PhaseProposal:
    """As many phases as there are peaks with deep valleys between them, and thresholds for every
    other number, too.

    Fewer phases than that lose the shallowest valleys; more are cut by multi-level Otsu.
    """
    fine = histogram.joined(FINE_BINS)
    smooth = fine.smoothed()
    valleys = _deep_valleys(fine, smooth)
    per_count: list[tuple[float, ...]] = [()]
    for count in range(2, MOST_PHASES + 1):
        if count - 1 <= len(valleys):
            places = sorted(valleys[-(count - 1) :])
            per_count.append(tuple(float(fine.edges[place + 1]) for place in places))
        else:
            per_count.append(_otsu(histogram.joined(_OTSU_BINS), count))
    return PhaseProposal(fine, min(MOST_PHASES, len(valleys) + 1), tuple(per_count))


def _deep_valleys(histogram: InteriorHistogram, smooth: np.ndarray) -> list[int]:
    """Bins of the valleys between true peaks, the shallowest first.

    Valleys that are no more than noise, or that part off too few voxels, are filled one after the
    other, the shallowest first: the lower of the peaks beside it then belongs to the higher one.
    """
    rising = np.diff(smooth, prepend=-1.0, append=-1.0)
    # A flat top or bottom is one place: its middle.
    turns = np.flatnonzero(rising != 0)
    signs = np.sign(rising[turns])
    peaks: list[int] = []
    lows: list[int] = []
    for here, (sign, after) in enumerate(pairwise(signs)):
        if sign != after:
            (peaks if sign > 0 else lows).append(int(turns[here] + turns[here + 1] - 1) // 2)
    while lows:
        depth, large_enough = _depths(histogram, smooth, peaks, lows)
        shallowest = int(depth.argmin())
        if depth[shallowest] >= VALLEY_DEPTH:
            bottoms = [
                _bottom(smooth, *ends, low) for ends, low in zip(pairwise(peaks), lows, strict=True)
            ]
            return [bottoms[number] for number in np.argsort(depth, kind="stable")]
        # Of the two peaks the one goes that is no phase, else the lower one.
        beside = [
            (bool(large_enough[n]), float(smooth[peaks[n]])) for n in (shallowest, shallowest + 1)
        ]
        gone = shallowest + int(beside[1] <= beside[0])
        peaks.pop(gone)
        low = lows.pop(shallowest)
        # On the other side of the peak that is gone the ground goes down to the lower place.
        other = gone - 1 if gone == shallowest else shallowest
        if 0 <= other < len(lows) and smooth[low] < smooth[lows[other]]:
            lows[other] = low
    return []


def _depths(
    histogram: InteriorHistogram, smooth: np.ndarray, peaks: list[int], lows: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """How deep each valley is, as a share of the lower peak beside it, and which peaks hold enough
    voxels; valleys that are noise or part off too little are next to nothing."""
    lower = np.minimum(smooth[peaks[:-1]], smooth[peaks[1:]])
    dip = lower - smooth[lows]
    depth = dip / np.maximum(lower, 1e-12)
    depth[dip < _SURE * np.sqrt(lower)] = 0.0
    limits = [float(histogram.edges[low + 1]) for low in lows]
    shares = np.array(histogram.shares(limits), np.float64)
    large_enough = shares >= SMALLEST_SHARE
    for end, distance in ((0, peaks[0]), (-1, smooth.size - 1 - peaks[-1])):
        if distance < _END * smooth.size:
            large_enough[end] &= shares[end] >= SMALLEST_SHARE_AT_END
    depth[~(large_enough[:-1] & large_enough[1:])] *= 0.01
    return depth, large_enough


def _bottom(smooth: np.ndarray, left: int, right: int, low: int) -> int:
    """The middle of the ground of the valley between two peaks, of which `low` is the lowest place.

    The ground is wide where phases are far apart; where exactly it is lowest is chance then.
    """
    lower = min(smooth[left], smooth[right])
    ground = smooth[left:right] <= smooth[low] + _GROUND * (lower - smooth[low])
    places = left + np.flatnonzero(ground)
    return int(places[0] + places[-1]) // 2


def _otsu(histogram: InteriorHistogram, count: int) -> tuple[float, ...]:
    """Thresholds between `count` classes, on edges; fewer where there are fewer grey values."""
    from skimage.filters import threshold_multiotsu

    count = min(count, int(np.count_nonzero(histogram.counts)))
    if count < 2:
        return ()
    edges = histogram.edges
    centres = (edges[:-1] + edges[1:]) / 2
    found = threshold_multiotsu(classes=count, hist=(histogram.counts.astype(float), centres))
    half = float(edges[1] - edges[0]) / 2
    return tuple(float(value) + half for value in found)
