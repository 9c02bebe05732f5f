"""Total variation denoising: noise goes, edges stay (Rudin, Osher and Fatemi 1992).

Of all volumes u it takes the one with the least ½ ‖u − grey values‖² + weight · total variation of
u, by fast gradient projection on the dual problem (Beck and Teboulle 2009). The number of steps is
fixed, and each lets a voxel know of its next neighbours alone: what lies farther off than `HALO`
voxels cannot change a single bit of the answer. So a box that is read with that margin is the same
whichever box it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from particleseg_app.segmentation.cores import cores

STEPS = 25
HALO = STEPS + 1


def denoised(values: np.ndarray, weight: float, threads: int | None = None) -> np.ndarray:
    """Grey values (z, y, x) without their noise; float32.

    `weight` (> 0), in grey values: about the standard deviation of the noise. It is also by how
    much a flat face may be shifted in grey value per voxel of thickness, so small bright bodies
    fade. `threads` share the work (None: `cores()`) and do not change the result.
    """
    from particleseg_app.segmentation.total_variation_kernels import (
        add_divergence,
        step_along_gradient,
    )

    grey = np.ascontiguousarray(values, np.float32)
    if not grey.size:
        return grey.copy()
    ahead_z, ahead_y, ahead_x, flow_z, flow_y, flow_x = np.zeros((6, *grey.shape), np.float32)
    result = np.empty_like(grey)
    factor, step = np.float32(weight), np.float32(1 / (12 * weight))
    inertia = 1.0
    momentum = np.float32(0)

    def diverge(first: int, last: int) -> None:
        add_divergence(grey, factor, ahead_z, ahead_y, ahead_x, first, last, result)

    def climb(first: int, last: int) -> None:
        step_along_gradient(
            result, step, momentum, ahead_z, ahead_y, ahead_x, flow_z, flow_y, flow_x, first, last
        )

    with _Slabs(len(grey), threads or cores()) as slabs:
        for _ in range(STEPS):
            slabs.each(diverge)
            following = (1 + math.sqrt(1 + 4 * inertia**2)) / 2
            momentum = np.float32((inertia - 1) / following)
            inertia = following
            slabs.each(climb)
        # What is ahead of the last step is the flow itself.
        ahead_z, ahead_y, ahead_x = flow_z, flow_y, flow_x
        slabs.each(diverge)
    return result


class _Slabs:
    """Threads that do a few slices each, all of one pass before the next."""

    def __init__(self, depth: int, threads: int) -> None:
        count = max(1, min(threads, depth))
        self._ranges = list(itertools.pairwise(depth * i // count for i in range(count + 1)))
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="denoise")

    def each(self, do: Callable[[int, int], None]) -> None:
        if len(self._ranges) == 1:
            do(*self._ranges[0])
            return
        for _ in self._pool.map(lambda ends: do(*ends), self._ranges):
            pass

    def __enter__(self) -> _Slabs:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
