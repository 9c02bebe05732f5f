"""Smooth-looking closed surfaces of all particles of a label volume at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.progress import CancelToken

SMOOTHING_ROUNDS = 8
# Shrinking and growing steps by turns smooth the stairs of voxels without losing volume.
SHRINK, GROW = 0.62, -0.65


@dataclass(frozen=True, eq=False)
class ParticleSurfaces:
    """Triangles of all particles.

    `vertices` and `normals` (n, 3) float32 with columns (x, y, z), in voxels of the full volume;
    `labels` (n,) uint32 says which particle a vertex belongs to; `triangles` (m, 3) uint32.
    """

    vertices: np.ndarray
    normals: np.ndarray
    labels: np.ndarray
    triangles: np.ndarray


def count_surface_faces(labels: np.ndarray) -> int:
    """Voxel faces on the surfaces of particles; a face between two particles counts twice."""
    count = 0
    for axis in range(3):
        first, second = _neighbours(labels, axis)
        differ = first != second
        count += int(np.count_nonzero(differ & (first != 0)))
        count += int(np.count_nonzero(differ & (second != 0)))
        for end in (0, -1):
            count += int(np.count_nonzero(np.take(labels, end, axis=axis)))
    return count


def particle_surfaces(
    labels: np.ndarray, step: float, cancel: CancelToken | None = None
) -> ParticleSurfaces:
    """Surfaces of every particle in a label volume (z, y, x) sampled every `step` voxels.

    Each particle gets its own closed surface, also where it touches another one or the edge of
    the volume.
    """
    cancel = cancel or CancelToken()
    padded = np.pad(labels, 1)
    corners, owners = _quads(padded, cancel)
    if not len(owners):
        nothing = np.zeros((0, 3), np.float32)
        none = np.zeros(0, np.uint32)
        return ParticleSurfaces(nothing, nothing, none, np.zeros((0, 3), np.uint32))
    cancel.check()
    # One vertex for each corner and particle, so that touching particles do not share any.
    numbers, owner_index = np.unique(owners, return_inverse=True)
    keys = corners * np.int64(numbers.size) + owner_index[:, None]
    unique_keys, quads = np.unique(keys, return_inverse=True)
    quads = quads.reshape(-1, 4)
    cancel.check()
    corner, owner = np.divmod(unique_keys, numbers.size)
    lattice = tuple(n + 1 for n in padded.shape)
    z, y, x = np.unravel_index(corner, lattice)
    points = np.stack([x, y, z], axis=1).astype(np.float32) - 1.0
    points = _smoothed(points, quads, cancel)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    normals = vertex_normals(points, triangles)
    return ParticleSurfaces(
        vertices=points * np.float32(step),
        normals=normals,
        labels=numbers[owner].astype(np.uint32),
        triangles=triangles.astype(np.uint32),
    )


def surfaces_of_label(surfaces: ParticleSurfaces, label: int) -> ParticleSurfaces | None:
    """The surface of one particle alone, or None if it has none."""
    own = np.flatnonzero(surfaces.labels == label)
    if not own.size:
        return None
    kept = surfaces.triangles[surfaces.labels[surfaces.triangles[:, 0]] == label]
    return ParticleSurfaces(
        vertices=surfaces.vertices[own],
        normals=surfaces.normals[own],
        labels=surfaces.labels[own],
        triangles=np.searchsorted(own, kept).astype(np.uint32),
    )


def surfaces_without(surfaces: ParticleSurfaces, labels: np.ndarray) -> ParticleSurfaces:
    """The surfaces of all particles but those in `labels` (n,)."""
    kept = ~np.isin(surfaces.labels, labels)
    number = np.cumsum(kept) - 1
    triangles = surfaces.triangles[kept[surfaces.triangles[:, 0]]]
    return ParticleSurfaces(
        vertices=surfaces.vertices[kept],
        normals=surfaces.normals[kept],
        labels=surfaces.labels[kept],
        triangles=number[triangles].astype(np.uint32),
    )


def joined_surfaces(first: ParticleSurfaces, second: ParticleSurfaces) -> ParticleSurfaces:
    """Both together; no particle may be in both."""
    return ParticleSurfaces(
        vertices=np.concatenate([first.vertices, second.vertices]),
        normals=np.concatenate([first.normals, second.normals]),
        labels=np.concatenate([first.labels, second.labels]),
        triangles=np.concatenate(
            [first.triangles, second.triangles + np.uint32(len(first.vertices))]
        ),
    )


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (n, 3) float32 of the vertices, weighted by the triangles' areas."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    normals = np.zeros((len(points), 3))
    for column in range(3):
        for k in range(3):
            normals[:, column] += np.bincount(
                triangles[:, k], weights=faces[:, column], minlength=len(points)
            )
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.maximum(lengths, 1e-12)).astype(np.float32)


def _neighbours(labels: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    before: list[slice] = [slice(None)] * 3
    after: list[slice] = [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return labels[tuple(before)], labels[tuple(after)]


def _quads(padded: np.ndarray, cancel: CancelToken) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 4) of the surface faces as places in the corner lattice, and their particles.

    The corners go round counter-clockwise when seen from outside in (x, y, z).
    """
    lattice = tuple(n + 1 for n in padded.shape)
    strides = np.array([lattice[1] * lattice[2], lattice[2], 1], np.int64)
    all_corners, all_owners = [], []
    for axis in range(3):
        cancel.check()
        first, second = _neighbours(padded, axis)
        places = np.flatnonzero(first != second)
        where = np.stack(np.unravel_index(places, first.shape), axis=1).astype(np.int64)
        where[:, axis] += 1
        base = where @ strides
        # The two other axes in the order that makes u × v point along `axis` in (x, y, z).
        u, v = {0: (2, 1), 1: (0, 2), 2: (1, 0)}[axis]
        su, sv = strides[u], strides[v]
        around = np.stack([base, base + su, base + su + sv, base + sv], axis=1)
        inner, outer = first.reshape(-1)[places], second.reshape(-1)[places]
        for owner, corners in ((inner, around), (outer, around[:, ::-1])):
            kept = owner != 0
            all_corners.append(corners[kept])
            all_owners.append(owner[kept])
    return np.concatenate(all_corners), np.concatenate(all_owners)


def _smoothed(points: np.ndarray, quads: np.ndarray, cancel: CancelToken) -> np.ndarray:
    """Vertices after a few rounds of smoothing between the centres of their faces."""
    from scipy import sparse  # heavy, and only needed once there are particles

    count = len(quads)
    rows = np.repeat(np.arange(count, dtype=np.int32), 4)
    member = sparse.csr_matrix(
        (np.full(4 * count, 0.25, np.float32), (rows, quads.reshape(-1).astype(np.int32))),
        shape=(count, len(points)),
    )
    gather = member.T.tocsr()
    weights = np.asarray(gather.sum(axis=1)).reshape(-1, 1)
    for _ in range(SMOOTHING_ROUNDS):
        for amount in (SHRINK, GROW):
            cancel.check()
            mean = (gather @ (member @ points)) / weights
            points = points + np.float32(amount) * (mean - points)
    return points.astype(np.float32)
