"""The histogram of the grey values inside particles, which phases are chosen on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.particles.measure import Labels
from particleseg_app.particles.phase_counting import (
    count_phases,
    first_levels,
    summed_over_blocks,
)
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape

FINE_BINS = 1024
_SCANNER_BLUR = 0.01  # of the scan's range of grey values, without its outermost 0.3 %
_LEVELS_BLUR = 0.7  # of the gap between grey levels: a Gaussian that wide leaves no trace of it
_LIMITS = (0.02, 99.98)  # percentiles: rare outliers do not use up the bins


class _Statistics(Protocol):
    @property
    def histogram_counts(self) -> np.ndarray: ...
    def span(self) -> tuple[float, float]: ...
    def display_range(self) -> tuple[float, float]: ...


class ScanWithStatistics(Protocol):
    """A scan that is read by boxes and knows its histogram, as `volumes.Scan`."""

    @property
    def shape(self) -> Shape: ...
    @property
    def statistics(self) -> _Statistics: ...
    def read(self, box: Box) -> np.ndarray: ...


@dataclass(frozen=True)
class InteriorHistogram:
    """Grey values inside particles: `counts` (n,), between evenly spaced `edges` (n + 1,).

    `blur` is the least deviation, in grey values, of the Gaussian that smooths it: enough to hide
    the gaps between the grey levels of the scan where it has few, and what the blur of the scanner
    leaves of the surroundings in one layer of voxels and not in the next.
    """

    counts: np.ndarray
    edges: np.ndarray
    blur: float = 0.0

    def shares(self, thresholds: Sequence[float]) -> tuple[float, ...]:
        """Share of the voxels in each range between the thresholds, to the bin; zeros without
        any voxel."""
        centres = (self.edges[:-1] + self.edges[1:]) / 2
        phase = np.searchsorted(np.asarray(thresholds, np.float64), centres, side="left")
        sums = np.bincount(phase, weights=self.counts, minlength=len(thresholds) + 1)
        return tuple((sums / max(1.0, float(self.counts.sum()))).tolist())

    def joined(self, most: int) -> InteriorHistogram:
        """The part that holds nearly all voxels in at most `most` bins, each of whole old ones."""
        counts, edges = self.counts, self.edges
        total = int(counts.sum())
        if total == 0:
            return InteriorHistogram(counts[:1], edges[:2], self.blur)
        cumulative = np.cumsum(counts)
        low, high = (percent / 100 * total for percent in _LIMITS)
        first = int(np.searchsorted(cumulative, low, side="right"))
        last = int(np.searchsorted(cumulative, high))
        first, last = max(0, first - 1), min(counts.size - 1, last + 1)
        per_bin = max(1, -(-(last + 1 - first) // most))
        bins = -(-(last + 1 - first) // per_bin)
        width = float(edges[1] - edges[0])
        inner = np.zeros(bins * per_bin, np.int64)
        inner[: last + 1 - first] = counts[first : last + 1]
        # What lies beyond is kept in the outermost bins, so that no voxel is lost.
        inner[0] += counts[:first].sum()
        inner[last - first] += counts[last + 1 :].sum()
        return InteriorHistogram(
            inner.reshape(bins, per_bin).sum(axis=1),
            float(edges[first]) + width * per_bin * np.arange(bins + 1),
            self.blur,
        )

    def smoothed(self) -> np.ndarray:
        """Counts a bin (n,) with a Gaussian over them, as wide as the number of voxels asks for.

        Silverman's rule, with the narrowest half of the voxels as a measure of the spread, since
        the deviation of several phases together says nothing of any of them; at least `blur`. What
        is heaped up at the ends, where grey values were cut off, is left out.
        """
        from scipy.ndimage import gaussian_filter1d

        counts = self.counts.astype(np.float64)
        total = counts.sum()
        if total == 0:
            return counts
        gap = _gap_between_levels(counts)
        width_of_bin = float(self.edges[1] - self.edges[0])
        used = np.flatnonzero(counts)
        inner = counts[used[0] : used[-1] + 1]
        for ends in (inner, inner[::-1]):
            if ends.size > 1:
                ends[0] = min(ends[0], ends[1 : 2 + 2 * gap].max())
        cumulative = np.concatenate([[0.0], np.cumsum(counts)])
        stops = np.searchsorted(cumulative, cumulative + cumulative[-1] / 2)
        within = stops < cumulative.size
        spread = float((stops - np.arange(stops.size))[within].min()) / 1.349
        width = max(
            1.0,
            0.9 * spread * total**-0.2,
            _LEVELS_BLUR * gap if gap > 1 else 0.0,
            self.blur / width_of_bin,
        )
        smooth: np.ndarray = gaussian_filter1d(counts, width, mode="nearest")
        return np.round(smooth, 6)  # so that empty places are flat


def _gap_between_levels(counts: np.ndarray) -> int:
    """From one grey level that occurs to the next one, in bins, as it is for most voxels."""
    levels = np.flatnonzero(counts)
    if levels.size < 3:
        return 1
    gaps, weights = np.diff(levels), counts[levels[1:]]
    order = np.argsort(gaps, kind="stable")
    heaviest = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return int(gaps[order][heaviest])


def interior_histogram(
    labels: Labels,
    scan: ScanWithStatistics,
    progress: Progress,
    cancel: CancelToken,
    block_shape: tuple[int, int] | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> InteriorHistogram:
    """The local grey values inside particles, of those voxels that count (see `phase_counting`).

    `labels` (z, y, x) of a scan of the same shape. The bins are those of the scan's own histogram,
    cut finer where they are few. Raises `Cancelled`.
    """
    from particleseg_app.particles.phase_kernels import count_local_greys

    bins = len(scan.statistics.histogram_counts)
    # Means lie between the grey levels.
    finer = max(1, -(-FINE_BINS // bins))
    edges = np.linspace(*scan.statistics.span(), finer * bins + 1)
    how = (block_shape, memory_limit_bytes)
    from_level = first_levels(count_phases(labels, None, (), progress, cancel, *how))
    first, width = float(edges[0]), float(edges[-1] - edges[0]) / (edges.size - 1)

    def work(padded: np.ndarray, grey: np.ndarray, sums: np.ndarray) -> None:
        count_local_greys(padded, grey, from_level, first, width, sums)

    shape = (edges.size - 1,)
    title = "Reading grey values inside particles"
    found = summed_over_blocks(labels, scan, shape, work, title, progress, cancel, *how)
    low, high = scan.statistics.display_range()
    gap = _gap_between_levels(scan.statistics.histogram_counts) * finer * width
    blur = max(_SCANNER_BLUR * (high - low), _LEVELS_BLUR * gap)
    return InteriorHistogram(found, edges, blur)
