"""Shapes of simulated particles: rounded polyhedra and ellipsoids as implicit functions.

A shape lives in its own unit space, where q is the position divided by the semi-axes. Its value is
the p-norm of the distances to its planes, relative to the planes' own distances; 1 is the surface.
Low exponents round the edges, high ones leave a sharp polyhedron, no plane at all is an ellipsoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_PLANES = 24

# How often each habit is drawn for one particle; scenes choose one family.
FAMILIES: dict[str, dict[str, float]] = {
    "angular": {"fragment": 0.8, "block": 0.2},
    "rounded": {"pebble": 0.6, "ellipsoid": 0.4},
    "spheres": {"sphere": 1.0},
    "plates": {"plate": 0.75, "fragment": 0.25},
    "needles": {"needle": 0.7, "fragment": 0.3},
    "ore": {"fragment": 0.55, "pebble": 0.25, "block": 0.08, "plate": 0.07, "needle": 0.05},
    "sand": {"pebble": 0.7, "fragment": 0.2, "ellipsoid": 0.1},
}


@dataclass(frozen=True)
class Particles:
    """Parameters of n particles: centres and sizes in voxels, axes (z, y, x)."""

    centre: np.ndarray  # (n, 3)
    radius: np.ndarray  # (n,) of the sphere of equal volume
    semi_axes: np.ndarray  # (n, 3) voxels to unit space
    rotation: np.ndarray  # (n, 3, 3) scan axes to particle axes
    normals: np.ndarray  # (n, MAX_PLANES, 3) divided by the planes' distances
    plane_count: np.ndarray  # (n,) 0 for ellipsoids
    doublings: np.ndarray  # (n,) exponent of the p-norm is 2 ** doublings
    roughness: np.ndarray  # (n, 2) shares of the radius: lobes, fine grain
    noise_shift: np.ndarray  # (n, 3) so that neighbours have different surfaces
    owner: np.ndarray  # (n,) index of the particle that each shape is a lobe of, mostly itself

    def __len__(self) -> int:
        return len(self.radius)


def random_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform random rotation matrices, (count, 3, 3)."""
    q = rng.standard_normal((count, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0).astype(np.float32)


def _spread_normals(rng: np.random.Generator, count: int) -> np.ndarray:
    """Directions that keep some distance from one another, (count, 3)."""
    candidates = rng.standard_normal((count * 3, 3))
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    chosen = [0]
    nearest = candidates @ candidates[0]
    for _ in range(count - 1):
        following = int(np.argmin(nearest + 0.5 * rng.random(len(candidates))))
        chosen.append(following)
        nearest = np.maximum(nearest, candidates @ candidates[following])
    return candidates[chosen]


def _one_shape(
    rng: np.random.Generator, habit: str
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Normals over distances, axis ratios, doublings and roughness of one particle."""
    normals = np.zeros((0, 3))
    aspect = np.exp(rng.normal(0, 0.18, 3))
    doublings = 6
    rough = np.array([rng.uniform(0, 0.10), rng.uniform(0, 0.03)])
    if habit == "fragment":
        count = int(rng.integers(7, 17))
        normals = _spread_normals(rng, count) / rng.uniform(0.55, 1.05, (count, 1))
        doublings = int(rng.integers(3, 7))
        aspect = np.exp(rng.normal(0, 0.25, 3))
    elif habit == "block":
        axes = np.concatenate([np.eye(3), -np.eye(3)])
        extra = _spread_normals(rng, int(rng.integers(1, 5)))
        normals = np.concatenate(
            [axes + rng.normal(0, 0.08, axes.shape), extra / rng.uniform(1.0, 1.4)]
        )
        doublings = int(rng.integers(4, 7))
    elif habit == "pebble":
        count = int(rng.integers(10, MAX_PLANES))
        normals = _spread_normals(rng, count) / rng.uniform(0.7, 1.0, (count, 1))
        doublings = int(rng.integers(2, 4))
        rough = np.array([rng.uniform(0, 0.14), rng.uniform(0, 0.02)])
    elif habit == "ellipsoid":
        aspect = np.exp(rng.normal(0, 0.28, 3))
        rough = np.array([rng.uniform(0, 0.06), 0.0])
    elif habit == "sphere":
        aspect = np.exp(rng.normal(0, 0.02, 3))
        rough = np.array([rng.uniform(0, 0.02), 0.0])
    elif habit == "plate":
        count = int(rng.integers(8, 14))
        normals = _spread_normals(rng, count) / rng.uniform(0.65, 1.0, (count, 1))
        doublings = 5
        aspect = np.array([rng.uniform(0.22, 0.45), 1.0, rng.uniform(0.7, 1.2)])
    elif habit == "needle":
        count = int(rng.integers(8, 14))
        normals = _spread_normals(rng, count) / rng.uniform(0.7, 1.0, (count, 1))
        doublings = 4
        aspect = np.array([rng.uniform(2.2, 4.0), 1.0, rng.uniform(0.7, 1.2)])
    return normals, aspect, doublings, rough


def random_particles(
    rng: np.random.Generator, family: str, centre: np.ndarray, radius: np.ndarray
) -> Particles:
    """Particles of one `family` with the given centres (n, 3) and equivalent radii in voxels."""
    from particleseg_app.training.painting import unit_volume

    count = len(radius)
    habits = FAMILIES[family]
    drawn = rng.choice(list(habits), size=count, p=list(habits.values()))
    normals = np.zeros((count, MAX_PLANES, 3), np.float32)
    plane_count = np.zeros(count, np.int32)
    doublings = np.zeros(count, np.int32)
    semi_axes = np.zeros((count, 3), np.float32)
    roughness = np.zeros((count, 2), np.float32)
    for index, habit in enumerate(drawn):
        planes, aspect, powers, rough = _one_shape(rng, str(habit))
        planes = planes[:MAX_PLANES]
        normals[index, : len(planes)] = planes
        plane_count[index], doublings[index] = len(planes), powers
        roughness[index] = rough
        semi_axes[index] = aspect / np.prod(aspect) ** (1 / 3)
    # The equal-volume sphere has the wanted radius, whatever the planes cut away.
    volume = unit_volume(normals, plane_count, doublings)
    semi_axes *= (radius * (4 / 3 * np.pi / np.maximum(volume, 0.05)) ** (1 / 3))[:, None]
    # Fine grain deeper than a voxel would be spikes that no scan shows.
    roughness[:, 1] = np.minimum(roughness[:, 1], 0.6 / radius)
    return Particles(
        centre=centre.astype(np.float32),
        radius=radius.astype(np.float32),
        semi_axes=semi_axes.astype(np.float32),
        rotation=random_rotations(rng, count),
        normals=normals,
        plane_count=plane_count,
        doublings=doublings,
        roughness=roughness,
        noise_shift=rng.integers(0, 64, (count, 3)).astype(np.int32),
        owner=np.arange(count, dtype=np.int32),
    )
