"""From labels to what they are made of (attenuation), and the flaws added to a finished picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def smooth_field(random: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Noise of that grain with mean 0 and deviation 1, float32."""
    field = ndimage.gaussian_filter(random.normal(size=shape).astype(np.float32), sigma)
    return (field - field.mean()) / field.std()


def minerals(
    random: np.random.Generator,
    labels: np.ndarray,
    matrix: float,
    levels: tuple[float, ...],
    shares: tuple[float, ...] | None = None,
    intergrown: float = 0.0,
    grain: float = 3.0,
    spread: float = 0.03,
    texture: float = 0.0,
) -> np.ndarray:
    """Attenuation float32: each particle mostly of one phase out of `levels`.

    A share `intergrown` of the particles holds patches (`grain` voxels wide) of another phase.
    `spread`: deviation from particle to particle; `texture`: inside them, both relative.
    """
    count = int(labels.max()) + 1
    weights = np.ones(len(levels)) if shares is None else np.array(shares)
    phases = np.array(levels, np.float32)
    own = random.choice(len(levels), count, p=weights / weights.sum())
    guest = random.choice(len(levels), count, p=weights / weights.sum())
    own_level, guest_level = (
        phases[which] * (1 + spread * random.normal(size=count)).astype(np.float32)
        for which in (own, guest)
    )
    # How much of a particle the guest phase takes: a threshold on one smooth field.
    threshold = random.normal(0.6, 0.7, count)
    threshold[random.random(count) >= intergrown] = np.inf
    threshold[0] = np.inf
    picture = own_level[labels]
    if intergrown:
        patches = smooth_field(random, labels.shape, grain) > threshold[labels]
        picture[patches] = guest_level[labels[patches]]
    if texture:
        picture *= 1 + texture * smooth_field(random, labels.shape, 1.2)
    picture[labels == 0] = matrix
    return picture


def contact_gaps(
    random: np.random.Generator, picture: np.ndarray, labels: np.ndarray, matrix: float
) -> None:
    """The thin film of matrix between particles that touch: a faint, uneven dip at contacts.

    The voxels on both sides of a contact lose 15 to 50 % of their contrast to the matrix, before
    the blur; so a trained eye can see the contact of two equal grains. In place.
    """
    contact = np.zeros(labels.shape, bool)
    for axis in range(3):
        first, second = (np.moveaxis(volume, axis, 0) for volume in (labels, contact))
        met = (first[:-1] != first[1:]) & (first[:-1] > 0) & (first[1:] > 0)
        second[:-1] |= met
        second[1:] |= met
    depth = np.clip(0.32 + 0.12 * smooth_field(random, labels.shape, 4.0), 0.15, 0.5)
    picture[contact] += (depth * (matrix - picture))[contact]


def cracks(
    random: np.random.Generator, picture: np.ndarray, labels: np.ndarray, share: float, level: float
) -> None:
    """Hairlines (about 1.5 voxels) through a share of the particles, from inside towards a side.

    They do not cut a particle in two: each ends in its middle. In place.
    """
    for index, box in enumerate(ndimage.find_objects(labels.astype(np.int32))):
        if box is None or random.random() >= share:
            continue
        grid = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"))
        middle = np.array([(s.start + s.stop) / 2 for s in box])
        offset = grid - middle[:, None, None, None]
        frame, _ = np.linalg.qr(random.normal(size=(3, 3)))
        across, along = (np.tensordot(frame[i], offset, 1) for i in (0, 1))
        wave = 0.12 * np.ptp(along) * np.sin(along / (0.15 * np.ptp(along) + 1))
        line = (np.abs(across + wave) < 0.75) & (along > 0) & (labels[box] == index + 1)
        picture[box][line] = level


def pores(
    random: np.random.Generator, picture: np.ndarray, labels: np.ndarray, share: float, level: float
) -> None:
    """Small dark bubbles inside a share of the particles, away from their surface. In place."""
    field = smooth_field(random, labels.shape, 1.6)
    with_pores = random.random(int(labels.max()) + 1) < share
    with_pores[0] = False
    inner = ndimage.minimum_filter(labels, 5) == ndimage.maximum_filter(labels, 5)
    picture[(field > 1.9) & with_pores[labels] & inner] = level


def noise(
    random: np.random.Generator, shape: tuple[int, ...], deviation: float, grain: float = 0.0
) -> np.ndarray:
    """White noise, or noise of a certain grain as reconstruction filters leave it; float32."""
    if grain:
        return np.float32(deviation) * smooth_field(random, shape, grain)
    return np.float32(deviation) * random.normal(size=shape).astype(np.float32)


def rings(
    random: np.random.Generator, shape: tuple[int, int, int], strength: float, count: int = 10
) -> np.ndarray:
    """Rings around the rotation axis: detector elements that read wrong; float32 (z, y, x)."""
    _, y, x = np.ogrid[[slice(n) for n in shape]]
    radius = np.hypot(y - (shape[1] - 1) / 2, x - (shape[2] - 1) / 2)[0]
    picture = np.zeros(shape, np.float32)
    for _ in range(count):
        at, width = random.uniform(3, min(shape[1:]) / 2), random.uniform(0.6, 1.4)
        profile = np.exp(-0.5 * ((radius - at) / width) ** 2)
        # A faulty element changes slowly from slice to slice.
        along = np.cumsum(random.normal(0, 0.25, shape[0])) / np.sqrt(shape[0]) + 1
        sign = random.choice([-1, 1]) * random.uniform(0.5, 1)
        picture += (strength * sign * along[:, None, None] * profile).astype(np.float32)
    return picture


def drift(shape: tuple[int, int, int], along: tuple[float, float, float]) -> np.ndarray:
    """A background that rises by `along` over each axis, a little bent; float32."""
    ramps = np.ogrid[tuple(slice(-0.5, 0.5, n * 1j) for n in shape)]
    total = sum(a * (r + 0.6 * r**2) for a, r in zip(along, ramps, strict=True))
    return np.broadcast_to(total, shape).astype(np.float32)


def sixteen_bit(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """Grey values uint16 with `low` at 0 and `high` at 65535."""
    return np.clip((picture - low) / (high - low) * 65535, 0, 65535).astype(np.uint16)


def eight_bit(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """Grey values uint8 with `low` at 0 and `high` at 255; what lies beyond is clipped."""
    return np.clip(np.round((picture - low) / (high - low) * 255), 0, 255).astype(np.uint8)
