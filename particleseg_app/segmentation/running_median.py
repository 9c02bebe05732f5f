"""Compiled loop: the median of neighbours along rows.

Importing this file imports numba; see `region_growth`.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def running_median(rows: np.ndarray, window: int) -> np.ndarray:
    """The median of `window` (odd) values about each one along its row; float32 (rows, columns).

    Beyond its ends a row goes on with its last value, as `scipy.ndimage.median_filter` has it with
    the mode "nearest", which takes ten times as long.
    """
    count, length = rows.shape
    half = window // 2
    medians = np.empty((count, length), np.float32)
    ordered = np.empty(window, np.float32)
    for row in range(count):
        values = rows[row]
        for index in range(window):
            new = values[min(max(index - half, 0), length - 1)]
            place = index
            while place > 0 and ordered[place - 1] > new:
                ordered[place] = ordered[place - 1]
                place -= 1
            ordered[place] = new
        medians[row, 0] = ordered[half]
        for column in range(1, length):
            old = values[min(max(column - half - 1, 0), length - 1)]
            new = values[min(column + half, length - 1)]
            place = 0
            while place < window - 1 and ordered[place] != old:  # bounded, should a value be none
                place += 1
            # The new value moves from the old one's place to its own.
            while place > 0 and ordered[place - 1] > new:
                ordered[place] = ordered[place - 1]
                place -= 1
            while place < window - 1 and ordered[place + 1] < new:
                ordered[place] = ordered[place + 1]
                place += 1
            ordered[place] = new
            medians[row, column] = ordered[half]
    return medians
