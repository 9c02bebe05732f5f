"""How noisy a scan is, from the scan itself: noise in even places, contrast of the particles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import chi2

from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.working_scale import ScanWithStatistics
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.grey_statistics import otsu

# Pieces of the scan that are looked at: their edge in voxels, and how many along each axis.
PIECE_EDGE = 36
PIECES_ALONG = 5
# Cells in which the noise is measured: a quarter of a particle wide, so that many hold no surface.
# Those whose means show the contrast may be smaller: of small particles, cells of 3 voxels show
# half of it.
CELLS_PER_DIAMETER = 4
SMALLEST_CELL, LARGEST_CELL, SMALLEST_FOR_CONTRAST = 3, 9, 2
# The evenest cells hold nothing but noise.
EVENEST_SHARE = 0.25
# Two kinds of cells lie farther apart than this many standard deviations of the dark ones; the
# halves of one normal distribution lie 2.3 apart.
LEAST_PARTED = 2.4
_BINS = 512


@dataclass(frozen=True)
class NoiseFigures:
    """In grey values of the scan. `noise`: standard deviation of single voxels in even places;
    `noise_at_working_scale`: of what is left of it there; `contrast`: difference of the median grey
    values of particles and what is around them, 0 where no particles are seen."""

    noise: float
    noise_at_working_scale: float
    contrast: float

    @property
    def contrast_to_noise(self) -> float:
        """At working scale; infinite where there is no noise."""
        if self.noise_at_working_scale <= 0:
            return math.inf
        return self.contrast / self.noise_at_working_scale


def measure_noise(
    scan: ScanWithStatistics, diameter_voxels: float, scale_factor: float, cancel: CancelToken
) -> NoiseFigures:
    """Noise and contrast from 125 pieces spread evenly over a scan, all of a small one.

    `diameter_voxels`: of an average particle, in voxels of the scan. Where the scan is reduced to
    its working scale (`scale_factor` < 1), its noise is averaged there. Constant places at the
    darkest grey value are no part of the sample. The same scan gives the same figures.
    """
    wanted_edge = round(min(LARGEST_CELL, diameter_voxels / CELLS_PER_DIAMETER))
    edge = max(SMALLEST_CELL, wanted_edge)
    finest_edge = max(SMALLEST_FOR_CONTRAST, wanted_edge)
    reduction = max(1.0, 1 / scale_factor)
    # A triangle as wide as the reduction has this standard deviation.
    blur = reduction / math.sqrt(6) if reduction > 1 else 0.0
    margin = math.ceil(3 * blur)
    pieces: list[tuple[np.ndarray, np.ndarray]] = []
    for box in spread_boxes(scan.shape, PIECE_EDGE, PIECES_ALONG):
        cancel.check()
        if min(box.shape) < edge:
            return NoiseFigures(0.0, 0.0, 0.0)
        outer = box.expanded(margin, scan.shape)
        grey = scan.read(outer).astype(np.float64)
        own = grey[box.within(outer)]
        pieces.append((own, gaussian_filter(grey, blur)[box.within(outer)] if blur else own))
    variance = np.concatenate([_cells(own, edge).var(axis=1, ddof=1) for own, _ in pieces])
    mean = np.concatenate([_cells(own, edge).mean(axis=1) for own, _ in pieces])
    padding = (variance == 0) & (mean == mean.min())
    if padding.all():
        return NoiseFigures(0.0, 0.0, 0.0)
    averaged = np.concatenate([_cells(blurred, edge).var(axis=1, ddof=1) for _, blurred in pieces])
    each = np.split(padding, np.cumsum([len(_cells(own, edge)) for own, _ in pieces])[:-1])
    fine = [
        _cells(_without(own, empty, edge), finest_edge).mean(axis=1)
        for (own, _), empty in zip(pieces, each, strict=True)
    ]
    fine_mean = np.concatenate(fine)
    contrast = _contrast(fine_mean[~np.isnan(fine_mean)])
    sparse = scan.statistics.sparse_bright()
    if sparse is not None:
        # So few particles that the pieces may have missed them.
        contrast = max(contrast, sparse.contrast)
    return NoiseFigures(
        _noise(variance[~padding], edge), _noise(averaged[~padding], edge), contrast
    )


def spread_boxes(shape: Shape, edge: int, along: int) -> Iterator[Box]:
    """Boxes of `edge` voxels, evenly spread, at most `along` of them along each axis.

    They cover an axis that is not longer than all of them together.
    """
    starts = []
    for length in shape:
        size = min(edge, length)
        count = min(along, math.ceil(length / size))
        room = length - size
        starts.append([(round(i * room / max(1, count - 1)), size) for i in range(count)])
    for (z, depth), (y, height), (x, width) in itertools.product(*starts):
        yield Box((z, y, x), (z + depth, y + height, x + width))


def _cells(grey: np.ndarray, edge: int) -> np.ndarray:
    """The whole cells of that edge in a piece, one a row."""
    z, y, x = (n // edge for n in grey.shape)
    cut = grey[: z * edge, : y * edge, : x * edge]
    cut = cut.reshape(z, edge, y, edge, x, edge).transpose(0, 2, 4, 1, 3, 5)
    return cut.reshape(z * y * x, edge**3)


def _without(grey: np.ndarray, empty: np.ndarray, edge: int) -> np.ndarray:
    """The part of a piece that its cells fill, with NaN in those that are `empty`."""
    z, y, x = (n // edge for n in grey.shape)
    mask = empty.reshape(z, y, x)
    for axis in range(3):
        mask = mask.repeat(edge, axis)
    return np.where(mask, np.nan, grey[tuple(slice(n) for n in mask.shape)])


def _noise(variance: np.ndarray, edge: int) -> float:
    """From the evenest cells; the variance of a cell with noise alone spreads as chi squared."""
    freedom = edge**3 - 1
    evenest = float(np.quantile(variance, EVENEST_SHARE))
    return math.sqrt(evenest * freedom / float(chi2.ppf(EVENEST_SHARE, freedom)))


def _contrast(mean: np.ndarray) -> float:
    """Between the two kinds of cells (Otsu), whose means hardly show the noise of single voxels.

    0 where they are no two kinds, but the halves of one: cells of noise alone.
    """
    low, high = float(mean.min()), float(mean.max())
    if high <= low:
        return 0.0
    counts, edges = np.histogram(mean, bins=_BINS, range=(low, high))
    bright = mean > otsu(counts.astype(np.float64), edges)
    if not bright.any() or bright.all():
        return 0.0
    dark = mean[~bright]
    contrast = float(np.median(mean[bright]) - np.median(dark))
    spread = 1.4826 * float(np.median(np.abs(dark - np.median(dark))))
    return contrast if contrast > LEAST_PARTED * spread else 0.0
