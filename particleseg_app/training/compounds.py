"""Particles built of several shapes: lobed, sintered of grains, branched; and plates on plates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from particleseg_app.training.shapes import Particles, random_rotations

# Centres (n, 3) and radii (n,) of the parts, the first of them in the middle.
Parts = tuple[np.ndarray, np.ndarray]


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random unit vectors, (count, 3)."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _lobed(rng: np.random.Generator) -> Parts:
    """A body with one to four lesser lobes deep in it."""
    part = rng.uniform(0.45, 0.75, int(rng.integers(1, 5)))
    away = _directions(rng, len(part)) * (0.8 + 0.32 * part)[:, None]
    return np.concatenate([np.zeros((1, 3)), away]), np.concatenate([[1.0], part])


def _sintered(rng: np.random.Generator) -> Parts:
    """Three to ten grains fused with necks at least 0.7 times as wide as the lesser grain.

    Grains that merely touch have necks of half their width at most (`packing`), so the width of
    the neck says which is which.
    """
    spread = rng.uniform(0.05, 0.35)
    centres, radii = [np.zeros(3)], [1.0]
    straight = rng.uniform(0, 1.2)
    for _ in range(int(rng.integers(2, 10))):
        base = int(rng.integers(len(radii)))
        radius = float(np.clip(np.exp(rng.normal(0, spread)), 0.5, 1.6))
        away = _directions(rng, 1)[0] + straight * centres[base] / max(1.0, np.ptp(centres))
        away /= np.linalg.norm(away)
        neck = rng.uniform(0.7, 0.9) * min(radius, radii[base])
        # Two balls meet in a circle of radius `neck` at this distance of their centres.
        distance = np.sqrt(radius**2 - neck**2) + np.sqrt(radii[base] ** 2 - neck**2)
        centres.append(centres[base] + away * distance)
        radii.append(radius)
    return np.array(centres), np.array(radii)


def _branched(rng: np.random.Generator) -> Parts:
    """Three to six arms from one middle, bent, thinner towards their ends."""
    centres, radii = [np.zeros(3)], [1.0]
    thick, thin = rng.uniform(0.7, 0.95), rng.uniform(0.35, 0.65)
    for direction in _directions(rng, int(rng.integers(3, 7))):
        length, bend = rng.uniform(1.5, 3.2), rng.normal(0, 0.4, 3)
        count = int(np.ceil(length / (0.6 * thin)))
        for along in np.arange(1, count + 1) / count:
            centres.append(direction * length * along + bend * along**2)
            radii.append(thick + (thin - thick) * along)
    return np.array(centres), np.array(radii)


COMPOUNDS: dict[str, Callable[[np.random.Generator], Parts]] = {
    "lobed": _lobed,
    "sintered": _sintered,
    "branched": _branched,
}


def _volume(centres: np.ndarray, radii: np.ndarray) -> float:
    """Volume of the union of balls, on a coarse grid."""
    low, high = (centres - radii[:, None]).min(0), (centres + radii[:, None]).max(0)
    axes = [np.linspace(a, b, 20) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 1, 3)
    inside = (((points - centres) ** 2).sum(-1) < radii**2).any(1)
    return float(inside.mean() * np.prod((high - low) * 20 / 19))


def compound_particles(
    rng: np.random.Generator, particles: Particles, kind: str, share: float
) -> Particles:
    """The particles after a `share` of them became compounds of one `kind` of `COMPOUNDS`.

    A compound has the volume of the particle that it replaces. Its parts have that particle's
    shape, turned and scaled, and come after the particles themselves.
    """
    chosen = np.flatnonzero(rng.random(len(particles)) < share)
    size = np.ones(len(particles), np.float32)
    owners, parts, offsets = [], [], []
    for index in chosen:
        centres, radii = COMPOUNDS[kind](rng)
        scale = (4 / 3 * np.pi / _volume(centres, radii)) ** (1 / 3)
        size[index] = radii[0] * scale
        owners += [index] * (len(radii) - 1)
        parts.append(radii[1:] * scale)
        offsets.append(centres[1:] * scale)
    if not owners:
        return particles
    part = np.concatenate(parts).astype(np.float32)
    offset = np.concatenate(offsets).astype(np.float32) * particles.radius[owners, None]
    count = len(particles)
    values = {
        name: np.concatenate([value, value[owners]]) for name, value in vars(particles).items()
    }
    values["radius"] *= np.concatenate([size, part])
    values["semi_axes"] *= np.concatenate([size, part])[:, None]
    values["centre"][count:] += offset
    values["rotation"][count:] = random_rotations(rng, len(owners))
    return Particles(**values)


def stacked(rng: np.random.Generator, particles: Particles, share: float) -> Particles:
    """The particles after a `share` of them were laid flat on their nearest neighbour.

    For plates, whose first axis is the thin one. The two lie as close as their faces allow.
    """
    from scipy.spatial import cKDTree

    if len(particles) < 2:
        return particles
    centre, rotation = particles.centre.copy(), particles.rotation.copy()
    neighbours = np.asarray(cKDTree(centre).query(centre, k=2)[1])
    moved = np.zeros(len(particles), bool)
    for index in np.flatnonzero(rng.random(len(particles)) < share):
        other = int(neighbours[index, 1])
        if moved[other] or moved[index]:
            continue
        tilt = np.eye(3) + rng.normal(0, 0.04, (3, 3))
        rotation[index] = np.linalg.qr(rotation[other].T @ tilt)[0].T
        # The sign of a column of q is free; a mirrored shape is as good as another.
        thin = rotation[other, 0] * rng.choice([-1.0, 1.0])
        apart = 0.9 * (particles.semi_axes[index, 0] + particles.semi_axes[other, 0])
        aside = rng.normal(0, 0.25, 2) * particles.semi_axes[other, 1:]
        centre[index] = centre[other] + thin * apart + aside @ rotation[other, 1:]
        moved[index] = moved[other] = True
    return replace(particles, centre=centre, rotation=rotation)
