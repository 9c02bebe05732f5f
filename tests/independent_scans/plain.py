"""Four plain cases: bodies slid along a line until they touch, and a simple rendering.

Particles are convex polyhedra and superellipsoids; the picture has two phases, blur, white noise,
a ring, a cylinder. Volumes are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tests.independent_scans.labelled_scan import LabelledScan


def polyhedron(random: np.random.Generator, radius: float) -> np.ndarray:
    """A convex body cut by 9 to 16 planes around a stretched ball, bool (z, y, x)."""
    axes = radius * np.clip(random.normal(1.0, 0.22, 3), 0.5, 1.6)
    reach = int(np.ceil(axes.max() * 1.1)) + 1
    grid = np.stack(np.mgrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1])
    inside = np.ones(grid.shape[1:], bool)
    for _ in range(random.integers(9, 17)):
        normal = random.normal(size=3)
        normal /= np.linalg.norm(normal)
        distance = np.linalg.norm(axes * normal) * random.uniform(0.75, 1.0)
        inside &= np.tensordot(normal, grid, 1) <= distance
    return inside & (((grid / (axes[:, None, None, None] * 1.15)) ** 2).sum(0) <= 1)


def superellipsoid(random: np.random.Generator, radius: float) -> np.ndarray:
    """A turned superellipsoid between a ball and a rounded brick, bool (z, y, x)."""
    axes = radius * np.clip(random.normal(1.0, 0.25, 3), 0.5, 1.7)
    power = random.uniform(2.0, 5.0)
    reach = int(np.ceil(axes.max() * 1.7)) + 1
    grid = np.stack(np.mgrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1])
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turned = np.tensordot(turn, grid, 1)
    return (np.abs(turned / axes[:, None, None, None]) ** power).sum(0) <= 1


def pack(
    random: np.random.Generator,
    shape: tuple[int, int, int],
    diameter: float,
    spread: float,
    filling: float,
    touching: float,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Labels of bodies added until `filling` is reached; a share is slid against another body."""
    labels = np.zeros(shape, np.uint32)
    blocked = np.zeros(shape, bool) if allowed is None else ~allowed
    free = int((~blocked).sum())
    centres: list[np.ndarray] = []
    count = failures = filled = 0
    while filled < filling * free and failures < 200:
        radius = diameter / 2 * np.exp(np.clip(random.normal(0, spread), -2 * spread, 2 * spread))
        make: Callable[[np.random.Generator, float], np.ndarray]
        make = polyhedron if random.random() < 0.6 else superellipsoid
        body = _trimmed(make(random, radius))
        centre = random.uniform(0, 1, 3) * shape
        steps = [centre]
        if count and random.random() < touching:
            # From afar towards a particle that is there already; the last free place touches it.
            target = centres[random.integers(count)]
            direction = random.normal(size=3)
            direction /= np.linalg.norm(direction)
            far = diameter * 2.5
            steps = [target + direction * distance for distance in np.arange(far, 0, -1.0)]
        placed = None
        for step in steps:
            window = _window(step, body.shape, shape)
            if window is None:
                continue
            inner, outer = window
            part = body[inner]
            if (part & ((labels[outer] > 0) | blocked[outer])).any():
                break
            # A body cut by the edge of the volume keeps most of itself: no crumbs.
            placed = (inner, outer, step) if part.sum() > 0.4 * body.sum() else None
        if placed is None:
            failures += 1
            continue
        inner, outer, centre = placed
        count += 1
        centres.append(np.asarray(centre))
        labels[outer][body[inner]] = count
        filled += int(body[inner].sum())
        failures = 0
    return labels


def _trimmed(body: np.ndarray) -> np.ndarray:
    (box,) = ndimage.find_objects(body.astype(np.uint8))
    return body[box]


def _window(centre, body_shape, shape):
    start = np.round(np.asarray(centre) - np.asarray(body_shape) / 2).astype(int)
    stop = start + body_shape
    if (stop <= 0).any() or (start >= shape).any():
        return None
    low, high = np.maximum(start, 0), np.minimum(stop, shape)
    inner = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    outer = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return inner, outer


def render(
    random: np.random.Generator,
    labels: np.ndarray,
    matrix: float,
    grey: tuple[float, float],
    noise: float,
    blur: float,
    second_phase: float = 0.25,
    ring: float = 0.0,
    outside: np.ndarray | None = None,
) -> np.ndarray:
    """Grey values uint16: each particle one level with patches of a second, brighter phase."""
    levels = random.uniform(*grey, int(labels.max()) + 1)
    levels[0] = matrix
    image = levels[labels]
    patches = ndimage.gaussian_filter(random.normal(size=labels.shape), 2.5)
    patches = patches > np.quantile(patches, 1 - second_phase)
    image[patches & (labels > 0)] *= 1.25
    if outside is not None:
        image[outside] = 0.35 * matrix
    image = ndimage.gaussian_filter(image, blur)
    if ring:
        _, y, x = np.ogrid[[slice(n) for n in labels.shape]]
        middle = np.array(labels.shape[1:]) / 2
        radius = np.hypot(y - middle[0], x - middle[1])
        image = image + ring * np.sin(radius / 1.7) * (np.sin(radius / 9) > 0.8)
    image = image + random.normal(0, noise, labels.shape)
    return np.clip(image, 0, 65535).astype(np.uint16)


def cylinder(shape: tuple[int, int, int], share: float) -> np.ndarray:
    """The inside of a standing cylinder, bool (z, y, x)."""
    _, y, x = np.ogrid[[slice(n) for n in shape]]
    middle = (np.array(shape[1:]) - 1) / 2
    inside = np.hypot(y - middle[0], x - middle[1]) <= share * min(shape[1:]) / 2
    return np.broadcast_to(inside, shape)


def spaced_ore(shape=(112, 144, 144), seed: int = 90_001) -> LabelledScan:
    """Well spaced ore in epoxy, a third touching: the paper's kind of sample."""
    random = np.random.default_rng(seed)
    labels = pack(random, shape, 20, 0.3, 0.18, 0.35)
    return LabelledScan(
        "spaced ore", render(random, labels, 9000, (15000, 30000), 1800, 0.8), labels, 20
    )


def touching_ore(shape=(112, 144, 144), seed: int = 90_002) -> LabelledScan:
    """More than half of the particles touch; low contrast."""
    random = np.random.default_rng(seed)
    labels = pack(random, shape, 22, 0.35, 0.34, 0.9)
    return LabelledScan(
        "touching, low contrast",
        render(random, labels, 20000, (27000, 36000), 2500, 1.0, 0.15),
        labels,
        22,
    )


def cylinder_scan(shape=(96, 160, 160), seed: int = 90_003) -> LabelledScan:
    """A cylinder with air around it and a ring artefact."""
    random = np.random.default_rng(seed)
    inside = cylinder(shape, 0.92)
    labels = pack(random, shape, 18, 0.3, 0.25, 0.5, cylinder(shape, 0.86))
    grey = render(random, labels, 12000, (19000, 32000), 1800, 0.8, ring=1500, outside=~inside)
    return LabelledScan("cylinder with ring", grey, labels, 18)


def small_particles(shape=(96, 96, 96), seed: int = 90_004) -> LabelledScan:
    """Particles of ten voxels."""
    random = np.random.default_rng(seed)
    labels = pack(random, shape, 10, 0.2, 0.2, 0.4)
    return LabelledScan(
        "ten voxels wide", render(random, labels, 9000, (16000, 28000), 1500, 0.7), labels, 10
    )
