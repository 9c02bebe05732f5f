"""What lies around simulated particles: matrix, spacer grains, bubbles, container wall, air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.training.packing import (
    Container,
    PackingSettings,
    paint_particles,
    place_particles,
)
from particleseg_app.training.random_fields import log_uniform, smooth_noise
from particleseg_app.units import Shape

NO_CONTAINER = Container()


@dataclass(frozen=True)
class SurroundingsSettings:
    """Attenuations relative to the matrix (0) and a usual particle (1); lengths in voxels."""

    container: Container = NO_CONTAINER
    wall: float = 0.0  # thickness; 0: the matrix itself ends there
    wall_level: float = 0.0
    air_level: float = 0.0
    surface: float = -1.0  # share of the height above which there is only air; below 0: none
    bubbles: float = 0.0  # share of the matrix
    spacers: float = 0.0  # share of the volume filled with spacer grains
    spacer_level: float = -0.2
    matrix_texture: float = 0.0
    view_radius: float = 0.0  # outside this circle the reconstruction is empty; 0: none


def random_surroundings(
    rng: np.random.Generator, shape: Shape, diameter: float, edge: float = 0.36
) -> SurroundingsSettings:
    """Surroundings of a scene; `edge` is the chance that a cylinder's edge runs through it."""
    in_air = rng.random() < 0.35
    air_level = float(rng.normal(0, 0.06)) if in_air else -float(rng.uniform(0.25, 1.3))
    container, wall, wall_level, view_radius = NO_CONTAINER, 0.0, 0.0, 0.0
    if rng.random() < edge:
        radius = float(rng.uniform(0.45, 2.0)) * max(shape[1:])
        angle = rng.uniform(0, 2 * np.pi)
        # The edge passes the middle of the scene at up to half its width.
        offset = max(0.0, radius - rng.uniform(0.05, 0.5) * max(shape[1:]))
        axis = np.array(shape[1:]) / 2 + offset * np.array([np.sin(angle), np.cos(angle)])
        container = Container(float(axis[0]), float(axis[1]), radius)
        if in_air or rng.random() < 0.6:
            wall = log_uniform(rng, 2.5, 45)
            wall_level = float(
                rng.choice(
                    [rng.uniform(1.0, 2.6), rng.uniform(0.25, 1.0), -rng.uniform(0.05, 0.3)],
                    p=[0.5, 0.35, 0.15],
                )
            )
        if rng.random() < 0.2:
            view_radius = radius + wall + float(rng.uniform(5, 40))
    return SurroundingsSettings(
        container=container,
        wall=wall,
        wall_level=wall_level,
        air_level=air_level,
        surface=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.12 else -1.0,
        bubbles=0.0 if in_air else float(rng.choice([0.0, 0.0, 0.02, 0.06])),
        spacers=0.0 if in_air else float(rng.choice([0.0, 0.0, 0.0, 0.15, 0.3])),
        spacer_level=float(
            rng.choice([-rng.uniform(0.1, 0.6), rng.uniform(0.0, 0.15)], p=[0.8, 0.2])
        ),
        matrix_texture=float(rng.choice([0.0, 0.0, 0.03, 0.06])),
        view_radius=view_radius,
    )


def distance_from_axis(shape: Shape, container: Container) -> np.ndarray:
    """Distance of each column from the cylinder axis in voxels, (1, y, x)."""
    y = np.arange(shape[1], dtype=np.float32)[:, None] - container.axis_y
    x = np.arange(shape[2], dtype=np.float32)[None, :] - container.axis_x
    return np.hypot(y, x)[None].astype(np.float32)


def outside_container(shape: Shape, settings: SurroundingsSettings) -> np.ndarray | None:
    """Voxels where no particle can be, (1, y, x) bool, or None where there is no container."""
    if settings.container.radius <= 0:
        return None
    return distance_from_axis(shape, settings.container) > settings.container.radius


def _bubbles(rng: np.random.Generator, shape: Shape, share: float) -> np.ndarray:
    """Round bubbles that fill about `share` of the volume (bool)."""
    result = np.zeros(shape, bool)
    wanted, filled = share * result.size, 0.0
    while filled < wanted:
        radius = min(log_uniform(rng, 1.5, 20), (wanted / 4) ** (1 / 3) + 2)
        centre = rng.uniform(0, shape)
        low = np.maximum(0, np.floor(centre - radius)).astype(int)
        high = np.minimum(shape, np.ceil(centre + radius) + 1).astype(int)
        grid = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        square = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        result[low[0] : high[0], low[1] : high[1], low[2] : high[2]] |= square < radius**2
        filled += 4.2 * radius**3
    return result


def attenuation_around(
    rng: np.random.Generator, shape: Shape, settings: SurroundingsSettings, diameter: float
) -> np.ndarray:
    """Attenuation of everything that is not a particle; float32, (z, y, x)."""
    volume = np.zeros(shape, np.float32)
    if settings.matrix_texture > 0:
        volume += settings.matrix_texture * smooth_noise(rng, shape, rng.uniform(3, 30))
    if settings.spacers > 0:
        packing = PackingSettings(
            diameter=float(np.clip(diameter * rng.uniform(0.4, 1.3), 7, 40)), spread=0.3,
            family=str(rng.choice(["angular", "rounded"])), fill=settings.spacers, clearance=1.0,
            pushed_together=0.3,
        )  # fmt: skip
        grains = place_particles(rng, shape, packing, Container())
        spacer, _ = paint_particles(rng, shape, grains, packing)
        volume[spacer > 0] = settings.spacer_level
    if settings.bubbles > 0:
        volume[_bubbles(rng, shape, settings.bubbles)] = settings.air_level
    if settings.surface >= 0:
        level = settings.surface * shape[0] + 3 * smooth_noise(rng, shape[1:], 30)
        volume[np.arange(shape[0])[:, None, None] < level[None]] = settings.air_level
    if settings.container.radius > 0:
        distance = np.broadcast_to(distance_from_axis(shape, settings.container), shape)
        outside = distance > settings.container.radius
        volume[outside] = settings.air_level
        if settings.wall > 0:
            wall = outside & (distance < settings.container.radius + settings.wall)
            volume[wall] = settings.wall_level
    return volume
