"""Compiled loops of the simulator: shapes into voxels, and spheres pushed apart."""

from __future__ import annotations

import numpy as np
from numba import njit

CORNER_LIMIT = np.float32(0.72)


@njit(cache=True)
def _shape_value(
    q0: np.float32,
    q1: np.float32,
    q2: np.float32,
    normals: np.ndarray,
    count: int,
    doublings: int,
    most: float,
) -> float:
    """Value of a shape at a place in its unit space; any larger one where it is above `most`."""
    length = np.sqrt(q0 * q0 + q1 * q1 + q2 * q2)
    if count == 0 or length * CORNER_LIMIT > most:
        return length
    largest = np.float32(0.0)
    total = np.float32(0.0)
    for k in range(count):
        g = normals[k, 0] * q0 + normals[k, 1] * q1 + normals[k, 2] * q2
        if g > 0:
            if g > largest:
                largest = g
                if g > most:
                    return g
            if g > 0.3:
                for _ in range(doublings):
                    g = g * g
                total += g
    value = largest
    # Far outside, powers overflow and rounding does not matter.
    if 0.3 < largest < 2.2 and doublings < 6:
        value = total ** (1.0 / 2.0**doublings)
    return max(value, length * CORNER_LIMIT)


@njit(cache=True)
def unit_volume(normals: np.ndarray, plane_count: np.ndarray, doublings: np.ndarray) -> np.ndarray:
    """Volume of each shape in its unit space, on a coarse grid; (n,)."""
    steps = 18
    edge = 1.5
    cell = 2 * edge / steps
    result = np.zeros(len(plane_count), np.float64)
    for i in range(len(plane_count)):
        inside = 0
        for a in range(steps):
            for b in range(steps):
                for c in range(steps):
                    value = _shape_value(
                        np.float32(-edge + (a + 0.5) * cell),
                        np.float32(-edge + (b + 0.5) * cell),
                        np.float32(-edge + (c + 0.5) * cell),
                        normals[i],
                        plane_count[i],
                        doublings[i],
                        1.0,
                    )
                    if value < 1:
                        inside += 1
        result[i] = inside * cell**3
    return result


@njit(cache=True)
def paint(
    centre: np.ndarray,
    radius: np.ndarray,
    semi_axes: np.ndarray,
    rotation: np.ndarray,
    normals: np.ndarray,
    plane_count: np.ndarray,
    doublings: np.ndarray,
    roughness: np.ndarray,
    noise_shift: np.ndarray,
    owner: np.ndarray,
    lobes: np.ndarray,
    grain: np.ndarray,
    reach: float,
    labels: np.ndarray,
    nearest: np.ndarray,
    second: np.ndarray,
) -> None:
    """Give each voxel the particle whose surface it is deepest in (labels are `owner` + 1).

    `nearest` and `second` receive the signed distances, in voxels, to the surfaces of the two
    nearest particles (negative inside); they start at a large value. Shapes with the same `owner`
    are lobes of one particle. `reach` is how far beyond its
    surface a particle may claim voxels, as a share of its radius. Arrays are (z, y, x).
    """
    mask = lobes.shape[0] - 1
    for i in range(len(radius)):
        bound = (1.0 + reach + 0.2) / float(CORNER_LIMIT)
        if plane_count[i] == 0:
            bound = 1.0 + reach + 0.2
        start = np.zeros(3, np.int64)
        stop = np.zeros(3, np.int64)
        for axis in range(3):
            # Half extent of the rotated ellipsoid that bounds the shape.
            extent = 0.0
            for j in range(3):
                extent += (rotation[i, j, axis] * semi_axes[i, j]) ** 2
            extent = np.sqrt(extent) * bound
            start[axis] = max(0, int(np.floor(centre[i, axis] - extent)))
            stop[axis] = min(labels.shape[axis], int(np.ceil(centre[i, axis] + extent)) + 1)
        if start[0] >= stop[0] or start[1] >= stop[1] or start[2] >= stop[2]:
            continue
        rot = rotation[i]
        scale = radius[i]
        limit = reach * scale
        rough0, rough1 = roughness[i, 0], roughness[i, 1]
        for z in range(start[0], stop[0]):
            dz = np.float32(z) - centre[i, 0]
            for y in range(start[1], stop[1]):
                dy = np.float32(y) - centre[i, 1]
                for x in range(start[2], stop[2]):
                    dx = np.float32(x) - centre[i, 2]
                    q0 = (rot[0, 0] * dz + rot[0, 1] * dy + rot[0, 2] * dx) / semi_axes[i, 0]
                    q1 = (rot[1, 0] * dz + rot[1, 1] * dy + rot[1, 2] * dx) / semi_axes[i, 1]
                    q2 = (rot[2, 0] * dz + rot[2, 1] * dy + rot[2, 2] * dx) / semi_axes[i, 2]
                    if q0 * q0 + q1 * q1 + q2 * q2 > bound * bound:
                        continue
                    a = (z + noise_shift[i, 0]) & mask
                    b = (y + noise_shift[i, 1]) & mask
                    c = (x + noise_shift[i, 2]) & mask
                    rough = rough0 * lobes[a, b, c] + rough1 * grain[a, b, c]
                    # Farther than the second nearest surface, nothing changes.
                    farthest = min(limit, second[z, y, x])
                    most = 1.0 - rough + farthest / scale + 1e-3
                    value = _shape_value(q0, q1, q2, normals[i], plane_count[i], doublings[i], most)
                    if value > most:
                        continue
                    value += rough
                    distance = (value - 1.0) * scale
                    if distance > limit:
                        continue
                    same = labels[z, y, x] == owner[i] + 1
                    if distance < nearest[z, y, x]:
                        if not same:
                            second[z, y, x] = nearest[z, y, x]
                        nearest[z, y, x] = distance
                        labels[z, y, x] = owner[i] + 1
                    elif distance < second[z, y, x] and not same:
                        second[z, y, x] = distance


