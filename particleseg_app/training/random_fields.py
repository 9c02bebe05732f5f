"""Smooth random fields that simulated scans use for warps, textures, gaps and drifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], length: float) -> np.ndarray:
    """Gaussian random field of zero mean, unit deviation and correlation `length` in voxels.

    Long correlations are drawn on a coarser grid and enlarged linearly, which looks the same and
    costs a fraction. Returns float32 of `shape` (any number of axes).
    """
    from scipy import ndimage

    step = max(1.0, length / 2.0)
    coarse = [max(4, int(np.ceil(size / step)) + 1) for size in shape]
    field = rng.standard_normal(coarse, dtype=np.float32)
    field = ndimage.gaussian_filter(field, max(0.3, length / step * 0.7), mode="wrap", truncate=3.0)
    if coarse != list(shape):
        zoom = [size / small for size, small in zip(shape, coarse, strict=True)]
        field = ndimage.zoom(field, zoom, order=1, mode="nearest", grid_mode=True)
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
