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
# halves of one normal distribution lie 2.3 apart, those of an even slope 2.7.
LEAST_PARTED, LEAST_PARTED_IN_A_PIECE = 2.4, 3.0
# And, in a piece, than this many standard deviations of the noise of a cell's mean; the halves of
# noise alone lie 1.6 apart. Each kind fills at least this share of a piece.
LEAST_OVER_NOISE, LEAST_SHARE = 3.0, 0.05
# Two kinds must be seen in this share of the pieces, or all are looked at together.
LEAST_PIECES = 0.05
# A piece that a container or air reaches into shows their contrast. So the lower quartile counts,
# of those that show at least this share of the highest: streaks and rings show much less.
PIECES_QUANTILE, LEAST_OF_HIGHEST = 0.25, 1 / 3
# Where no two kinds are seen, the variance of all cells is that of their noise and this share more.
LEAST_SPREAD = 0.25
# Less contrast than this share of the noise is chance.
LEAST_CONTRAST = 0.25
_BINS = 512
# Cells that lie together, two along each axis.
_GROUP = 2


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
    darkest grey value, or at one far from all others, are no part of the sample. The same scan
    gives the same figures.
    """
    wanted_edge = round(min(LARGEST_CELL, diameter_voxels / CELLS_PER_DIAMETER))
    edge = max(SMALLEST_CELL, wanted_edge)
    reduction = max(1.0, 1 / scale_factor)
    # A triangle as wide as the reduction has this standard deviation.
    blur = reduction / math.sqrt(6) if reduction > 1 else 0.0
    margin = math.ceil(3 * blur)
    read: list[tuple[np.ndarray, np.ndarray]] = []
    for box in spread_boxes(scan.shape, PIECE_EDGE, PIECES_ALONG):
        cancel.check()
        if min(box.shape) < edge:
            return NoiseFigures(0.0, 0.0, 0.0)
        outer = box.expanded(margin, scan.shape)
        grey = scan.read(outer).astype(np.float64)
        own = grey[box.within(outer)]
        read.append((own, gaussian_filter(grey, blur)[box.within(outer)] if blur else own))
    filled = scan.statistics.far_padding()
    pieces = _pieces(read, edge, max(SMALLEST_FOR_CONTRAST, wanted_edge), filled)
    if not pieces:
        return NoiseFigures(0.0, 0.0, 0.0)
    contrast, shown = _contrast_of(pieces)
    sparse = scan.statistics.sparse_bright()
    if sparse is not None:
        # So few particles that the pieces may have missed them.
        contrast = max(contrast, sparse.contrast)
    freedom = edge**3 - 1
    noise = _noise(np.concatenate([piece.variance for piece in shown]), freedom)
    averaged = _noise(np.concatenate([piece.averaged_variance for piece in shown]), freedom)
    return NoiseFigures(noise, averaged, contrast if contrast > LEAST_CONTRAST * averaged else 0.0)


@dataclass(frozen=True)
class _Piece:
    """Of the cells of one piece that are no padding: variance of their voxels, before and after the
    reduction to working scale, means of the finer cells, variance among those that lie together."""

    variance: np.ndarray
    averaged_variance: np.ndarray
    fine_mean: np.ndarray
    group_variance: np.ndarray


def _pieces(
    read: list[tuple[np.ndarray, np.ndarray]],
    edge: int,
    finest_edge: int,
    filled: tuple[float, ...],
) -> list[_Piece]:
    """The pieces that hold more than padding, from their grey values and those averaged.

    `filled`: grey values of padding beside the darkest of all.
    """
    variances = [_cells(own, edge).var(axis=1, ddof=1) for own, _ in read]
    means = [_cells(own, edge).mean(axis=1) for own, _ in read]
    darkest = min(mean.min() for mean in means)
    pieces = []
    for (own, averaged), variance, mean in zip(read, variances, means, strict=True):
        padding = (variance == 0) & np.isin(mean, (darkest, *filled))
        if padding.all():
            continue
        sample = _without(own, padding, edge)
        sample[np.isin(sample, filled)] = np.nan
        fine_mean = _cells(sample, finest_edge).mean(axis=1)
        pieces.append(
            _Piece(
                variance[~padding],
                _cells(averaged, edge).var(axis=1, ddof=1)[~padding],
                fine_mean[~np.isnan(fine_mean)],
                _group_variance(sample, finest_edge),
            )
        )
    return pieces


def _contrast_of(pieces: list[_Piece]) -> tuple[float, list[_Piece]]:
    """The contrast of particles to what is around them, and the pieces that show it.

    Piece by piece, since a container or the air around the sample would be taken for one of the two
    kinds where all are looked at together.
    """
    groups = np.concatenate([piece.group_variance for piece in pieces])
    cell_noise = _noise(groups, _GROUP**3 - 1) if len(groups) else 0.0
    seen = []
    for piece in pieces:
        contrast, share = two_kinds(piece.fine_mean, LEAST_PARTED_IN_A_PIECE)
        if contrast > LEAST_OVER_NOISE * cell_noise and LEAST_SHARE <= share <= 1 - LEAST_SHARE:
            seen.append((contrast, piece))
    if len(seen) >= max(1, LEAST_PIECES * len(pieces)):
        highest = max(contrast for contrast, _ in seen)
        seen = [(c, piece) for c, piece in seen if c >= LEAST_OF_HIGHEST * highest]
        contrast = float(np.quantile([contrast for contrast, _ in seen], PIECES_QUANTILE))
        return contrast, [piece for _, piece in seen]
    mean = np.concatenate([piece.fine_mean for piece in pieces])
    if len(mean) == 0:
        return 0.0, pieces
    contrast, _ = two_kinds(mean, LEAST_PARTED)
    if contrast == 0:
        # Particles only a few voxels wide in strong noise: no cell is free of surface. Two kinds as
        # frequent as each other lie twice their standard deviation apart.
        excess = float(mean.var()) - cell_noise**2
        if excess > LEAST_SPREAD * cell_noise**2:
            contrast = 2 * math.sqrt(excess)
    return contrast, pieces


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


def _group_variance(grey: np.ndarray, edge: int) -> np.ndarray:
    """Variance among the means of cells that lie together, of each group without padding (NaN)."""
    wide = _GROUP * edge
    z, y, x = (n // wide for n in grey.shape)
    cut = grey[: z * wide, : y * wide, : x * wide]
    cut = cut.reshape(z, _GROUP, edge, y, _GROUP, edge, x, _GROUP, edge).mean(axis=(2, 5, 8))
    means = cut.transpose(0, 2, 4, 1, 3, 5).reshape(z * y * x, _GROUP**3)
    return means[~np.isnan(means).any(axis=1)].var(axis=1, ddof=1)


def _noise(variance: np.ndarray, freedom: int) -> float:
    """From the evenest cells; the variance of a cell with noise alone spreads as chi squared."""
    evenest = float(np.quantile(variance, EVENEST_SHARE))
    return math.sqrt(evenest * freedom / float(chi2.ppf(EVENEST_SHARE, freedom)))


def two_kinds(mean: np.ndarray, least_parted: float) -> tuple[float, float]:
    """Contrast between two kinds (Otsu), dark and bright, and the share of the bright ones.

    (0, 0) where they are no two kinds but the halves of one: where their medians are not farther
    apart than `least_parted` standard deviations of the dark ones. The means of cells (`mean`)
    hardly show the noise of single voxels.
    """
    if len(mean) == 0 or mean.max() <= mean.min():
        return 0.0, 0.0
    counts, edges = np.histogram(mean, bins=_BINS)
    bright = mean > otsu(counts.astype(np.float64), edges)
    if not bright.any() or bright.all():
        return 0.0, 0.0
    dark = mean[~bright]
    contrast = float(np.median(mean[bright]) - np.median(dark))
    spread = 1.4826 * float(np.median(np.abs(dark - np.median(dark))))
    return (contrast, float(bright.mean())) if contrast > least_parted * spread else (0.0, 0.0)
