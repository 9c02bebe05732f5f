"""The container of a simulated scan: one or more walls, out of round, off axis, tilted, a floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.training.packing import Container
from particleseg_app.training.random_fields import log_uniform, smooth_noise
from particleseg_app.units import Shape


@dataclass(frozen=True)
class WallSettings:
    """Walls around the cylinder that holds the particles; lengths in voxels.

    `layers` are (thickness, attenuation) from the inside out; none: the matrix itself ends there.
    """

    layers: tuple[tuple[float, float], ...] = ()
    ovality: float = 0.0  # half the difference of the longest and shortest radius, share of it
    ovality_angle: float = 0.0  # radians
    eccentricity: tuple[float, float] = (0.0, 0.0)  # of the outermost surface (y, x)
    tilt: tuple[float, float] = (0.0, 0.0)  # of the axis, voxels (y, x) per slice
    texture: float = 0.0  # amplitude in the walls

    @property
    def thickness(self) -> float:
        """Of all layers together, in voxels."""
        return float(sum(layer[0] for layer in self.layers))


def random_layers(
    rng: np.random.Generator, air_level: float, thinnest: float = 3.0, thickest: float = 110.0
) -> tuple[tuple[float, float], ...]:
    """One wall, or two with air, glue or a lining between; bright, dark or like the particles."""

    def level() -> float:
        kind = rng.choice(["bright", "like", "faint", "dark"], p=[0.4, 0.3, 0.2, 0.1])
        if kind == "bright":
            return float(rng.uniform(1.2, 2.6))
        if kind == "like":
            return float(rng.uniform(0.8, 1.2))
        if kind == "faint":
            return float(rng.uniform(0.25, 0.8))
        return air_level + float(rng.uniform(0.05, 0.3))

    layers = [(log_uniform(rng, thinnest, thickest), level())]
    if rng.random() < 0.2:
        between = air_level if rng.random() < 0.6 else float(rng.uniform(air_level, 0.4))
        layers.append((log_uniform(rng, 1.5, 20), between))
        layers.append((log_uniform(rng, thinnest, 0.5 * thickest), level()))
    return tuple(layers)


def random_walls(
    rng: np.random.Generator, radius: float, layers: tuple[tuple[float, float], ...]
) -> WallSettings:
    """How far `layers` about a cylinder of `radius` are from a straight, round, centred tube."""
    ovality = float(rng.choice([0.0, 0.0, rng.uniform(0, 0.04)]))
    shift = rng.normal(0, 0.12, 2) * sum(layer[0] for layer in layers) * (rng.random() < 0.4)
    tilt = rng.normal(0, 0.02, 2) * (rng.random() < 0.3)
    return WallSettings(
        layers=layers,
        ovality=ovality,
        ovality_angle=float(rng.uniform(0, np.pi)),
        eccentricity=(float(shift[0]), float(shift[1])),
        tilt=(float(tilt[0]), float(tilt[1])),
        texture=float(rng.choice([0.0, 0.0, 0.03, 0.08])),
    )


def distance_from_axis(
    shape: Shape,
    container: Container,
    walls: WallSettings | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Distance of each voxel from the cylinder axis in voxels, (1 or z, y, x) float32.

    For an oval tube it is the distance that a round one would have. `shift` moves the axis (y, x).
    """
    walls = walls or WallSettings()
    y = np.arange(shape[1], dtype=np.float32)[None, :, None] - (container.axis_y + shift[0])
    x = np.arange(shape[2], dtype=np.float32)[None, None, :] - (container.axis_x + shift[1])
    if walls.tilt != (0.0, 0.0):
        z = np.arange(shape[0], dtype=np.float32)[:, None, None] - shape[0] / 2
        y, x = y - walls.tilt[0] * z, x - walls.tilt[1] * z
    distance = np.hypot(y, x)
    if walls.ovality > 0:
        square = np.maximum(distance, 1e-3) ** 2
        double_cosine, double_sine = (x * x - y * y) / square, 2 * x * y / square
        angle = 2 * walls.ovality_angle
        distance = distance / (
            1 + walls.ovality * (np.cos(angle) * double_cosine + np.sin(angle) * double_sine)
        )
    return np.asarray(distance, np.float32)


def paint_walls(
    rng: np.random.Generator,
    volume: np.ndarray,
    container: Container,
    walls: WallSettings,
    air_level: float,
) -> None:
    """Write walls and the air beyond them into the attenuation `volume` (z, y, x), in place."""
    shape: Shape = volume.shape
    inner = distance_from_axis(shape, container, walls)
    outer = inner
    if walls.eccentricity != (0.0, 0.0):
        outer = distance_from_axis(shape, container, walls, walls.eccentricity)
    edge = container.radius
    volume[np.broadcast_to(inner > edge, shape)] = air_level
    for index, (thickness, level) in enumerate(walls.layers):
        last = index == len(walls.layers) - 1
        beyond = (outer if last else inner) > edge + thickness
        layer = np.broadcast_to((inner > edge) & ~beyond, shape)
        volume[layer] = level
        if walls.texture > 0:
            field = smooth_noise(rng, shape, float(rng.uniform(1.5, 12)))
            volume[layer] += np.float32(walls.texture) * field[layer]
        edge += thickness
