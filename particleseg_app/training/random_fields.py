"""Smooth random fields that simulated scans use for warps, textures, gaps and drifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit


@njit(cache=True)
def _positions(size: int, small: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two samples of `small` beside each of `size` places, and the weight of the second."""
    low, high = np.empty(size, np.int64), np.empty(size, np.int64)
    weight = np.empty(size, np.float32)
    for i in range(size):
        at = min(max((i + 0.5) * small / size - 0.5, 0.0), small - 1.0)
        low[i] = int(at)
        high[i] = min(low[i] + 1, small - 1)
        weight[i] = at - low[i]
    return low, high, weight


@njit(cache=True)
def _enlarged(field: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    result = np.empty(shape, np.float32)
    z0, z1, wz = _positions(shape[0], field.shape[0])
    y0, y1, wy = _positions(shape[1], field.shape[1])
    x0, x1, wx = _positions(shape[2], field.shape[2])
    row = np.empty(field.shape[2], np.float32)
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(len(row)):
                first = field[z0[z], y0[y], x] * (1 - wy[y]) + field[z0[z], y1[y], x] * wy[y]
                second = field[z1[z], y0[y], x] * (1 - wy[y]) + field[z1[z], y1[y], x] * wy[y]
                row[x] = first * (1 - wz[z]) + second * wz[z]
            for x in range(shape[2]):
                result[z, y, x] = row[x0[x]] * (1 - wx[x]) + row[x1[x]] * wx[x]
    return result


def enlarged(field: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """`field` (up to three axes) resampled linearly to `shape`, outer faces aligned; float32.

    The same as scipy's `zoom` of first order in grid mode, several times faster.
    """
    sizes = (*(1,) * (3 - field.ndim), *(int(size) for size in shape))
    volume = np.ascontiguousarray(field, np.float32)
    volume = volume.reshape((1,) * (3 - field.ndim) + field.shape)
    full = np.asarray(_enlarged(volume, (sizes[0], sizes[1], sizes[2])))
    return full.reshape(tuple(shape))


def coarse_noise(rng: np.random.Generator, shape: Sequence[int], length: float) -> np.ndarray:
    """A Gaussian random field for `shape`, on a grid as coarse as its correlation length allows.

    `length` in voxels of `shape`. Long correlations enlarged linearly look the same as drawn in
    full, and cost a fraction. float32; mean and deviation are left to who enlarges it.
    """
    from scipy import ndimage

    step = max(1.0, length / 2.0)
    coarse = [max(4, int(np.ceil(size / step)) + 1) for size in shape]
    field = rng.standard_normal(coarse, dtype=np.float32)
    return np.asarray(
        ndimage.gaussian_filter(field, max(0.3, length / step * 0.7), mode="wrap", truncate=3.0)
    )


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], length: float) -> np.ndarray:
    """Gaussian random field of zero mean, unit deviation and correlation `length` in voxels.

    Returns float32 of `shape` (any number of axes).
    """
    field = coarse_noise(rng, shape, length)
    if field.shape != tuple(shape):
        field = enlarged(field, shape)
    field -= field.mean()
    spread = float(field.std())
    return (field / spread if spread > 0 else field).astype(np.float32)


def periodic_noise(rng: np.random.Generator, size: int, length: float) -> np.ndarray:
    """Cube of `size`³ noise that wraps around, zero mean, unit deviation, float32."""
    from scipy import ndimage

    field = rng.standard_normal((size, size, size), dtype=np.float32)
    field = ndimage.gaussian_filter(field, length, mode="wrap", truncate=3.0)
    field -= field.mean()
    return (field / field.std()).astype(np.float32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number between `low` and `high`, every ratio equally likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
