"""Volumes in memory for tests, with the reading interface of a scan."""

import functools

import numpy as np

from particleseg_app.units import Box
from particleseg_app.volumes import GreyStatistics
from particleseg_app.volumes.grey_counting import GreyCounter


class ArrayVolume:
    """An array that is read like a scan and remembers its largest read, in voxels."""

    field_of_view = None  # all of it is seen

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.largest_read = 0

    @property
    def shape(self):
        return self.array.shape

    @functools.cached_property
    def statistics(self) -> GreyStatistics:
        counter = GreyCounter(self.array.dtype)
        counter.add(self.array.copy())
        return counter.result()

    def read(self, box: Box) -> np.ndarray:
        self.largest_read = max(self.largest_read, box.size)
        return self.array[box.slices].copy()
