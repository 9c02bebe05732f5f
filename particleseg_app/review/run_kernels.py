"""Compiled search for runs of equal changes. Importing this loads numba."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def changed_runs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Runs (4, n) int64 where two flat arrays differ: first place, length, before, after.

    A run ends where either value changes.
    """
    count = 0
    for at in range(before.size):
        if before[at] != after[at] and (
            at == 0 or before[at] != before[at - 1] or after[at] != after[at - 1]
        ):
            count += 1
    runs = np.empty((4, count), np.int64)
    run = -1
    for at in range(before.size):
        if before[at] != after[at]:
            if at == 0 or before[at] != before[at - 1] or after[at] != after[at - 1]:
                run += 1
                runs[0, run] = at
                runs[1, run] = 0
                runs[2, run] = before[at]
                runs[3, run] = after[at]
            runs[1, run] += 1
    return runs
