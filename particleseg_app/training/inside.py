"""What simulated particles are made of: grey levels, phases, lamellae, coatings, cracks, pores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.training.random_fields import log_uniform, smooth_noise


@dataclass(frozen=True)
class InsideSettings:
    """Grey levels are attenuations: the matrix is 0, a usual particle is near 1."""

    levels: tuple[float, ...]  # of the phases
    level_jitter: float  # deviation from particle to particle, share of the level
    mixed: float  # share of particles that hold a second phase
    texture: float  # amplitude of the grey texture
    coated: float  # share of particles with a rim of another level
    cracked: float  # share of particles with a crack
    porous: float  # share of particles with pores
    zoned: float = 0.0  # share of particles with strong zones (`_zones`)
    halved: bool = False  # the second phase of mixed particles is one half of them
    spongy: bool = False  # more pores, and up to the surface


def random_inside(rng: np.random.Generator, phases: int | None = None) -> InsideSettings:
    """Between one and five phases, several grey levels, mostly brighter than the matrix."""
    count = (
        int(rng.choice([1, 2, 3, 4, 5], p=[0.35, 0.27, 0.2, 0.1, 0.08]))
        if phases is None
        else phases
    )
    levels = [1.0]
    for _ in range(count - 1):
        levels.append(
            log_uniform(rng, 1.3, 4.0) if rng.random() < 0.35 else float(rng.uniform(0.38, 1.25))
        )
    return InsideSettings(
        levels=tuple(levels),
        level_jitter=float(rng.choice([0.02, 0.06, 0.15, 0.25])),
        mixed=float(rng.choice([0.0, 0.15, 0.5, 0.9])) if count > 1 else 0.0,
        texture=float(rng.choice([0.0, 0.03, 0.08, 0.15])),
        coated=float(rng.choice([0.0, 0.0, 0.0, 0.3])),
        cracked=float(rng.choice([0.0, 0.0, 0.1, 0.3])),
        porous=float(rng.choice([0.0, 0.0, 0.1, 0.4])),
        halved=bool(rng.random() < 0.2),
        spongy=bool(rng.random() < 0.4),
    )


def _lamellae(rng: np.random.Generator, labels: np.ndarray, diameter: float) -> np.ndarray:
    """Where the second of two alternating layers lies; each particle has its own direction."""
    directions = rng.standard_normal((int(labels.max()) + 1, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    phase = np.zeros(labels.shape, np.float32)
    for axis, size in enumerate(labels.shape):
        along = np.arange(size, dtype=np.float32).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        phase += directions[:, axis][labels] * along
    period = rng.uniform(4, 12)
    bend = smooth_noise(rng, labels.shape, diameter) * rng.uniform(0.5, 2.5)
    uneven = smooth_noise(rng, labels.shape, 0.5 * diameter) * rng.uniform(0, 0.5)
    return np.asarray(np.sin(2 * np.pi * phase / period + bend) + uneven > rng.uniform(-0.2, 0.7))


def _second_phase(rng: np.random.Generator, labels: np.ndarray, diameter: float) -> np.ndarray:
    """Where mixed particles show their second phase: blobs, specks or lamellae (bool)."""
    kind = rng.choice(["blobs", "specks", "lamellae"], p=[0.5, 0.3, 0.2])
    if kind == "lamellae":
        return _lamellae(rng, labels, diameter)
    length = diameter * rng.uniform(0.25, 0.6) if kind == "blobs" else rng.uniform(1.5, 4.0)
    limit = rng.uniform(-0.2, 0.9) if kind == "blobs" else rng.uniform(0.9, 1.8)
    return smooth_noise(rng, labels.shape, length) > limit


# No zone is fainter than the first, if the particle is not: it would be taken for the matrix. None
# is brighter than the second: beside it all others would hardly differ from the matrix.
FAINTEST_ZONE, BRIGHTEST_ZONE = 0.3, 8.0

# How often a scene's zones are of each kind.
ZONES = {"rim": 0.24, "core": 0.16, "bands": 0.12, "mottles": 0.16, "specks": 0.12, "halves": 0.2}


def halves(rng: np.random.Generator, labels: np.ndarray, diameter: float) -> np.ndarray:
    """One side of a bent sheet through every particle, not always through its middle (bool)."""
    voxels = np.bincount(labels.ravel())
    radius = np.cbrt(voxels * 3 / (4 * np.pi))
    normal = rng.normal(size=(len(voxels), 3))
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    bend = np.float32(rng.uniform(0, 0.1) * diameter)
    height = bend * smooth_noise(rng, labels.shape, 0.5 * diameter)
    height -= (rng.uniform(-0.5, 0.5, len(voxels)) * radius).astype(np.float32)[labels]
    for axis, length in enumerate(labels.shape):
        place = np.arange(length, dtype=np.float32).reshape(
            [-1 if n == axis else 1 for n in range(3)]
        )
        along = np.broadcast_to(place, labels.shape)
        centre = np.bincount(labels.ravel(), along.ravel()) / np.maximum(voxels, 1)
        across = along - centre.astype(np.float32)[labels]
        height += normal[:, axis].astype(np.float32)[labels] * across
    return np.asarray(height > 0)


def _zones(
    rng: np.random.Generator, labels: np.ndarray, depth: np.ndarray, diameter: float
) -> np.ndarray:
    """By what the attenuation is multiplied in zones of one of the kinds `ZONES`.

    `depth` in voxels below the particle's surface; float32.
    """
    kind = rng.choice(list(ZONES), p=list(ZONES.values()))
    if kind == "halves":
        factor = rng.uniform(0.3, 0.65) if rng.random() < 0.5 else log_uniform(rng, 1.6, 6.0)
        return np.where(halves(rng, labels, diameter), factor, 1).astype(np.float32)
    if kind == "specks":
        grains = smooth_noise(rng, depth.shape, rng.uniform(1.2, 3.0)) > rng.uniform(1.6, 2.2)
        return np.where(grains & (depth > 1), log_uniform(rng, 3, 10), 1).astype(np.float32)
    if kind == "mottles":
        field = smooth_noise(rng, depth.shape, log_uniform(rng, 1.5, max(2.0, 0.25 * diameter)))
        return np.exp(np.float32(rng.uniform(0.25, 0.55)) * field).astype(np.float32)
    # Zones follow the surface, but not strictly.
    uneven = smooth_noise(rng, depth.shape, 0.4 * diameter) * np.float32(rng.uniform(0, 1))
    place = depth + uneven
    if kind == "bands":
        width = rng.uniform(1.8, max(2.0, 0.15 * diameter))
        odd = np.floor(place / width).astype(int) % 2 == rng.integers(2)
        return np.where(odd, rng.uniform(0.4, 0.7), rng.uniform(1.2, 1.8)).astype(np.float32)
    if kind == "rim":
        where, most = place < rng.uniform(1.2, max(1.5, 0.15 * diameter)), 4.0
    else:
        where, most = place > rng.uniform(0.12, 0.28) * diameter, 8.0
    factor = rng.uniform(0.3, 0.65) if rng.random() < 0.5 else log_uniform(rng, 1.6, most)
    return np.where(where, factor, 1).astype(np.float32)


def attenuation_inside(
    rng: np.random.Generator,
    labels: np.ndarray,
    depth: np.ndarray,
    settings: InsideSettings,
    diameter: float,
) -> np.ndarray:
    """Attenuation of the particle voxels, 0 elsewhere; float32, (z, y, x)."""
    count = int(labels.max())
    shape = labels.shape
    levels = np.array(settings.levels, np.float32)
    shares = rng.dirichlet(np.full(len(levels), 1.5))
    phase = rng.choice(len(levels), size=count + 1, p=shares)
    jitter = np.exp(rng.normal(0, settings.level_jitter, count + 1)).astype(np.float32)
    base = levels[phase] * jitter
    base[0] = 0
    volume = base[labels]
    if settings.mixed > 0:
        other = levels[rng.choice(len(levels), size=count + 1)] * jitter
        mixed = rng.random(count + 1) < settings.mixed
        mixed[0] = False
        second = halves if settings.halved else _second_phase
        where = second(rng, labels, diameter) & mixed[labels]
        volume[where] = other[labels[where]]
    if settings.coated > 0:
        coated = rng.random(count + 1) < settings.coated
        coated[0] = False
        rim = coated[labels] & (depth < rng.uniform(1.2, 3.0))
        volume[rim] *= np.float32(rng.choice([rng.uniform(0.6, 0.85), rng.uniform(1.2, 1.8)]))
    if settings.zoned > 0:
        zoned = rng.random(count + 1) < settings.zoned
        zoned[0] = False
        for part in np.array_split(np.flatnonzero(zoned), 2):  # two kinds in one scene
            own = np.zeros(count + 1, bool)
            own[part] = True
            where = own[labels]
            changed = (volume * _zones(rng, labels, depth, diameter))[where]
            faintest = np.minimum(volume[where], np.float32(FAINTEST_ZONE))
            volume[where] = np.clip(changed, faintest, np.float32(BRIGHTEST_ZONE))
    particle = labels > 0
    if settings.texture > 0:
        field = smooth_noise(rng, shape, rng.uniform(1.0, 0.4 * diameter))
        volume[particle] *= 1 + np.float32(settings.texture) * field[particle]
    if settings.cracked > 0:
        cracked = rng.random(count + 1) < settings.cracked
        cracked[0] = False
        sheet = np.abs(smooth_noise(rng, shape, diameter * rng.uniform(0.5, 1.0)))
        thin = (sheet < rng.uniform(0.03, 0.09)) & (depth < 0.5 * diameter * rng.uniform(0.4, 1.2))
        volume[thin & cracked[labels]] *= np.float32(rng.uniform(0.1, 0.7))
    if settings.porous > 0:
        porous = rng.random(count + 1) < settings.porous
        porous[0] = False
        fewest = 1.0 if settings.spongy else 1.5
        holes = smooth_noise(rng, shape, rng.uniform(1.5, 5.0)) > rng.uniform(fewest, 2.3)
        holes &= depth > (0.5 if settings.spongy else 1.5)
        volume[holes & porous[labels]] *= np.float32(rng.uniform(0.0, 0.5))
    return volume.astype(np.float32)
