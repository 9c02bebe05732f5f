"""Labelled volumes in memory at a network's working scale, resampled as in a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.models import GreyScaling
from particleseg_app.segmentation.working_scale import read_at_working_scale, working_shape
from particleseg_app.units import Box, Shape


@dataclass(frozen=True)
class _ArrayVolume:
    values: np.ndarray

    @property
    def shape(self) -> Shape:
        return self.values.shape

    def read(self, box: Box) -> np.ndarray:
        return self.values[box.slices]


def resampled(
    grey: np.ndarray, labels: np.ndarray, scale_factor: float, scaling: GreyScaling
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised grey (float32) and labels, both (z, y, x), `scale_factor` times as large.

    000 §3.2.1: grey values as `read_at_working_scale` has them, labels by the nearest voxel.
    """
    import torch

    shape = working_shape(grey.shape, scale_factor)
    values = read_at_working_scale(
        _ArrayVolume(grey), shape, Box.whole(shape), scaling, torch.device("cpu")
    ).numpy()
    nearest = np.ix_(
        *(
            np.minimum(((np.arange(w) + 0.5) * n / w).astype(np.int64), n - 1)
            for w, n in zip(shape, labels.shape, strict=True)
        )
    )
    return values, labels[nearest]