@njit(cache=True)
def push_apart(
    centre: np.ndarray,
    radius: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    axis_y: float,
    axis_x: float,
    cylinder: float,
    rounds: int,
) -> None:
    """Move overlapping spheres apart in place, the lighter one farther, inside a box.

    A `cylinder` radius above 0 also keeps them within that distance of the axis (axis_y, axis_x)
    along z. Overlaps left after `rounds` sweeps stay and become flat contacts when painted.
    """
    count = len(radius)
    order = np.argsort(centre[:, 0])
    largest = radius.max() if count else 0.0
    for sweep in range(rounds):
        if sweep % 5 == 0:
            order = np.argsort(centre[:, 0])
        moved = 0.0
        for first in range(count):
            i = order[first]
            for later in range(first + 1, count):
                j = order[later]
                dz = centre[j, 0] - centre[i, 0]
                if dz > radius[i] + largest + 2.0:
                    break
                together = radius[i] + radius[j]
                if abs(dz) >= together:
                    continue
                dy = centre[j, 1] - centre[i, 1]
                dx = centre[j, 2] - centre[i, 2]
                square = dz * dz + dy * dy + dx * dx
                if square >= together * together:
                    continue
                distance = np.sqrt(square) + 1e-6
                overlap = together - distance
                mi = radius[i] ** 3
                mj = radius[j] ** 3
                share = mj / (mi + mj)
                step = 0.5 * overlap / distance
                centre[i, 0] -= dz * step * share
                centre[i, 1] -= dy * step * share
                centre[i, 2] -= dx * step * share
                centre[j, 0] += dz * step * (1 - share)
                centre[j, 1] += dy * step * (1 - share)
                centre[j, 2] += dx * step * (1 - share)
                moved = max(moved, overlap / together)
        for i in range(count):
            for axis in range(3):
                centre[i, axis] = min(max(centre[i, axis], low[axis]), high[axis])
            if cylinder > 0:
                dy = centre[i, 1] - axis_y
                dx = centre[i, 2] - axis_x
                distance = np.sqrt(dy * dy + dx * dx)
                allowed = max(cylinder - 0.92 * radius[i], 1.0)
                if distance > allowed:
                    centre[i, 1] = axis_y + dy * allowed / distance
                    centre[i, 2] = axis_x + dx * allowed / distance
        if moved < 0.01:
            break
