"""Small scans of round grains, in a sample tube or in what only resembles one; (z, y, x)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from particleseg_app.units import Box, Shape

DIAMETER = 12.0


@dataclass(frozen=True)
class GreyArray:
    """An array that is read like a scan."""

    array: np.ndarray

    @property
    def shape(self) -> Shape:
        z, y, x = self.array.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        values: np.ndarray = self.array[box.slices]
        return values


@dataclass(frozen=True)
class Tube:
    """A tube: axis in slice 0 (y, x), lean in voxels a slice, radii at slice 0, grey levels."""

    axis: tuple[float, float]
    inner: float
    thickness: float
    lean: tuple[float, float] = (0.0, 0.0)
    widening: float = 0.0
    wall: float = 1.2
    matrix: float = 0.0
    air: float = 0.0

    def distance(self, shape: Shape) -> np.ndarray:
        """Of each voxel from the axis, float32."""
        z, y, x = np.ogrid[[slice(n) for n in shape]]
        off_y, off_x = y - self.axis[0] - self.lean[0] * z, x - self.axis[1] - self.lean[1] * z
        return np.asarray(np.hypot(off_y, off_x), np.float32)

    def radius(self, shape: Shape) -> np.ndarray:
        """The inner radius in each slice (z, 1, 1)."""
        return np.asarray(self.inner + self.widening * np.arange(shape[0]))[:, None, None]


def grains(
    random: np.random.Generator,
    shape: Shape,
    allowed: np.ndarray,
    share: float,
    diameter: float = DIAMETER,
) -> np.ndarray:
    """Labels (int32) of balls that do not overlap, cut off where it is not `allowed` (bool).

    Their centres lie where it is allowed and so do most of their voxels. Grains are tried until
    they fill about `share` of the place, or no more fit.
    """
    labels = np.zeros(shape, np.int32)
    wanted, filled, number = share * allowed.sum(), 0, 0
    places = np.argwhere(allowed)
    for _ in range(4000):
        if filled >= wanted:
            break
        radius = diameter / 2 * np.exp(random.normal(0, 0.15))
        centre = places[random.integers(len(places))]
        low = np.maximum(0, centre - int(radius + 1))
        high = np.minimum(shape, centre + int(radius + 2))
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.ogrid[box]
        ball = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
        if labels[box][ball].any() or allowed[box][ball].mean() < 0.9:
            continue
        number += 1
        labels[box][ball & allowed[box]] = number
        filled += int(ball.sum())
    return labels


def grains_at_wall(
    random: np.random.Generator, labels: np.ndarray, tube: Tube, share: float
) -> None:
    """Add grains that touch the wall over about `share` of its circumference, in place."""
    depth = labels.shape[0]
    directions = int(share * 2 * np.pi * tube.inner / DIAMETER)
    inside = tube.distance(labels.shape) < tube.radius(labels.shape)
    number = labels.max()
    for angle in random.uniform(0, 2 * np.pi, directions):
        for z in np.arange(DIAMETER / 2, depth, DIAMETER):
            away = tube.inner + tube.widening * z - DIAMETER / 2
            y = tube.axis[0] + tube.lean[0] * z + away * np.sin(angle)
            x = tube.axis[1] + tube.lean[1] * z + away * np.cos(angle)
            grid = np.ogrid[[slice(n) for n in labels.shape]]
            ball = (grid[0] - z) ** 2 + (grid[1] - y) ** 2 + (grid[2] - x) ** 2 <= (
                DIAMETER / 2
            ) ** 2
            ball &= inside
            if ball.any() and not labels[ball].any():
                number += 1
                labels[ball] = number


def pictured(
    random: np.random.Generator, level: np.ndarray, noise: float, blur: float = 0.8
) -> np.ndarray:
    """Attenuation (matrix 0, grain 1) as a scan shows it: blurred, noisy, uint16."""
    grey = ndimage.gaussian_filter(level.astype(np.float32), blur)
    grey += random.normal(0, noise, grey.shape).astype(np.float32)
    return np.clip((grey + 1) * 15000, 0, 65535).astype(np.uint16)


def tube_scan(
    random: np.random.Generator,
    shape: Shape,
    tube: Tube,
    share: float = 0.35,
    at_wall: float = 0.2,
    noise: float = 0.08,
) -> tuple[np.ndarray, np.ndarray]:
    """Grey values (uint16) and labels (int32) of grains in a tube; nothing but air beyond it."""
    distance, radius = tube.distance(shape), tube.radius(shape)
    labels = np.zeros(shape, np.int32)
    grains_at_wall(random, labels, tube, at_wall)
    free = (distance < radius - 1) & (labels == 0)
    more = grains(random, shape, free, share)
    labels = np.where(more > 0, more + labels.max(), labels)
    level = np.where(distance < radius, tube.matrix, tube.wall)
    level = np.where(distance >= radius + tube.thickness, tube.air, level)
    level = np.where(labels > 0, 1.0, level)
    return pictured(random, level, noise), labels
