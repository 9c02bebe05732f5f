"""A piece of scan and labels around one case, in memory, so that showing it never waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from particleseg_app.gui.viewers.slice_reader import GreyStatisticsLike
from particleseg_app.units import Box, Shape

SMALLEST_MARGIN = 12
LARGEST_EDGE = 320  # of a neighbourhood; larger cases are shown from their middle


class BoxVolume(Protocol):
    """Anything whose boxes can be read: a scan, labels, or labels as mended."""

    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Grey values and labels (z, y, x) of `box`, a part of the scan."""

    box: Box
    grey: np.ndarray
    labels: np.ndarray

    def with_change(self, box: Box, before: np.ndarray, after: np.ndarray) -> Neighbourhood:
        """The same place with the voxels that differ in `box` changed (where the two overlap)."""
        shared = self.box.intersection(box)
        if not shared.size:
            return self
        old, new = before[shared.within(box)], after[shared.within(box)]
        mended = self.labels.copy()
        part = mended[shared.within(self.box)]
        part[old != new] = new[old != new]
        return replace(self, labels=mended)

    def holds(self, particles: Iterable[int]) -> bool:
        """Whether any voxel is one of `particles`."""
        wanted = list(particles)
        return any(bool(np.isin(plane, wanted).any()) for plane in self.labels)

    def only(self, wanted: Iterable[int]) -> np.ndarray:
        """The labels with every particle left out that is not wanted."""
        return np.where(np.isin(self.labels, list(wanted)), self.labels, 0).astype(np.uint32)

    def touching(self, particles: Iterable[int]) -> set[int]:
        """Particles with a voxel beside one of `particles`, without these."""
        near = mask = np.isin(self.labels, list(particles))
        if not mask.any():
            return set()
        # One axis after the other: much quicker than a dilation by a cube, which gives the same.
        for axis in range(3):
            low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
            high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
            wider = near.copy()
            wider[high] |= near[low]
            wider[low] |= near[high]
            near = wider
        return {int(label) for label in np.unique(self.labels[near & ~mask]) if label}


def box_to_show(box: Box, shape: Shape, margin: int) -> Box:
    """`box` with some surroundings, inside a volume of `shape`, at most `LARGEST_EDGE` wide."""
    start, stop = [], []
    for low, high, length in zip(box.start, box.stop, shape, strict=True):
        first, last = low - margin, high + margin
        if last - first > LARGEST_EDGE:
            first = (low + high - LARGEST_EDGE) // 2
            last = first + LARGEST_EDGE
        start.append(max(0, first))
        stop.append(min(length, last))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def read_neighbourhood(
    scan: BoxVolume, labels: BoxVolume, box: Box, margin: int = SMALLEST_MARGIN
) -> Neighbourhood:
    """Read what lies in and around `box`; call it from a thread that may wait."""
    shown = box_to_show(box, labels.shape, max(SMALLEST_MARGIN, margin))
    return Neighbourhood(
        shown,
        np.ascontiguousarray(scan.read(shown)),
        np.ascontiguousarray(labels.read(shown), dtype=np.uint32),
    )


class CropScan:
    """The grey values of a neighbourhood as a scan that the views can show."""

    def __init__(self, grey: np.ndarray, statistics: GreyStatisticsLike) -> None:
        """`statistics` are those of the whole scan, so that the greys look as everywhere."""
        self._grey = grey
        self.statistics = statistics

    @property
    def shape(self) -> Shape:
        z, y, x = self._grey.shape
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._grey.dtype

    def read(self, box: Box) -> np.ndarray:
        return self._grey[box.slices]

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        return np.take(self._grey, index, axis)


class CropLabels:
    """Labels in memory as a label volume that the views can show."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels
        self.count = int(labels.max(initial=0))

    @property
    def shape(self) -> Shape:
        z, y, x = self._labels.shape
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._labels.dtype

    def read(self, box: Box) -> np.ndarray:
        return self._labels[box.slices]

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        return np.take(self._labels, index, axis)
