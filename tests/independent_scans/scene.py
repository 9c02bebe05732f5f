"""Particles put into a volume: slid together, laid face on face, or settled densely.

Where two bodies overlap, each voxel goes to the one it lies deeper in. So bodies that are pushed
into one another meet in a face, not in a point.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from tests.independent_scans.bodies import Body, MakeBody, directions

Shape = tuple[int, int, int]
Sizes = Callable[[np.random.Generator], float]  # equivalent diameter in voxels


def log_normal(mean: float, spread: float) -> Sizes:
    """Log-normal diameters of that mean, cut at two spreads."""
    middle = np.log(mean) - spread**2 / 2

    def draw(random: np.random.Generator) -> float:
        return float(np.exp(middle + spread * np.clip(random.normal(), -2, 2)))

    return draw


class Scene:
    """Labels being filled with bodies; `level` is how deep each voxel lies in its owner."""

    def __init__(self, shape: Shape, allowed: np.ndarray | None = None) -> None:
        self.shape = shape
        self.labels = np.zeros(shape, np.uint32)
        self.level = np.zeros(shape, np.float32)
        self.allowed = allowed
        self.placed: list[tuple[np.ndarray, float, Body]] = []  # centre, radius, body
        self.volumes: list[int] = []  # voxels of each body where nothing cuts it

    def window(
        self, body: Body, centre: np.ndarray, radius: float
    ) -> tuple[tuple[slice, ...], np.ndarray]:
        """The part of the volume a body may reach, and its level there in voxels."""
        reach = body.reach * radius + 1
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, self.shape)
        high = np.maximum(high, low)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = [np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"))
        grid -= centre.astype(np.float32)[:, None, None, None]
        return box, body.level(grid / np.float32(radius)) * np.float32(radius)

    def overlap(self, box: tuple[slice, ...], level: np.ndarray, radius: float) -> float:
        """Share of a body (of its full volume) that others or a forbidden place hold already."""
        inside = level < 0
        taken = inside & (self.labels[box] > 0)
        if self.allowed is not None:
            taken |= inside & ~self.allowed[box]
        return float(taken.sum()) / (4 / 3 * np.pi * radius**3)

    def add(
        self,
        body: Body,
        centre: np.ndarray,
        radius: float,
        box: tuple[slice, ...],
        level: np.ndarray,
    ) -> None:
        """Put a body in; overlaps are shared out by depth."""
        number = len(self.placed) + 1
        mine = level < self.level[box]
        if self.allowed is not None:
            mine &= self.allowed[box]
        self.labels[box][mine] = number
        self.level[box][mine] = level[mine]
        self.placed.append((centre, radius, body))
        self.volumes.append(int(4 / 3 * np.pi * radius**3))

    def finished(self, least_share: float = 0.3) -> np.ndarray:
        """Labels 1…n: every particle in one piece, and none of which only a crumb is in view."""
        labels = np.zeros(self.shape, np.uint32)
        count = 0
        for index, box in enumerate(ndimage.find_objects(self.labels.astype(np.int32))):
            if box is None:
                continue
            pieces, found = ndimage.label(self.labels[box] == index + 1)
            sizes = np.bincount(pieces.ravel(), minlength=found + 1)[1:]
            if sizes.max() < least_share * self.volumes[index]:
                continue
            count += 1
            labels[box][pieces == int(np.argmax(sizes)) + 1] = count
        return labels


def scattered(
    random: np.random.Generator,
    shape: Shape,
    make: MakeBody,
    sizes: Sizes,
    filling: float,
    touching: float = 0.0,
    faces: float = 0.0,
    pushed: float = 0.02,
    allowed: np.ndarray | None = None,
    patience: int = 150,
    scene: Scene | None = None,
) -> Scene:
    """Bodies one after another until `filling` of the allowed volume is full.

    A share `touching` is brought against a body that is there already: a share `faces` of those is
    laid face on face, the others slide towards it until `pushed` of their volume overlaps. The rest
    lies free with a gap. `scene`: goes on filling that one.
    """
    scene = Scene(shape, allowed) if scene is None else scene
    room = float(np.prod(shape) if allowed is None else allowed.sum())
    failures = 0
    while (scene.labels > 0).sum() < filling * room and failures < patience:
        body, radius = make(random), sizes(random) / 2
        placed = False
        if scene.placed and random.random() < touching:
            for _ in range(6):
                if len(body.faces) and random.random() < faces:
                    placed = _face_on_face(random, scene, body, radius, pushed)
                else:
                    placed = _slid(random, scene, body, radius, pushed)
                if placed:
                    break
        else:
            placed = _free(random, scene, body, radius)
        failures = 0 if placed else failures + 1
    return scene


def _free(random: np.random.Generator, scene: Scene, body: Body, radius: float) -> bool:
    centre = random.uniform(0, 1, 3) * scene.shape
    box, level = scene.window(body, centre, radius)
    if scene.overlap(box, level - 2.0, radius) > 0:  # a gap of about two voxels
        return False
    scene.add(body, centre, radius, box, level)
    return True


def _inside(scene: Scene, centre: np.ndarray) -> bool:
    return bool((centre > 0).all() and (centre < np.array(scene.shape) - 1).all())


def _slid(
    random: np.random.Generator, scene: Scene, body: Body, radius: float, pushed: float
) -> bool:
    """Towards a body from afar, in steps of a voxel, until it is pushed in by `pushed`."""
    target, other, _ = scene.placed[int(random.integers(len(scene.placed)))]
    away = directions(random, 1)[0]
    last = None
    for distance in np.arange(1.9 * (radius + other), 0.2 * radius, -1.0):
        centre = target + away * distance
        if not _inside(scene, centre):
            continue
        box, level = scene.window(body, centre, radius)
        share = scene.overlap(box, level, radius)
        if share > 2 * pushed:
            break
        last = (centre, box, level, share)
        if share > 0.5 * pushed:
            break
    if last is None or last[3] == 0:
        return False
    scene.add(body, last[0], radius, last[1], last[2])
    return True


def _turn(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation that takes one unit vector to another."""
    axis, cosine = np.cross(source, target), float(source @ target)
    if cosine < -0.999:
        return -np.eye(3) + 2 * np.outer(*[_across(source)] * 2)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def _across(vector: np.ndarray) -> np.ndarray:
    other = np.cross(vector, np.eye(3)[int(np.argmin(np.abs(vector)))])
    return other / np.linalg.norm(other)


