"""Compiled loops that move the surface of a particle. Importing this loads numba.

Volumes have axes (z, y, x).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.review.flood_kernels import neighbour_offsets


@njit(cache=True, nogil=True)
def votes(labels: np.ndarray, label: int) -> np.ndarray:
    """int32: 1 for the particle's voxels, -1 for background, 0 for other particles."""
    found = np.empty(labels.shape, np.int32)
    flat, given = labels.reshape(-1), found.reshape(-1)
    for at in range(flat.size):
        given[at] = 1 if flat[at] == label else (-1 if flat[at] == 0 else 0)
    return found


@njit(cache=True, nogil=True)
def follow_votes(labels: np.ndarray, counted: np.ndarray, label: int) -> None:
    """Give the particle the background with more votes for it than against, and the reverse."""
    flat, found = labels.reshape(-1), counted.reshape(-1)
    for at in range(flat.size):
        if flat[at] == label:
            if found[at] <= 0:
                flat[at] = 0
        elif flat[at] == 0 and found[at] > 0:
            flat[at] = label


@njit(cache=True, nogil=True)
def sum_boxes(values: np.ndarray, radius: int) -> None:
    """Sums over cubes of 2 `radius` + 1 voxels an edge, in place; int32, outside is 0."""
    depth, height, width = values.shape
    line = np.zeros(width + 1, np.int32)
    for z in range(depth):
        for y in range(height):
            row = values[z, y]
            total = 0
            for x in range(width):
                total += row[x]
                line[x + 1] = total
            for x in range(width):
                row[x] = line[min(width, x + radius + 1)] - line[max(0, x - radius)]
    for z in range(depth):
        _sum_rows(values[z], radius)
    for y in range(height):
        _sum_rows(values[:, y], radius)


@njit(cache=True, nogil=True)
def _sum_rows(plane: np.ndarray, radius: int) -> None:
    """Sums along the first axis of a plane, whole rows at a time; the last rows are kept aside."""
    count, width = plane.shape
    edge = 2 * radius + 1
    kept = np.zeros((edge, width), np.int32)
    total = np.zeros(width, np.int32)
    for i in range(min(radius, count)):
        kept[i % edge] = plane[i]
        total += plane[i]
    for i in range(count):
        coming = i + radius
        slot = kept[coming % edge]
        if i > radius:
            total -= slot  # row i - radius - 1, which had this place
        if coming < count:
            slot[:] = plane[coming]
            total += slot
        else:
            slot[:] = 0
        plane[i] = total


@njit(cache=True, nogil=True)
def move_surface(
    labels: np.ndarray,
    grey: np.ndarray,
    edge: float,
    bright: bool,
    label: int,
    reach: int,
    margin: int,
) -> None:
    """Move the free surface of `label` to where its grey values end, in place.

    Like the particle is what is above `edge` (below it, unless `bright`). First at most `reach`
    layers of unlike voxels go, then at most `reach` layers of like background come. Layers go over
    faces and over corners by turns, which is nearest to a ball. `labels` has a margin of
    `margin` voxels that holds a number that is no label (0 where the particle stays further than
    `reach` from all faces); `grey` has none.
    """
    flat = labels.reshape(-1)
    faces = neighbour_offsets(labels.shape, False)
    corners = neighbour_offsets(labels.shape, True)
    front = _free_surface(flat, labels.shape, label)
    gone = np.zeros(flat.size, np.bool_)
    removed = [np.int64(0) for _ in range(0)]
    for here in front:
        if not _alike(grey, labels.shape, here, edge, bright, margin):
            removed.append(here)
            gone[here] = True
    for layer in range(reach):
        offsets = corners if layer % 2 == 0 else faces
        following = [np.int64(0) for _ in range(0)]
        for here in removed:
            flat[here] = 0
        for here in removed:
            for k in range(offsets.size):
                beside = here + offsets[k]
                if flat[beside] == label and not gone[beside]:
                    if _alike(grey, labels.shape, beside, edge, bright, margin):
                        front.append(beside)  # the surface now
                    else:
                        gone[beside] = True
                        following.append(beside)
        removed = following
    for here in removed:
        front.append(here)  # out of reach: they stay, and are the surface
    for layer in range(reach):
        offsets = faces if layer % 2 == 0 else corners
        following = [np.int64(0) for _ in range(0)]
        for here in front:
            if flat[here] != label:
                continue
            for k in range(offsets.size):
                beside = here + offsets[k]
                if (
                    flat[beside] == 0
                    and not gone[beside]
                    and _alike(grey, labels.shape, beside, edge, bright, margin)
                ):
                    flat[beside] = label
                    following.append(beside)
        front = following


@njit(cache=True, nogil=True)
def _alike(
    grey: np.ndarray,
    shape: tuple[int, ...],
    at: np.int64,
    edge: float,
    bright: bool,
    margin: int,
) -> bool:
    x = at % shape[2] - margin
    y = at // shape[2] % shape[1] - margin
    z = at // (shape[2] * shape[1]) - margin
    value = grey[z, y, x]
    return value > edge if bright else value < edge


@njit(cache=True, nogil=True)
def _free_surface(flat: np.ndarray, shape: tuple[int, ...], label: int) -> list[np.int64]:
    """The voxels of a particle that have a face in common with background."""
    row, layer = shape[2], shape[1] * shape[2]
    found = [np.int64(0) for _ in range(0)]
    for at in range(layer, flat.size - layer):
        if flat[at] == label and (
            flat[at - 1] == 0
            or flat[at + 1] == 0
            or flat[at - row] == 0
            or flat[at + row] == 0
            or flat[at - layer] == 0
            or flat[at + layer] == 0
        ):
            found.append(np.int64(at))
    return found
