"""Particle shapes as level functions: negative inside, about the distance to the surface outside.

A body lives around the origin in a space where the ball of its volume has radius 1. Positions are
arrays (3, …) in the order z, y, x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Level = Callable[[np.ndarray], np.ndarray]
MakeBody = Callable[[np.random.Generator], "Body"]


@dataclass(frozen=True)
class Body:
    """A shape of unit size: its level function, how far it reaches, and its flat faces.

    `faces`: (n, 2, 3), each the outward normal and a point in the middle of the face; may be empty.
    """

    level: Level
    reach: float
    faces: np.ndarray

    def turned(self, rotation: np.ndarray) -> Body:
        """The body after a rotation (3, 3)."""

        def level(points: np.ndarray) -> np.ndarray:
            return self.level(np.tensordot(rotation.T.astype(np.float32), points, 1))

        return Body(level, self.reach, self.faces @ rotation.T)


def rotation(random: np.random.Generator) -> np.ndarray:
    """A uniformly random rotation (3, 3)."""
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def directions(random: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors (count, 3) that push one another apart a little, so none are nearly equal."""
    vectors = random.normal(size=(count, 3))
    for _ in range(6):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        gap = vectors[:, None] - vectors[None]
        vectors = vectors + 0.15 * (gap / (1e-2 + (gap**2).sum(-1, keepdims=True))).sum(1) / count
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _occupied(level: Level, axes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    return level(grid) < 0, grid


def _unit(level: Level, faces: np.ndarray, extent: float = 4.5) -> Body:
    """Scale a shape to unit volume radius, moved so that its middle is the origin."""
    coarse = np.linspace(-extent, extent, 40, dtype=np.float32)
    inside, grid = _occupied(level, [coarse] * 3)
    step = float(coarse[1] - coarse[0])
    # Measured on a grid that fits the shape: thin plates fall between the points of a coarse one.
    axes = [
        np.linspace(along.min() - step, along.max() + step, 64, dtype=np.float32)
        for along in grid[:, inside]
    ]
    inside, grid = _occupied(level, axes)
    middle = grid[:, inside].mean(1)
    volume = inside.sum() * float(np.prod([axis[1] - axis[0] for axis in axes]))
    size = float((volume / (4 / 3 * np.pi)) ** (1 / 3))
    reach = float(np.sqrt(((grid[:, inside] - middle[:, None]) ** 2).sum(0).max())) / size

    def scaled(points: np.ndarray) -> np.ndarray:
        shape = (3,) + (1,) * (points.ndim - 1)
        return level(points * np.float32(size) + middle.reshape(shape)) / np.float32(size)

    moved = faces.copy()
    if len(faces):
        moved[:, 1] = (faces[:, 1] - middle) / size
    return Body(scaled, reach + 0.15, moved)


def _half_spaces(normals: np.ndarray, distances: np.ndarray, rounding: float = 0.0) -> Level:
    normals, distances = normals.astype(np.float32), distances.astype(np.float32)

    def level(points: np.ndarray) -> np.ndarray:
        highest = np.full(points.shape[1:], -np.inf, np.float32)
        for normal, distance in zip(normals, distances, strict=True):
            np.maximum(highest, np.tensordot(normal, points, 1) - distance, out=highest)
        if rounding:  # edges and corners worn off by a ball
            radius = np.sqrt((points**2).sum(0))
            np.maximum(highest, radius - np.float32(rounding), out=highest)
        return highest

    return level


def fragment(random: np.random.Generator) -> Body:
    """A crushed grain: a convex polyhedron of 8 to 14 faces with sharp edges."""
    axes = np.clip(random.normal(1.0, 0.2, 3), 0.6, 1.5)
    normals = directions(random, int(random.integers(8, 15)))
    distances = np.linalg.norm(axes * normals, axis=1) * random.uniform(0.72, 1.0, len(normals))
    faces = np.stack([normals, normals * distances[:, None]], axis=1)
    return _unit(_half_spaces(normals, distances, 1.7 * float(axes.max())), faces)


def pebble(random: np.random.Generator) -> Body:
    """A worn grain: an ellipsoid or rounded brick with broad bumps."""
    axes = np.clip(random.normal(1.0, 0.16, 3), 0.7, 1.4).astype(np.float32)
    power = np.float32(random.uniform(2.0, 3.2))
    waves = random.normal(0, 1.6, (4, 3)).astype(np.float32)
    shift = random.uniform(0, 2 * np.pi, 4)
    turn = rotation(random).astype(np.float32)

    def level(points: np.ndarray) -> np.ndarray:
        turned = np.tensordot(turn, points, 1)
        scaled = turned / axes.reshape((3,) + (1,) * (points.ndim - 1))
        radius = (np.abs(scaled) ** power).sum(0) ** (1 / power)
        bumps = sum(
            np.cos(np.tensordot(wave, turned, 1) + np.float32(phase))
            for wave, phase in zip(waves, shift, strict=True)
        )
        return radius - 1 - np.float32(0.045) * bumps

    return _unit(level, np.zeros((0, 2, 3)))


def plate(random: np.random.Generator) -> Body:
    """A mica flake: a five- to seven-sided plate, a fifth to a third as thick as wide."""
    sides = int(random.integers(5, 8))
    angles = np.sort(np.arange(sides) + random.uniform(-0.25, 0.25, sides)) * 2 * np.pi / sides
    normals = np.stack([np.zeros(sides), np.sin(angles), np.cos(angles)], axis=1)
    normals = np.concatenate([normals, [[1, 0, 0], [-1, 0, 0]]])
    half = random.uniform(0.22, 0.32)
    distances = np.concatenate([random.uniform(0.8, 1.05, sides), [half, half]])
    faces = np.stack([normals, normals * distances[:, None]], axis=1)
    return _unit(_half_spaces(normals, distances), faces).turned(rotation(random))


def needle(random: np.random.Generator) -> Body:
    """A prism four to six times as long as thick, with slanted ends."""
    sides = int(random.integers(4, 7))
    angles = (np.arange(sides) + random.uniform(0, 1)) * 2 * np.pi / sides
    normals = np.stack([np.zeros(sides), np.sin(angles), np.cos(angles)], axis=1)
    ends = np.array([[1, *random.normal(0, 0.3, 2)], [-1, *random.normal(0, 0.3, 2)]])
    ends /= np.linalg.norm(ends, axis=1, keepdims=True)
    normals = np.concatenate([normals, ends])
    length = random.uniform(3.6, 5.2)
    distances = np.concatenate([random.uniform(0.8, 1.0, sides), [length, length]]) * 0.75
    faces = np.stack([normals, normals * distances[:, None]], axis=1)
    return _unit(_half_spaces(normals, distances), faces).turned(rotation(random))


def _union_of_balls(
    centres: np.ndarray, radii: np.ndarray, blend: float, extent: float = 4.5
) -> Body:
    centres, radii = centres.astype(np.float32), radii.astype(np.float32)

    def level(points: np.ndarray) -> np.ndarray:
        lowest = np.full(points.shape[1:], np.inf, np.float32)
        for centre, radius in zip(centres, radii, strict=True):
            offset = points - centre.reshape((3,) + (1,) * (points.ndim - 1))
            distance = np.sqrt((offset**2).sum(0)) - radius
            # A smooth minimum fills the neck between two balls.
            share = np.clip(0.5 + 0.5 * (lowest - distance) / blend, 0, 1)
            share = np.where(np.isinf(lowest), np.float32(1), share)
            base = np.where(np.isinf(lowest), distance, lowest)
            lowest = base + (distance - base) * share - blend * share * (1 - share)
        return lowest

    return _unit(level, np.zeros((0, 2, 3)), extent)


def branched(random: np.random.Generator) -> Body:
    """Three to five tapering arms from one middle, like a dendrite or a shard of glass foam."""
    centres, radii = [np.zeros(3)], [0.62]
    for direction in directions(random, int(random.integers(3, 6))):
        length = random.uniform(1.0, 1.7)
        bend = random.normal(0, 0.22, 3)
        for along in np.linspace(0.25, 1, 6):
            centres.append(direction * length * along + bend * along**2)
            radii.append(0.56 - 0.2 * along)
    return _union_of_balls(np.array(centres), np.array(radii), 0.15)


def bitten(random: np.random.Generator) -> Body:
    """A fragment with one or two conchoidal hollows: concave, not branched."""
    whole = fragment(random)
    hollows = []
    for direction in directions(random, int(random.integers(1, 3))):
        radius = random.uniform(0.5, 0.75)
        hollows.append((direction * (radius + random.uniform(0.35, 0.5)), radius))

    def level(points: np.ndarray) -> np.ndarray:
        value = whole.level(points)
        for centre, radius in hollows:
            offset = points - centre.astype(np.float32).reshape((3,) + (1,) * (points.ndim - 1))
            np.maximum(value, np.float32(radius) - np.sqrt((offset**2).sum(0)), out=value)
        return value

    return _unit(level, np.zeros((0, 2, 3)), 2.5)


def agglomerate(random: np.random.Generator) -> Body:
    """Six to nine grains sintered into one particle; necks three quarters as wide."""
    centres, radii = [np.zeros(3)], [random.uniform(0.5, 0.65)]
    for _ in range(int(random.integers(5, 9))):
        base = int(random.integers(len(centres)))
        radius = random.uniform(0.4, 0.58)
        away = directions(random, 1)[0] + 0.4 * centres[base]
        away /= np.linalg.norm(away)
        centres.append(centres[base] + away * 0.65 * (radii[base] + radius))
        radii.append(radius)
    return _union_of_balls(np.array(centres), np.array(radii), 0.08)


def mixture(*parts: tuple[MakeBody, float]) -> MakeBody:
    """One of several shapes, each with its share."""
    makers = [maker for maker, _ in parts]
    shares = np.array([share for _, share in parts])

    def make(random: np.random.Generator) -> Body:
        return makers[int(random.choice(len(makers), p=shares / shares.sum()))](random)

    return make
