"""Compiled loops that move the surface of a particle. Importing this loads numba.

Volumes have axes (z, y, x).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.review.flood_kernels import neighbour_offsets
from particleseg_app.review.slabs import in_slabs


@njit(cache=True, nogil=True)
def votes(labels: np.ndarray, label: int, found: np.ndarray) -> None:
    """Into `found`: 1 for the particle's voxels, -1 for background, 0 for other particles."""
    flat, given = labels.reshape(-1), found.reshape(-1)
    for at in range(flat.size):
        given[at] = 1 if flat[at] == label else (-1 if flat[at] == 0 else 0)


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


def sum_boxes(values: np.ndarray, radius: int) -> None:
    """Sums over cubes of 2 `radius` + 1 voxels an edge, in place; outside is 0.

    The type of `values` must hold every sum (on the way they may wrap around: the differences come
    out right all the same).
    """
    depth, height, _ = values.shape

    def in_layers(start: int, stop: int) -> None:
        _sum_in_layers(values, radius, start, stop)

    def through_layers(start: int, stop: int) -> None:
        _sum_through_layers(values, radius, start, stop)

    in_slabs(in_layers, depth, values.size)
    in_slabs(through_layers, height, values.size)


@njit(cache=True, nogil=True)
def _sum_in_layers(values: np.ndarray, radius: int, start: int, stop: int) -> None:
    """Sums along x and y in the layers from `start` to `stop`."""
    _, height, width = values.shape
    line = np.zeros(width + 2 * radius, values.dtype)
    for z in range(start, stop):
        for y in range(height):
            row = values[z, y]
            line[radius : radius + width] = row
            # Step by step for the whole row, so that many voxels are summed at once.
            row[:] = line[:width]
            for shift in range(1, 2 * radius + 1):
                for x in range(width):
                    row[x] += line[x + shift]
        _sum_rows(values[z], radius)


@njit(cache=True, nogil=True)
def _sum_through_layers(values: np.ndarray, radius: int, start: int, stop: int) -> None:
    """Sums along z in the rows from `start` to `stop` of all layers."""
    for y in range(start, stop):
        _sum_rows(values[:, y], radius)


@njit(cache=True, nogil=True)
def _sum_rows(plane: np.ndarray, radius: int) -> None:
    """Sums along the first axis of a plane, whole rows at a time; the last rows are kept aside."""
    count, width = plane.shape
    edge = 2 * radius + 1
    kept = np.zeros((edge, width), plane.dtype)
    total = np.zeros(width, plane.dtype)
    for i in range(min(radius, count)):
        for x in range(width):
            kept[i % edge, x] = plane[i, x]
            total[x] += plane[i, x]
    for i in range(count):
        coming = i + radius
        # What was kept there is row i - radius - 1, or nothing yet.
        slot, row = kept[coming % edge], plane[i]
        if coming < count:
            following = plane[coming]
            for x in range(width):
                value = following[x]
                total[x] += value - slot[x]
                slot[x] = value
                row[x] = total[x]
        else:
            for x in range(width):
                total[x] -= slot[x]
                slot[x] = 0
                row[x] = total[x]


def move_surface(
    labels: np.ndarray,
    grey: np.ndarray,
    edge: float,
    bright: bool,
    label: int,
    reach: int,
) -> None:
    """Move the free surface of `label` to where its grey values end, in place.

    Like the particle is what is above `edge` (below it, unless `bright`). First at most `reach`
    layers of unlike voxels go, then at most `reach` layers of like background come. Layers go over
    faces and over corners by turns, which is nearest to a ball. Where the particle comes as near
    as `reach` to a face of the arrays, both have a margin there, in `labels` of a number that is no
    label.
    """
    marked = np.zeros(labels.shape, np.bool_)

    def mark(start: int, stop: int) -> None:
        _mark_free_surface(labels, label, marked, start, stop)

    in_slabs(mark, labels.shape[0], labels.size)
    surface = np.flatnonzero(marked)
    _move(labels, grey, edge, bright, label, reach, surface)


@njit(cache=True, nogil=True)
def _move(
    labels: np.ndarray,
    grey: np.ndarray,
    edge: float,
    bright: bool,
    label: int,
    reach: int,
    surface: np.ndarray,
) -> None:
    flat = labels.reshape(-1)
    shade = grey.reshape(-1)
    faces = neighbour_offsets(labels.shape, False)
    corners = neighbour_offsets(labels.shape, True)
    gone = np.zeros(flat.size, np.bool_)
    front = [np.int64(0) for _ in range(0)]
    removed = [np.int64(0) for _ in range(0)]
    for here in surface:
        front.append(here)
        if not _alike(shade[here], edge, bright):
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
                    if _alike(shade[beside], edge, bright):
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
                if flat[beside] == 0 and not gone[beside] and _alike(shade[beside], edge, bright):
                    flat[beside] = label
                    following.append(beside)
        front = following


@njit(cache=True, nogil=True)
def _alike(value: float, edge: float, bright: bool) -> bool:
    return value > edge if bright else value < edge


@njit(cache=True, nogil=True)
def _mark_free_surface(
    labels: np.ndarray, label: int, marked: np.ndarray, start: int, stop: int
) -> None:
    """Mark a particle's voxels that have a face in common with background, in the layers from
    `start` to `stop` (not on the faces of the array)."""
    depth, height, width = labels.shape
    for z in range(max(1, start), min(stop, depth - 1)):
        for y in range(1, height - 1):
            row, marks = labels[z, y], marked[z, y]
            before, after = labels[z - 1, y], labels[z + 1, y]
            above, below = labels[z, y - 1], labels[z, y + 1]
            for x in range(1, width - 1):
                # Without branches, so that many voxels are done at once.
                beside = (row[x - 1] == 0) | (row[x + 1] == 0) | (above[x] == 0) | (below[x] == 0)
                marks[x] = (row[x] == label) & (beside | (before[x] == 0) | (after[x] == 0))
