"""Compiled loops of the granulometry. Importing this module loads numba: import it where used."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def climb(distance: np.ndarray, top: np.ndarray) -> int:
    """Lead every voxel uphill to a summit of the distance map.

    `distance` (z, y, x) is 0 in the background. `top` (int32, flat, one entry a voxel) becomes the
    number of the voxel's summit, counted from 1, and 0 in the background. Returns the number of
    summits. A flat part of a ridge yields several summits, which `merge_summits` joins again.
    """
    depth, height, width = distance.shape
    uphill = np.empty(distance.size, np.int32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                here = (z * height + y) * width + x
                best = distance[z, y, x]
                uphill[here] = here if best > 0 else -1
                if best <= 0:
                    continue
                for dz in range(max(0, z - 1), min(depth, z + 2)):
                    for dy in range(max(0, y - 1), min(height, y + 2)):
                        for dx in range(max(0, x - 1), min(width, x + 2)):
                            if distance[dz, dy, dx] > best:
                                best = distance[dz, dy, dx]
                                uphill[here] = (dz * height + dy) * width + dx
    count = 0
    top[:] = 0
    for here in range(uphill.size):
        if uphill[here] == here:
            count += 1
            top[here] = count
    for start in range(uphill.size):
        if uphill[start] < 0 or top[start] > 0:
            continue
        end = start
        while top[end] == 0:
            end = uphill[end]
        number = top[end]
        here = start
        while top[here] == 0:
            top[here] = number
            here = uphill[here]
    return count


@njit(nogil=True, cache=True)
def peaks(distance: np.ndarray, top: np.ndarray, count: int) -> np.ndarray:
    """Height (distance) of each summit, 0 for the background at index 0."""
    height = np.zeros(count + 1, np.float32)
    flat = distance.reshape(-1)
    for i in range(top.size):
        height[top[i]] = max(height[top[i]], flat[i])
    return height


@njit(nogil=True, cache=True)
def passes(distance: np.ndarray, top: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face neighbours that belong to different summits: the two summits and the lower distance."""
    depth, height, width = distance.shape
    strides = (height * width, width, 1)
    found = 0
    for fill in range(2):
        if fill == 1:
            first = np.empty(found, np.int32)
            second = np.empty(found, np.int32)
            level = np.empty(found, np.float32)
            found = 0
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    here = (z * height + y) * width + x
                    if top[here] == 0:
                        continue
                    for axis in range(3):
                        if (
                            (axis == 0 and z + 1 == depth)
                            or (axis == 1 and y + 1 == height)
                            or (axis == 2 and x + 1 == width)
                        ):
                            continue
                        there = here + strides[axis]
                        if top[there] == 0 or top[there] == top[here]:
                            continue
                        if fill == 1:
                            first[found] = min(top[here], top[there])
                            second[found] = max(top[here], top[there])
                            beside = distance[z + (axis == 0), y + (axis == 1), x + (axis == 2)]
                            level[found] = min(distance[z, y, x], beside)
                        found += 1
    return first, second, level


@njit(nogil=True, cache=True)
def merge_summits(
    first: np.ndarray,
    second: np.ndarray,
    level: np.ndarray,
    peak: np.ndarray,
    share: float,
    step: float,
) -> np.ndarray:
    """Join summits that no real neck separates; return for each summit the one that stands for it.

    The passes must come in descending order of `level`. Two summits are one particle when the pass
    between them is higher than `share` of the lower peak, or less than `step` below it.
    """
    owner = np.arange(peak.size).astype(np.int32)
    for i in range(first.size):
        a, b = first[i], second[i]
        while owner[a] != a:
            owner[a] = owner[owner[a]]
            a = owner[a]
        while owner[b] != b:
            owner[b] = owner[owner[b]]
            b = owner[b]
        if a == b:
            continue
        lower = min(peak[a], peak[b])
        if level[i] >= share * lower or lower - level[i] < step:
            if peak[a] < peak[b]:
                a, b = b, a
            owner[b] = a
    for i in range(owner.size):
        root = i
        while owner[root] != root:
            root = owner[root]
        owner[i] = root
    return owner


@njit(nogil=True, cache=True)
def measure(
    shape: tuple[int, int, int], top: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Voxel count (n) and bounding box (n, 6: z, y, x from, then to inclusive) of each summit."""
    depth, height, width = shape
    volume = np.zeros(owner.size, np.int64)
    box = np.empty((owner.size, 6), np.int32)
    box[:, :3] = 2**30
    box[:, 3:] = -1
    here = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                particle = owner[top[here]]
                here += 1
                if particle == 0:
                    continue
                volume[particle] += 1
                box[particle, 0] = min(box[particle, 0], z)
                box[particle, 1] = min(box[particle, 1], y)
                box[particle, 2] = min(box[particle, 2], x)
                box[particle, 3] = max(box[particle, 3], z)
                box[particle, 4] = max(box[particle, 4], y)
                box[particle, 5] = max(box[particle, 5], x)
    return volume, box
