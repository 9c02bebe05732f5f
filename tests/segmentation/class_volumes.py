"""Small volumes of classes and labels for the tests of this room."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from particleseg_app.units import Box, Shape


class Classes:
    """A classes volume in memory that counts how often it is read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.reads = 0

    @property
    def shape(self) -> Shape:
        z, y, x = self.array.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        self.reads += 1
        return self.array[box.slices]


def blob_classes(shape: Shape, seed: int, sigma: float, fill: float, core: float) -> np.ndarray:
    """Random classes, smooth over `sigma` voxels: core (a share `core` of it) inside border."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    if sigma:
        noise = ndimage.gaussian_filter(noise, sigma, mode="nearest")
    classes = (noise > np.quantile(noise, 1 - fill)).astype(np.uint8) * 2
    classes[noise > np.quantile(noise, 1 - fill * core)] = 1
    return classes


def snake_classes(rows: int, length: int) -> np.ndarray:
    """One winding way of border, 1 × (2 rows − 1) × length, with a core voxel at each end."""
    classes = np.zeros((1, 2 * rows - 1, length), np.uint8)
    classes[0, ::2] = 2
    for row in range(rows - 1):
        classes[0, 2 * row + 1, -1 if row % 2 == 0 else 0] = 2
    classes[0, 0, 0] = 1
    classes[0, -1, -1 if rows % 2 else 0] = 1
    return classes


def separate_balls(shape: Shape, centres_and_radii: list[tuple[Shape, float]]) -> np.ndarray:
    """uint32 labels of balls, numbered in the order given; later ones cover earlier ones."""
    grid = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    for number, (centre, radius) in enumerate(centres_and_radii, start=1):
        squared = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
        labels[squared <= radius**2] = number
    return labels
