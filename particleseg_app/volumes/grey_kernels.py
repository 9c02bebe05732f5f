"""Compiled loops over grey values. Importing this module loads numba: import it where it is used.

They release the interpreter's lock, so that slices are counted while others are read and written.
The first call on a computer compiles each loop (about a second); the result is kept on disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def count_values(values: np.ndarray, counts: np.ndarray) -> None:
    """Add the numbers of times that each value of unsigned `values` occurs to `counts` (2, n).

    Two tables take turns, because adding to the same place twice in a row has to wait.
    """
    even = values.size // 2 * 2
    for i in range(0, even, 2):
        counts[0, values[i]] += 1
        counts[1, values[i + 1]] += 1
    if even < values.size:
        counts[0, values[even]] += 1


# All values are finite here, so sums may be taken in any order, several at a time.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def moments_and_ends(
    values: np.ndarray, low: float, high: float, shift: float
) -> tuple[float, float, int, int]:
    """Sum and sum of squares of (value - `shift`), and how many values equal `low` and `high`."""
    total = squares = 0.0
    lowest = highest = 0
    for i in range(values.size):
        difference = values[i] - shift
        total += difference
        squares += difference * difference
        lowest += values[i] == low
        highest += values[i] == high
    return total, squares, lowest, highest


@njit(nogil=True, cache=True)
def count_in_bins(values: np.ndarray, origin: float, per_width: float, counts: np.ndarray) -> None:
    """Add `values` to bins of equal width from `origin` on.

    `counts` has one place more at each end, for values below and above all bins.
    """
    bins = counts.size - 2
    for i in range(values.size):
        position = (values[i] - origin) * per_width
        if position < 0:
            counts[0] += 1
        elif position >= bins:
            counts[bins + 1] += 1
        else:
            counts[int(position) + 1] += 1
