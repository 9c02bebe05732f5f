"""Blurs and changes of resolution as matrices, one for each axis of a volume.

Such a change treats every line of voxels along an axis alike and is linear in their values, so it
is the product of the volume with a small matrix: one short piece of work on a graphics card as on a
processor, however wide the blur. Each matrix is what scipy makes of the unit vectors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.training.hand_over import handed_over

if TYPE_CHECKING:
    import torch


@lru_cache(maxsize=4)  # all axes of a patch have one length
def blur_matrix(length: int, sigma: float, truncate: float = 4.0) -> np.ndarray:
    """(length, length): scipy's `gaussian_filter1d`, faces continued by their own voxels."""
    from scipy import ndimage

    return np.asarray(
        ndimage.gaussian_filter1d(np.eye(length), sigma, 0, mode="nearest", truncate=truncate)
    )


@lru_cache(maxsize=4)
def resolution_matrix(length: int, coarse: int) -> np.ndarray:
    """(length, length): sampled linearly on `coarse` voxels and back, outer faces aligned."""
    return enlarging_matrix(coarse, length) @ enlarging_matrix(length, coarse)


def enlarging_matrix(length: int, result: int) -> np.ndarray:
    """(result, length): scipy's `zoom` of first order in grid mode, faces continued."""
    at = np.clip((np.arange(result) + 0.5) * length / result - 0.5, 0, length - 1)
    low = at.astype(np.int64)
    high = np.minimum(low + 1, length - 1)
    matrix = np.zeros((result, length))
    rows = np.arange(result)
    np.add.at(matrix, (rows, low), 1 - (at - low))
    np.add.at(matrix, (rows, high), at - low)
    return matrix


def along_axis(volume: torch.Tensor, matrix: np.ndarray, axis: int) -> torch.Tensor:
    """`matrix` times each line of `volume` along `axis`; float32, on the volume's device."""
    import torch

    values = handed_over(matrix, volume.device)
    if axis % volume.ndim == volume.ndim - 1:
        return torch.matmul(volume, values.T)
    if axis % volume.ndim == 0:
        rest = volume.shape[1:]
        return torch.matmul(values, volume.reshape(volume.shape[0], -1)).reshape(-1, *rest)
    return torch.matmul(values, volume.movedim(axis, -2)).movedim(-2, axis)


def along_all_axes(volume: torch.Tensor, matrices: list[np.ndarray]) -> torch.Tensor:
    """`along_axis` for each axis in turn with its own matrix."""
    for axis, matrix in enumerate(matrices):
        volume = along_axis(volume, matrix, axis)
    return volume
