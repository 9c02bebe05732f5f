"""A third generator of labelled scans, as somebody else might write one in an afternoon.

It shares no code with that of the training and that of `tests.independent_scans`, and the program
was not made with these scans in view. Bodies are thrown at random places, where a later one yields
to those that are there, so that they touch in faces without any film; or they are the cells of a
Voronoi diagram with gaps of one width. Each has a grey value, then come one blur and white noise.
Lengths are voxels, volumes (z, y, x), grey values 0 for the matrix and 1 for a usual particle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from tests.independent_scans import LabelledScan

Shape = tuple[int, int, int]
Inside = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SHAPE: Shape = (112, 128, 128)
SEED = 97_001
LEAST_VOXELS = 30  # of a body or of what others left of it


def simple_scans(shape: Shape = SHAPE, seed: int = SEED) -> Iterator[LabelledScan]:
    """One scan of each kind."""
    for number, (name, make) in enumerate(KINDS.items()):
        random = np.random.default_rng([seed, number])
        grey, labels = make(random, shape)
        voxels = np.bincount(labels.ravel())[1:]
        diameter = float(np.cbrt(6 * voxels / np.pi).mean())
        yield LabelledScan(name, grey, labels, round(diameter, 1))


def ball(place: np.ndarray, random: np.random.Generator) -> np.ndarray:
    del random
    return np.square(place).sum(0) < 1


def polyhedron(place: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What fourteen planes leave."""
    normals = random.normal(size=(14, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    offsets = random.uniform(0.7, 1.0, 14)
    return np.all(np.tensordot(normals, place, 1) < offsets[:, None, None, None], axis=0)


def brick(place: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A brick with rounded edges."""
    del random
    return (np.abs(place) ** 4).sum(0) < 1


def thrown(
    random: np.random.Generator,
    shape: Shape,
    diameter: float,
    spread: float,
    filling: float,
    stretch: tuple[float, float, float] | float = 1.0,
    inside: Inside = ball,
    most_taken: float = 0.04,
) -> np.ndarray:
    """Labels of bodies thrown in until `filling` of the volume is full.

    `stretch`: of the three axes, or how far each is stretched or shrunk at random. `most_taken`:
    share of a body that others may hold already; they keep it.
    """
    labels = np.zeros(shape, np.int32)
    filled = 0
    for number in range(1, 6000):
        if filled >= filling * labels.size:
            break
        radius = diameter / 2 * np.exp(spread * random.normal())
        if isinstance(stretch, tuple):
            axes = np.array(stretch)
        else:
            axes = stretch ** random.uniform(-1, 1, 3)
        axes = radius * axes / np.cbrt(np.prod(axes))
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        centre = random.uniform(0, shape)
        reach = 1.3 * axes.max() + 1
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        place = np.indices(high - low, dtype=np.float32)
        place += (low - centre)[:, None, None, None].astype(np.float32)
        body = inside(np.tensordot(turn, place, 1) / axes[:, None, None, None], random)
        there = labels[box]
        taken = body & (there > 0)
        if body.sum() < LEAST_VOXELS or taken.sum() > most_taken * body.sum():
            continue
        there[body & ~taken] = number
        filled += int(body.sum() - taken.sum())
    return whole_pieces(labels)


def cells(
    random: np.random.Generator,
    shape: Shape,
    diameter: float,
    gap: float,
    share: float,
    warped: float = 0.0,
) -> np.ndarray:
    """Labels of a share of the cells around random points, `gap` voxels apart.

    `warped`: how far walls are bent, in diameters.
    """
    edges = np.array(shape) + 2 * diameter
    points = random.uniform(0, edges, (round(np.prod(edges) / (np.pi / 6 * diameter**3)), 3))
    points -= diameter
    place = np.indices(shape, dtype=np.float32)
    if warped:
        place += warped * diameter * np.stack([field(random, shape, diameter / 3) for _ in "zyx"])
    distance, nearest = cKDTree(points).query(place.reshape(3, -1).T, k=2)
    between = np.linalg.norm(points[nearest[:, 0]] - points[nearest[:, 1]], axis=1)
    to_wall = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * between)
    kept = random.random(len(points)) < share
    number = np.where((to_wall > gap / 2) & kept[nearest[:, 0]], nearest[:, 0] + 1, 0)
    return whole_pieces(number.reshape(shape))


def whole_pieces(labels: np.ndarray) -> np.ndarray:
    """The largest connected piece of each label, numbered anew, uint32; without crumbs."""
    kept = np.zeros(labels.shape, np.uint32)
    count = 0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(labels[box] == number)
        voxels = np.bincount(pieces.ravel())
        voxels[0] = 0
        if voxels.max() >= LEAST_VOXELS:
            count += 1
            kept[box][pieces == voxels.argmax()] = count
    return kept


def field(random: np.random.Generator, shape: Shape, length: float) -> np.ndarray:
    """Smooth random values of mean 0 and deviation 1."""
    values = ndimage.gaussian_filter(random.normal(size=shape), length)
    return (values - values.mean()) / values.std()


def painted(
    random: np.random.Generator, labels: np.ndarray, levels: tuple[float, ...], spread: float = 0.03
) -> np.ndarray:
    """One of `levels` for each particle, give or take `spread`."""
    count = int(labels.max()) + 1
    values = random.choice(levels, count) + spread * random.normal(size=count)
    values[0] = 0
    return values[labels]


def scanned(
    random: np.random.Generator,
    grey: np.ndarray,
    blur: float = 0.8,
    noise: float = 0.08,
    low: float = 20_000,
    high: float = 32_000,
) -> np.ndarray:
    """uint16 with 0 at `low` and 1 at `high`."""
    grey = ndimage.gaussian_filter(grey, blur) + noise * random.normal(size=grey.shape)
    return np.clip(low + (high - low) * grey, 0, 65_535).astype(np.uint16)


Made = tuple[np.ndarray, np.ndarray]


def spheres(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 18, 0.2, 0.35, most_taken=0.02)
    return scanned(random, painted(random, labels, (1.0,)), blur=1.0), labels


def cut_spheres(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 22, 0.25, 0.4, most_taken=0.08)
    return scanned(random, painted(random, labels, (0.8, 1.0, 1.3)), noise=0.1), labels


def bricks_with_texture(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 24, 0.25, 0.3, 1.6, brick)
    texture = 1 + 0.25 * field(random, shape, 1.7)
    return scanned(random, texture * painted(random, labels, (0.9, 1.1))), labels


def ellipsoids(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 18, 0.2, 0.22, 2.2)
    return scanned(random, painted(random, labels, (0.8, 1.0))), labels


def flat_bricks(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 20, 0.2, 0.25, (0.45, 1.3, 1.7), brick)
    return scanned(random, painted(random, labels, (0.7, 1.0))), labels


def rough(random: np.random.Generator, shape: Shape) -> Made:
    """Surfaces shifted by two voxels, back and forth every few voxels."""
    labels = thrown(random, shape, 24, 0.25, 0.35, 1.3)
    shifted = np.indices(shape) + 2 * np.stack([field(random, shape, 1.4) for _ in shape])
    limits = np.array(shape)[:, None, None, None] - 1
    labels = whole_pieces(labels[tuple(np.clip(np.rint(shifted).astype(int), 0, limits))])
    return scanned(random, painted(random, labels, (0.7, 1.0))), labels


def many_sizes(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 14, 0.6, 0.35, 1.5, polyhedron)
    return scanned(random, painted(random, labels, (0.6, 1.0, 1.6)), blur=0.7), labels


def polyhedra(random: np.random.Generator, shape: Shape, filling: float = 0.35) -> np.ndarray:
    return thrown(random, shape, 21, 0.25, filling, 1.4, polyhedron)


def low_contrast(random: np.random.Generator, shape: Shape) -> Made:
    labels = polyhedra(random, shape)
    _, y, x = np.indices(shape) / np.array(shape)[:, None, None, None]
    grey = painted(random, labels, (0.5, 0.8)) + 0.25 * y - 0.2 * (x - 0.5) ** 2
    return scanned(random, grey, 1.0, 0.12, 30_000, 36_000), labels


def two_phases(random: np.random.Generator, shape: Shape) -> Made:
    """Half of the polyhedra are of two phases that meet in a plane."""
    labels = polyhedra(random, shape)
    count = int(labels.max()) + 1
    centres = np.zeros((count, 3))
    centres[1:] = ndimage.center_of_mass(labels > 0, labels, range(1, count))
    normals = random.normal(size=(count, 3))
    height = np.zeros(shape)
    for axis, place in enumerate(np.indices(shape)):
        height += normals[labels, axis] * (place - centres[labels, axis])
    mixed = (random.random(count) < 0.5)[labels] & (labels > 0)
    second = np.where(height > 4 * random.normal(size=count)[labels], 0.45, 1.8)
    grey = np.where(mixed, second, painted(random, labels, (0.45, 1.0)))
    return scanned(random, grey, 0.9, 0.07), labels


def pores(random: np.random.Generator, shape: Shape) -> Made:
    labels = thrown(random, shape, 28, 0.25, 0.3, 1.4, polyhedron)
    full = field(random, shape, 1.7) < 1.1
    return scanned(random, full * painted(random, labels, (1.0,))), labels


def metal(random: np.random.Generator, shape: Shape) -> Made:
    """One particle in seventeen is eight times as bright."""
    labels = polyhedra(random, shape, 0.3)
    levels = (1.0,) * 16 + (8.0,)
    return scanned(random, painted(random, labels, levels), 0.9, 0.1, 6_000, 9_000), labels


def counted_photons(random: np.random.Generator, shape: Shape) -> Made:
    labels = polyhedra(random, shape)
    grey = ndimage.gaussian_filter(painted(random, labels, (0.5, 1.0)), 0.8)
    counted = random.poisson(40 * np.clip(0.5 + grey, 0, None)) / 40 - 0.5
    return scanned(random, counted, 0, 0, 12_500, 20_000), labels


def black_matrix(random: np.random.Generator, shape: Shape) -> Made:
    """The matrix is 0, without noise."""
    labels = polyhedra(random, shape)
    grey = painted(random, labels, (0.5, 1.0))
    grey[labels > 0] += 0.05 * random.normal(size=int((labels > 0).sum()))
    return scanned(random, grey, 0.6, 0, 0, 40_000), labels


def binary(random: np.random.Generator, shape: Shape) -> Made:
    labels = polyhedra(random, shape)
    return np.where(labels > 0, 65_535, 0).astype(np.uint16), labels


def eight_bits(random: np.random.Generator, shape: Shape) -> Made:
    labels = polyhedra(random, shape)
    return scanned(random, painted(random, labels, (0.7, 1.0)), low=60, high=180), labels


def wide_blur(random: np.random.Generator, shape: Shape) -> Made:
    labels = polyhedra(random, shape)
    return scanned(random, painted(random, labels, (0.7, 1.0)), 2.0, 0.04), labels


def darker(random: np.random.Generator, shape: Shape) -> Made:
    labels = polyhedra(random, shape)
    return scanned(random, 1 - painted(random, labels, (0.6, 1.0)), noise=0.07), labels


def parted_cells(random: np.random.Generator, shape: Shape) -> Made:
    labels = cells(random, shape, 20, 1.5, 0.8)
    return scanned(random, painted(random, labels, (0.7, 1.0)), 0.7, 0.07), labels


def dense_cells(random: np.random.Generator, shape: Shape) -> Made:
    labels = cells(random, shape, 22, 2.0, 0.95, warped=0.08)
    return scanned(random, painted(random, labels, (0.4, 0.7, 1.0, 1.3)), 0.9), labels


def thin_films(random: np.random.Generator, shape: Shape) -> Made:
    labels = cells(random, shape, 22, 0.8, 0.6, warped=0.15)
    return scanned(random, painted(random, labels, (0.6, 0.9, 1.2)), noise=0.1), labels


KINDS: dict[str, Callable[[np.random.Generator, Shape], Made]] = {
    "spheres": spheres,
    "spheres cut by one another": cut_spheres,
    "ellipsoids": ellipsoids,
    "bricks with texture": bricks_with_texture,
    "flat bricks": flat_bricks,
    "rough bodies": rough,
    "polyhedra of many sizes": many_sizes,
    "of two phases": two_phases,
    "with pores": pores,
    "a few of metal": metal,
    "low contrast, uneven brightness": low_contrast,
    "counted photons": counted_photons,
    "black matrix without noise": black_matrix,
    "black and white": binary,
    "8 bits": eight_bits,
    "blur of 2 voxels": wide_blur,
    "darker than the matrix": darker,
    "cells, gaps of 1.5 voxels": parted_cells,
    "dense bent cells, gaps of 2 voxels": dense_cells,
    "bent cells, gaps of 0.8 voxels": thin_films,
}
