"""Tiles that are certainly background, by the scan's own grey values: the network may pass them by.

Such a tile is dark, as dark as the darkest peak of the scan's histogram (air, or the matrix where
there is no air), and has no structure: the means of small blocks differ from each other by no more
than the noise that neighbouring blocks show. A single faint particle, the edge of one that reaches
in, a container wall or a ring is structure. Whatever is doubtful is left to the network.

The answer depends on nothing but the tile's grey values and the statistics of the whole scan, so
it is the same for any chunk size and after any interruption.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken
from particleseg_app.volumes import GreyStatistics

if TYPE_CHECKING:
    import torch

# Edges of the blocks whose means are compared, and how many deviations of their noise they may
# lie from the middle one. The largest of 13 800 means (a tile of 96³) of pure noise lies at 4.
BLOCKS = ((4, 5.0), (8, 4.5))
# The darkest peak must hold this share of the scan, and what is brighter as well.
LEAST_SHARE = 0.02
_BINS = 256
_SMOOTHING_BINS = 3.0
_DEPTH = 0.7
_GAP_BINS = 6
_GAP_SHARE = 0.02
_ROUNDING = 1e-4
# Tiles that a card looks at together; their means take little memory beside the tiles themselves.
_TILES_TOGETHER = 64


@dataclass(frozen=True)
class BackgroundTest:
    """`darkest_limit` is the upper end of the darkest peak, in normalised grey values."""

    darkest_limit: float

    def is_background(self, tile: torch.Tensor) -> torch.Tensor:
        """Whether a normalised tile, float32 (z, y, x), is certainly background: bool, no axes.

        The answer stays on the tile's device.
        """
        import torch

        if tile.device.type == "cpu" and self._has_bright_block(tile):
            return torch.zeros((), dtype=torch.bool)
        return self._certain([tile])[0]

    def are_background(self, tiles: list[torch.Tensor], cancel: CancelToken) -> torch.Tensor:
        """The same for many tiles of one shape, at least one: bool (tiles,).

        A card looks at all of them together, for its time would be lost on so many small steps.
        """
        import torch

        answers = []
        if tiles[0].device.type != "cpu":
            for first in range(0, len(tiles), _TILES_TOGETHER):
                cancel.check()
                answers.append(self._certain(tiles[first : first + _TILES_TOGETHER]))
            return torch.cat(answers)
        for tile in tiles:
            cancel.check()
            answers.append(self.is_background(tile))
        return torch.stack(answers)

    def _certain(self, tiles: list[torch.Tensor]) -> torch.Tensor:
        import torch
        from torch.nn import functional

        certain = torch.ones(len(tiles), dtype=torch.bool, device=tiles[0].device)
        for edge, deviations in BLOCKS:
            means = torch.stack(
                [functional.avg_pool3d(tile[None, None], edge)[0, 0] for tile in tiles]
            )
            noise = torch.stack([_noise(means, axis) for axis in (1, 2, 3)]).amin(dim=0)
            flat = means.flatten(1)
            farthest = (flat - flat.median(dim=1, keepdim=True).values).abs().amax(dim=1)
            certain &= farthest <= deviations * noise + _ROUNDING
            certain &= flat.amax(dim=1) < self.darkest_limit
        return certain

    def _has_bright_block(self, tile: torch.Tensor) -> bool:
        """Whether one of the blocks in the middle is too bright: most tiles show it there.

        They are the same blocks as those of the whole tile, so that the answer is the same.
        """
        from torch.nn import functional

        edge = BLOCKS[0][0]
        first = len(tile) // (2 * edge) * edge
        means = functional.avg_pool3d(tile[None, None, first : first + edge], edge)
        return bool(means.amax() >= self.darkest_limit)


def _noise(means: torch.Tensor, axis: int) -> torch.Tensor:
    """Standard deviation of each tile's block means (tile, z, y, x), from neighbours along an axis.

    Structure hardly counts.
    """
    import torch

    if means.shape[axis] < 2:
        return torch.full((len(means),), math.inf, device=means.device)
    differences = means.diff(dim=axis).abs().flatten(1)
    return differences.median(dim=1).values * (1.4826 / math.sqrt(2))


def background_test(statistics: GreyStatistics, scaling: GreyScaling) -> BackgroundTest | None:
    """The test for one scan, or None where its grey values have no darkest peak of their own."""
    limit = darkest_peak_limit(statistics)
    if limit is None:
        return None
    clipped = min(max(limit, scaling.low), scaling.high)
    return BackgroundTest((clipped - scaling.mean) / scaling.std)


def darkest_peak_limit(statistics: GreyStatistics) -> float | None:
    """Grey value in the valley above the darkest peak of the histogram; None if there is none.

    Padding, a single grey value with a gap above it, is set aside where another peak follows.
    """
    counts, edges = _coarse_histogram(statistics)
    total = counts.sum()
    first = int(np.flatnonzero(counts)[0]) if total else 0
    padded = counts[first] > LEAST_SHARE * total and _stands_apart(counts, first)
    start = first + 1 if padded else first
    valley = _first_valley(counts[start:], LEAST_SHARE * total)
    if valley is not None:
        return float(edges[start + valley] + edges[start + valley + 1]) / 2
    brighter = total - counts[first] if total else 0
    return float(edges[first + 1]) if padded and brighter >= LEAST_SHARE * total else None


def _first_valley(counts: np.ndarray, least: float) -> int | None:
    """The bin of the first valley that parts at least `least` voxels from as many brighter ones.

    A valley is at most seven tenths as high as the peaks on both of its sides.
    """
    smooth = gaussian_filter1d(counts, _SMOOTHING_BINS, mode="constant")
    below = np.cumsum(counts)
    peak = bottom = 0
    for i in range(len(smooth)):
        if smooth[i] < smooth[bottom]:
            bottom = i
        if smooth[i] > smooth[peak] and smooth[bottom] >= _DEPTH * smooth[peak]:
            peak = bottom = i
        deep = smooth[bottom] <= _DEPTH * min(smooth[peak], smooth[i])
        if deep and bottom > peak:
            if least <= below[bottom] <= below[-1] - least:
                return bottom
            # A few voxels apart from the rest: the next peak may be the first real one.
            peak = bottom = i
    return None


def _stands_apart(counts: np.ndarray, index: int) -> bool:
    """Whether next to nothing lies beside a bin; grey values cut off at the dark end have more."""
    beside = counts[index + 1 : index + 1 + _GAP_BINS].sum()
    return bool(beside <= _GAP_SHARE * counts[index])


def _coarse_histogram(statistics: GreyStatistics) -> tuple[np.ndarray, np.ndarray]:
    """At most `_BINS` bins, float64, without wild values below all others and up to the 99.9
    percentile: rare bright voxels are no peak."""
    grey = (statistics.histogram_edges[:-1] + statistics.histogram_edges[1:]) / 2
    inside = grey <= max(statistics.percentile(99.9), float(grey[0]))
    inside &= grey >= min(statistics.span()[0], float(grey[inside][-1]))
    counts, edges = np.histogram(
        grey[inside],
        bins=min(_BINS, int(inside.sum())),
        weights=statistics.histogram_counts[inside].astype(np.float64),
    )
    return counts, edges