def _face_on_face(
    random: np.random.Generator, scene: Scene, body: Body, radius: float, pushed: float
) -> bool:
    """One face of the new body flat on a face of one that is there, shifted sideways at random."""
    target, other_radius, other = scene.placed[int(random.integers(len(scene.placed)))]
    if not len(other.faces):
        return False
    normal, point = other.faces[int(random.integers(len(other.faces)))]
    own = body.faces[int(random.integers(len(body.faces)))]
    turned = body.turned(_turn(own[0], -normal))
    own_point = own[1] @ _turn(own[0], -normal).T
    sideways = random.normal(size=3) * 0.35 * min(radius, other_radius)
    sideways -= normal * (sideways @ normal)
    # Half a voxel of overlap closes the face.
    centre = target + point * other_radius - own_point * radius + sideways - 0.5 * normal
    if not _inside(scene, centre):
        return False
    box, level = scene.window(turned, centre, radius)
    if scene.overlap(box, level, radius) > 2.5 * pushed + 0.5 / radius:
        return False
    scene.add(turned, centre, radius, box, level)
    return True


def settled(
    random: np.random.Generator,
    shape: Shape,
    make: MakeBody,
    sizes: Sizes,
    filling: float,
    allowed: np.ndarray | None = None,
    rounds: int = 250,
) -> Scene:
    """A dense packing: balls of total volume `filling` push one another apart, then become bodies.

    `filling` is that of the balls before they are exchanged; overlaps that remain become faces.
    """
    scene = Scene(shape, allowed)
    extent = np.array(shape, float)
    room = float(np.prod(shape) if allowed is None else allowed.sum())
    radii: list[float] = []
    while sum(4 / 3 * np.pi * r**3 for r in radii) < filling * room:
        radii.append(sizes(random) / 2)
    radius = np.array(radii)
    centres = _allowed_points(random, extent, allowed, len(radius))
    distance = None
    if allowed is not None:
        distance = ndimage.distance_transform_edt(allowed).astype(np.float32)
        slopes = np.gradient(ndimage.gaussian_filter(distance, 2))
    for _ in range(rounds):
        push = np.zeros_like(centres)
        pairs = cKDTree(centres).query_pairs(2 * radius.max(), output_type="ndarray")
        gap = centres[pairs[:, 0]] - centres[pairs[:, 1]]
        length = np.maximum(np.linalg.norm(gap, axis=1), 1e-3)
        depth = np.maximum(radius[pairs].sum(1) - length, 0)
        step = 0.35 * (depth / length)[:, None] * gap
        np.add.at(push, pairs[:, 0], step)
        np.add.at(push, pairs[:, 1], -step)
        centres += push + random.normal(0, 0.02, centres.shape)
        centres = np.clip(centres, 0.1 * radius[:, None], extent - 1 - 0.1 * radius[:, None])
        if distance is not None:  # away from the wall
            at = tuple(np.round(centres).astype(int).T)
            inward = np.maximum(0.95 * radius - distance[at], 0)
            centres += 0.5 * inward[:, None] * np.stack([slope[at] for slope in slopes], axis=1)
            centres = np.clip(centres, 0, extent - 1)
    for index in random.permutation(len(radius)):
        body = make(random)
        box, level = scene.window(body, centres[index], radius[index])
        scene.add(body, centres[index], radius[index], box, level)
    return scene


def _allowed_points(
    random: np.random.Generator, extent: np.ndarray, allowed: np.ndarray | None, count: int
) -> np.ndarray:
    points = random.uniform(0, 1, (count * 40, 3)) * (extent - 1)
    if allowed is not None:
        points = points[allowed[tuple(np.round(points).astype(int).T)]]
    return points[:count]


def contact_faces(labels: np.ndarray) -> dict[tuple[int, int], int]:
    """Voxel faces shared by each pair of particles."""
    counts: dict[tuple[int, int], int] = {}
    for axis in range(3):
        first = np.moveaxis(labels, axis, 0)[:-1].ravel().astype(np.int64)
        second = np.moveaxis(labels, axis, 0)[1:].ravel().astype(np.int64)
        met = (first != second) & (first > 0) & (second > 0)
        pairs = np.stack([np.minimum(first[met], second[met]), np.maximum(first[met], second[met])])
        found, number = np.unique(pairs, axis=1, return_counts=True)
        for (a, b), n in zip(found.T.tolist(), number.tolist(), strict=True):
            counts[a, b] = counts.get((a, b), 0) + n
    return counts


def touching_share(labels: np.ndarray, least_faces: int = 6) -> float:
    """Share of particles that meet at least one other over `least_faces` voxel faces or more."""
    touching = {label for pair, n in contact_faces(labels).items() if n >= least_faces
                for label in pair}  # fmt: skip
    return len(touching) / max(1, len(np.unique(labels)) - 1)
