"""Slices of uneven brightness, and the scan without that.

Some scans flicker along z: every slice was reconstructed or scaled to its grey values by itself. A
network that sees three dimensions takes such steps for surfaces. How much brighter a slice is than
its neighbours shows in the difference between the same voxels of both, whatever they hold, as long
as most of them hold the same. That is taken off when the network is shown the scan, slice by slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.noise import spread_boxes, two_kinds
from particleseg_app.segmentation.working_scale import ScanWithStatistics
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import GreyStatistics

# Columns through all slices that are looked at: their edge in voxels, how many along y and x, and
# how many of their slices are read at once.
COLUMN_EDGE, COLUMNS_ALONG, SLICES_AT_ONCE = 32, 5, 64
# The contrast is taken from at most about so many of their voxels, however many slices there are.
SAMPLE_VOXELS = 2_000_000
# A slice is compared with the median of so many about it: real changes along z stay as they are.
WINDOW = 15
# Slices are uneven from this share of the contrast on. The network was trained on up to 0.08.
LEAST_UNEVEN = 0.08
# And only where that stands out by as much from what the scan's noise makes of it.
LEAST_OVER_CHANCE = 3.0
# Flicker changes from each slice to the next, particles or foils that lie in layers change over
# several. So at least this share of the deviation must be between a slice and its two neighbours.
LEAST_ABRUPT = 0.5
# Fewer slices show no flicker, and fewer voxels tell nothing of a slice.
FEWEST_SLICES, FEWEST_VOXELS = 8, 400
# Of the noise of neighbouring voxels so many are independent of each other.
_INDEPENDENT = 1 / 4


@dataclass(frozen=True)
class Evening:
    """`offsets`: how much brighter each slice is than those about it, in grey values of the scan;
    `unevenness`: their standard deviation as a share of the contrast. Kept with a run."""

    offsets: tuple[float, ...]
    unevenness: float

    def as_dict(self) -> dict[str, Any]:
        return {"offsets": list(self.offsets), "unevenness": self.unevenness}

    @staticmethod
    def from_dict(raw: dict[str, Any], slices: int) -> Evening:
        """Raises `KeyError`, `TypeError` or `ValueError` where something is missing or wrong."""
        values = Evening(tuple(float(n) for n in raw["offsets"]), float(raw["unevenness"]))
        possible = all(map(math.isfinite, values.offsets)) and 0 < values.unevenness < math.inf
        if not possible or len(values.offsets) != slices:
            raise ValueError("impossible figures")
        return values


class EvenedScan:
    """A scan whose slices are read without their `offsets`, float32; the same in whatever box."""

    def __init__(self, scan: ScanWithStatistics, offsets: tuple[float, ...]) -> None:
        self.scan = scan
        self._offsets = np.asarray(offsets, np.float32)[:, None, None]

    @property
    def shape(self) -> Shape:
        return self.scan.shape

    @property
    def statistics(self) -> GreyStatistics:
        """Those of the scan: a slice's offset hardly moves the histogram of all."""
        return self.scan.statistics

    def read(self, box: Box) -> np.ndarray:
        grey = self.scan.read(box).astype(np.float32)
        grey -= self._offsets[box.start[0] : box.stop[0]]
        return grey


def evening_for(scan: ScanWithStatistics, cancel: CancelToken) -> Evening | None:
    """What evens out the slices of a scan; None where they are even. Raises `Cancelled`.

    Looks at up to 25 columns of 32² voxels through all slices.
    """
    depth = scan.shape[0]
    if depth < FEWEST_SLICES:
        return None
    steps = np.zeros(depth - 1)
    spread = np.zeros(depth - 1)
    used = np.zeros(depth - 1, np.int64)
    sample = []
    columns = min(COLUMN_EDGE * COLUMNS_ALONG, scan.shape[1])
    columns *= min(COLUMN_EDGE * COLUMNS_ALONG, scan.shape[2])
    every = max(7, math.ceil(columns * depth / SAMPLE_VOXELS))
    darkest = scan.statistics.minimum
    for first, slab in _slabs(scan, cancel):
        for index in range(len(slab) - 1):
            here, above = slab[index], slab[index + 1]
            filled = (here == darkest) & (above == darkest)
            change = (above - here)[~filled]
            if len(change) < FEWEST_VOXELS:
                continue
            low, high = np.percentile(change, (25, 75))
            middle = change[(change >= low) & (change <= high)]
            steps[first + index] = middle.mean()
            spread[first + index] = (high - low) / 1.349
            used[first + index] = len(change)
        # A copy: a part of the slab would keep all of it.
        sample.append((first, slab[:-1, ::every].copy()))
    if np.count_nonzero(used) < FEWEST_SLICES - 1:
        return None
    level = np.concatenate([[0.0], np.cumsum(steps)])
    offsets = level - median_filter(level, WINDOW, mode="nearest")
    deviation = _deviation(offsets)
    # Of independent offsets, the difference from the mean of two others varies by √1.5 as much.
    abrupt = _deviation(level[1:-1] - (level[:-2] + level[2:]) / 2) / math.sqrt(1.5)
    if abrupt < LEAST_ABRUPT * deviation:
        return None
    told = used > 0
    chance = float(np.median(spread[told] / np.sqrt(_INDEPENDENT * used[told])))
    even = np.concatenate(
        [(part - offsets[first : first + len(part), None]).ravel() for first, part in sample]
    )
    even = even[even > darkest]
    if len(even) == 0:
        return None
    # Between bright and dark voxels, which noise makes larger; without rare outliers.
    contrast, _ = two_kinds(np.clip(even, *np.percentile(even, (0.1, 99.9))), 0.0)
    # Errors of single steps add up over half a window.
    chance *= math.sqrt(WINDOW / 2)
    if contrast <= 0 or deviation < max(LEAST_UNEVEN * contrast, LEAST_OVER_CHANCE * chance):
        return None
    return Evening(tuple(float(n) for n in offsets), deviation / contrast)


def _deviation(values: np.ndarray) -> float:
    """The standard deviation from 0 of most of the values, whatever the others are."""
    return 1.4826 * float(np.median(np.abs(values)))


def evening_note(evening: Evening) -> str:
    """What a run says of uneven slices and of what it did."""
    return (
        "The slices of the scan differ in brightness from one to the next (by "
        f"{100 * evening.unevenness:.0f} % of what particles stand out by), so they were evened "
        "out before particles were looked for."
    )


def _slabs(scan: ScanWithStatistics, cancel: CancelToken) -> Iterator[tuple[int, np.ndarray]]:
    """The first slice of each slab and the voxels of all columns in it, (slices, voxels) float32.

    Slabs share a slice, so that each pair of neighbours lies in one of them.
    """
    depth, *plane = scan.shape
    columns = list(spread_boxes((1, plane[0], plane[1]), COLUMN_EDGE, COLUMNS_ALONG))
    for first in range(0, depth - 1, SLICES_AT_ONCE - 1):
        stop = min(depth, first + SLICES_AT_ONCE)
        parts = []
        for column in columns:
            cancel.check()
            (_, y, x), (_, y_stop, x_stop) = column.start, column.stop
            grey = scan.read(Box((first, y, x), (stop, y_stop, x_stop)))
            parts.append(grey.reshape(stop - first, -1).astype(np.float32))
        yield first, np.concatenate(parts, axis=1)
