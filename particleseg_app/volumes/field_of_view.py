"""What a scanner saw of each slice, where the rest was filled in with one grey value.

A reconstruction is round, a picture is not: outside of the field of view many programs write 0, or
white. Such voxels hold that value exactly, and the same ones do in every slice; what a scanner saw,
even air that was cut off to black, has an edge that differs from slice to slice.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Fewer slices do not show whether it is the same voxels in all of them.
FEWEST_SLICES = 8
_SMALLEST_SIDE = 32  # of a slice; chance may fill a smaller one alike
# Share of a slice that is at least outside, and seen.
LEAST_OUTSIDE, LEAST_SEEN = 0.002, 0.02
# Of the voxels beside those that are outside in every slice, so many may have their grey value.
MOST_BESIDE = 0.1


@dataclass(frozen=True)
class FieldOfView:
    """`outside`: bool (y, x), of every slice; `filled`: the grey value it was filled with."""

    outside: np.ndarray
    filled: float

    @property
    def outside_share(self) -> float:
        return float(self.outside.mean())

    @cached_property
    def distance(self) -> np.ndarray:
        """How far the voxels of a slice lie from what is outside, 0 there; uint8 (y, x).

        In voxels along the farther axis, 255 for all that are farther away.
        """
        from scipy.ndimage import distance_transform_cdt

        far = distance_transform_cdt(~self.outside, metric="chessboard")
        return np.minimum(far, 255).astype(np.uint8)


class FieldOfViewFinder:
    """Told of every slice once, in any order and from any thread.

    Most scans are given up at the second slice, because their corners differ.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filled: np.generic | None = None
        self._hits: np.ndarray | None = None  # slices in which a voxel has that value
        self._slices = 0
        self._given_up = False

    def add(self, values: np.ndarray) -> None:
        """Note a slice (y, x); slices of one grey value all over tell nothing."""
        if self._given_up or min(values.shape) < _SMALLEST_SIDE or _of_one_value(values):
            return
        corners = values[[0, 0, -1, -1], [0, -1, 0, -1]]
        with self._lock:
            if self._filled is None:
                found, times = np.unique(corners, return_counts=True)
                self._filled = found[np.argmax(times)]
                self._hits = np.zeros(values.shape, np.uint32)
            if self._filled not in corners:
                self._given_up, self._hits = True, None
            if self._hits is not None:
                self._hits += values == self._filled
                self._slices += 1

    def result(self) -> FieldOfView | None:
        """None where the whole of the slices was seen, or that cannot be told."""
        from scipy.ndimage import binary_dilation, label

        if self._hits is None or self._filled is None or self._slices < FEWEST_SLICES:
            return None
        always = self._hits == self._slices
        regions, _ = label(always)
        at_corners = np.unique(regions[[0, 0, -1, -1], [0, -1, 0, -1]])
        outside = np.isin(regions, at_corners[at_corners > 0])
        if not LEAST_OUTSIDE <= outside.mean() <= 1 - LEAST_SEEN:
            return None
        beside = binary_dilation(outside) & ~outside
        if self._hits[beside].mean() > MOST_BESIDE * self._slices:
            return None
        return FieldOfView(outside, float(self._filled))

    @property
    def slices(self) -> int:
        """How many slices were not of one grey value all over."""
        return self._slices


def _of_one_value(values: np.ndarray) -> bool:
    """Whether a slice holds one grey value; a few voxels tell nearly all slices."""
    first = values[0, 0]
    few = values[:: max(1, values.shape[0] // 16), :: max(1, values.shape[1] // 16)]
    return bool((few == first).all() and (values == first).all())
