"""Slices inside a stack that hold nothing, or are copies of the slice before.

Both are found while a scan is read. A few values of each slice tell nearly all slices apart; only
the others are compared as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SAMPLES_ALONG_EDGE = 48


@dataclass(frozen=True)
class OddSlices:
    """How many there are of one kind, and the index of the first; no slices have index -1."""

    count: int = 0
    first: int = -1


NO_SLICES = OddSlices()


class OddSliceFinder:
    """Told of every slice once, in any order and from any thread, then of those beside it."""

    def __init__(self, depth: int) -> None:
        self._samples: dict[int, np.ndarray] = {}
        self._blank = np.zeros(depth, bool)
        self._copied = np.zeros(depth, bool)

    def add(self, index: int, values: np.ndarray) -> None:
        """Note a slice (y, x)."""
        steps = (max(1, n // _SAMPLES_ALONG_EDGE) for n in values.shape)
        sample = values[tuple(slice(None, None, step) for step in steps)].copy()
        self._samples[index] = sample
        if (sample == sample[0, 0]).all():
            self._blank[index] = bool((values == values[0, 0]).all())

    def compare(self, start: int, stop: int, slice_at: Callable[[int], np.ndarray]) -> None:
        """Compare each of the slices from `start` to `stop` with the one before.

        All of them are noted, and that before `start`, too. `slice_at` gives the values of one of
        them, all in the same arrangement.
        """
        for index in range(max(1, start), stop):
            before = self._samples.pop(index - 1)
            if (
                not self._blank[index]
                and np.array_equal(before, self._samples[index])
                and np.array_equal(slice_at(index - 1), slice_at(index))
            ):
                self._copied[index] = True

    @property
    def blank(self) -> OddSlices:
        """Slices of one grey value that have others below and above them.

        Empty slices at the ends are what lies around the sample.
        """
        filled = np.flatnonzero(~self._blank)
        if filled.size == 0:
            return NO_SLICES
        inside = self._blank.copy()
        inside[: filled[0]] = inside[filled[-1] :] = False
        return _counted(inside)

    @property
    def copied(self) -> OddSlices:
        """Slices that are exact copies of the slice before, blank ones left out."""
        return _counted(self._copied)


def _counted(odd: np.ndarray) -> OddSlices:
    found = np.flatnonzero(odd)
    return OddSlices(int(found.size), int(found[0])) if found.size else NO_SLICES
