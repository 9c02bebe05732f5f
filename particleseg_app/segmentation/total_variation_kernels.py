"""The two passes of one step of total variation denoising, compiled; see `total_variation`.

Importing this file imports numba. Each call does the slices first to last - 1 of its arrays, which
all have the shape (z, y, x); so several threads share one step. `flow_…` are the three parts of the
dual field, which is 0 in the last layer along its own axis.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def add_divergence(
    grey: np.ndarray,
    weight: np.float32,
    flow_z: np.ndarray,
    flow_y: np.ndarray,
    flow_x: np.ndarray,
    first: int,
    last: int,
    result: np.ndarray,
) -> None:
    """`result` = `grey` + `weight` · divergence of the flow; all float32."""
    _, height, width = grey.shape
    nothing = np.zeros(width, np.float32)
    for z in range(first, last):
        for y in range(height):
            below_z = flow_z[z - 1, y] if z > 0 else nothing
            below_y = flow_y[z, y - 1] if y > 0 else nothing
            own_z, own_y, own_x = flow_z[z, y], flow_y[z, y], flow_x[z, y]
            source, target = grey[z, y], result[z, y]
            target[0] = source[0] + weight * (
                own_z[0] - below_z[0] + own_y[0] - below_y[0] + own_x[0]
            )
            for x in range(1, width):
                target[x] = source[x] + weight * (
                    own_z[x] - below_z[x] + own_y[x] - below_y[x] + own_x[x] - own_x[x - 1]
                )


@njit(nogil=True, cache=True)
def step_along_gradient(
    values: np.ndarray,
    step: np.float32,
    momentum: np.float32,
    ahead_z: np.ndarray,
    ahead_y: np.ndarray,
    ahead_x: np.ndarray,
    flow_z: np.ndarray,
    flow_y: np.ndarray,
    flow_x: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Move the flow along the gradient of `values`, to a length of 1 at most.

    It starts from `ahead_…`, which is then put ahead of the new flow by the `momentum`.
    """
    depth, height, width = values.shape
    one = np.float32(1)
    for z in range(first, last):
        for y in range(height):
            own = values[z, y]
            above_z = values[z + 1, y] if z + 1 < depth else own
            above_y = values[z, y + 1] if y + 1 < height else own
            next_z, next_y, next_x = ahead_z[z, y], ahead_y[z, y], ahead_x[z, y]
            kept_z, kept_y, kept_x = flow_z[z, y], flow_y[z, y], flow_x[z, y]
            for x in range(width):
                to_x = own[x + 1] if x + 1 < width else own[x]
                new_z = next_z[x] + step * (above_z[x] - own[x])
                new_y = next_y[x] + step * (above_y[x] - own[x])
                new_x = next_x[x] + step * (to_x - own[x])
                shorten = one / max(one, np.sqrt(new_z * new_z + new_y * new_y + new_x * new_x))
                new_z *= shorten
                new_y *= shorten
                new_x *= shorten
                next_z[x] = new_z + momentum * (new_z - kept_z[x])
                next_y[x] = new_y + momentum * (new_y - kept_y[x])
                next_x[x] = new_x + momentum * (new_x - kept_x[x])
                kept_z[x], kept_y[x], kept_x[x] = new_z, new_y, new_x
