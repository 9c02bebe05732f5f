"""What lies around simulated particles: matrix, spacer grains, bubbles, container wall, air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.training.container import (
    WallSettings,
    distance_from_axis,
    paint_walls,
    random_layers,
    random_walls,
)
from particleseg_app.training.packing import (
    Container,
    PackingSettings,
    paint_particles,
    place_particles,
)
from particleseg_app.training.random_fields import enlarged, log_uniform, smooth_noise
from particleseg_app.units import Shape

NO_CONTAINER = Container()
NO_WALLS = WallSettings()


@dataclass(frozen=True)
class SurroundingsSettings:
    """Attenuations relative to the matrix (0) and a usual particle (1); lengths in voxels."""

    container: Container = NO_CONTAINER
    walls: WallSettings = NO_WALLS
    air_level: float = 0.0
    surface: float = -1.0  # share of the height above which there is only air; below 0: none
    floor: float = -1.0  # share of the height below which lies the container's floor
    bubbles: float = 0.0  # share of the matrix
    spacers: float = 0.0  # share of the volume filled with spacer grains
    spacer_level: float = -0.2
    roots: int = 0  # long bodies that are no particles
    root_level: float = 0.15
    moisture: float = 0.0  # share of the space between particles filled with something faint
    moisture_level: float = 0.15
    matrix_texture: float = 0.0
    view_radius: float = 0.0  # outside this circle the reconstruction is empty; 0: none


def random_container(rng: np.random.Generator, shape: Shape) -> Container:
    """A cylinder whose edge crosses the scene, or a narrow one that lies in it as a whole."""
    width = max(shape[1:])
    if rng.random() < 0.12:
        radius = float(rng.uniform(0.28, 0.45)) * width
        offset = float(rng.uniform(0, 0.5 * width - radius))
    else:
        radius = log_uniform(rng, 0.45, 3.0) * width
        # The edge passes the middle of the scene at up to half its width, mostly on the far side.
        offset = max(0.0, radius - float(rng.uniform(-0.2, 0.5)) * width)
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.array(shape[1:]) / 2 + offset * np.array([np.sin(angle), np.cos(angle)])
    return Container(float(axis[0]), float(axis[1]), radius)


def random_surroundings(
    rng: np.random.Generator, shape: Shape, diameter: float, edge: float = 0.36
) -> SurroundingsSettings:
    """Surroundings of a scene; `edge` is the chance that a cylinder's edge runs through it."""
    in_air = rng.random() < 0.35
    air_level = float(rng.normal(0, 0.06)) if in_air else -float(rng.uniform(0.25, 1.3))
    container, walls, view_radius = NO_CONTAINER, NO_WALLS, 0.0
    if rng.random() < edge:
        container = random_container(rng, shape)
        has_walls = in_air or rng.random() < 0.6
        walls = random_walls(
            rng, container.radius, random_layers(rng, air_level) if has_walls else ()
        )
        if rng.random() < 0.2:
            view_radius = container.radius + walls.thickness + float(rng.uniform(5, 40))
    floor = float(rng.uniform(0.6, 0.95)) if rng.random() < 0.04 else -1.0
    return SurroundingsSettings(
        container=container,
        walls=walls,
        air_level=air_level,
        surface=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.12 else -1.0,
        floor=floor,
        bubbles=0.0 if in_air else float(rng.choice([0.0, 0.0, 0.02, 0.06])),
        spacers=0.0 if in_air else float(rng.choice([0.0, 0.0, 0.0, 0.15, 0.3])),
        spacer_level=float(
            rng.choice([-rng.uniform(0.1, 0.6), rng.uniform(0.0, 0.12)], p=[0.8, 0.2])
        ),
        roots=int(rng.integers(1, 4)) if in_air and rng.random() < 0.12 else 0,
        root_level=float(rng.uniform(0.08, 0.2)),
        matrix_texture=float(rng.choice([0.0, 0.0, 0.03, 0.06])),
        view_radius=view_radius,
    )


def outside_container(shape: Shape, settings: SurroundingsSettings) -> np.ndarray | None:
    """Voxels where no particle can be, broadcastable to `shape`, or None where there are none."""
    outside: np.ndarray | None = None
    if settings.container.radius > 0:
        distance = distance_from_axis(shape, settings.container, settings.walls)
        outside = np.asarray(distance > settings.container.radius)
    if settings.floor >= 0:
        below = np.asarray(np.arange(shape[0])[:, None, None] >= settings.floor * shape[0])
        outside = below if outside is None else np.asarray(np.logical_or(outside, below))
    return outside


def _roots(rng: np.random.Generator, shape: Shape, count: int, diameter: float) -> np.ndarray:
    """Winding round bodies that cross the scene, some wider than a particle (bool)."""
    from scipy import ndimage

    result = np.zeros(shape, bool)
    for _ in range(count):
        radius = log_uniform(rng, 0.3, 1.3) * min(diameter, 30.0)
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        along = np.linspace(-1, 1, 60)[:, None] * max(shape)
        bend = rng.normal(0, 0.12, (2, 3)) * max(shape)
        phase = along / max(shape)
        middle = rng.uniform(0.2, 0.8, 3) * shape
        path = middle + along * direction + np.sin(2.5 * phase) * bend[0] + phase**2 * bend[1]
        # Half the resolution is enough for a smooth tube, and costs an eighth.
        half = [max(1, size // 2) for size in shape]
        points = np.round(np.concatenate([path[:-1], (path[1:] + path[:-1]) / 2]) / 2).astype(int)
        points = points[np.all((points >= 0) & (points < half), axis=1)]
        if len(points) > 0:
            away = np.ones(half, bool)
            away[tuple(points.T)] = False
            distance = ndimage.distance_transform_edt(away)
            result |= enlarged(distance, shape) * 2 < radius
    return result


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
    if settings.moisture > 0:
        # Water stays where the grains are close: clouds with round edges.
        wet = smooth_noise(rng, shape, float(rng.uniform(0.3, 2.0)) * diameter)
        volume[wet > np.quantile(wet[::4, ::4, ::4], 1 - settings.moisture)] = (
            settings.moisture_level
        )
    if settings.bubbles > 0:
        volume[_bubbles(rng, shape, settings.bubbles)] = settings.air_level
    if settings.surface >= 0:
        level = settings.surface * shape[0] + 3 * smooth_noise(rng, shape[1:], 30)
        volume[np.arange(shape[0])[:, None, None] < level[None]] = settings.air_level
    if settings.roots > 0:
        volume[_roots(rng, shape, settings.roots, diameter)] = settings.root_level
    if settings.floor >= 0:
        below = slice(int(np.ceil(settings.floor * shape[0])), None)
        volume[below] = settings.walls.layers[0][1] if settings.walls.layers else 0.9
    if settings.container.radius > 0:
        paint_walls(rng, volume, settings.container, settings.walls, settings.air_level)
    return volume
