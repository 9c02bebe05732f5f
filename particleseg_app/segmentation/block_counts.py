"""Compiled loops over one block: what its cores and labels count, and labels at the scan's grid.

Importing this file imports numba; see `region_growth`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.segmentation.region_growth import BACKGROUND, NO_LABEL


def _offsets_nearer_than(distance: int) -> np.ndarray:
    reach = np.arange(-distance + 1, distance)
    grid = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    squared = (grid**2).sum(axis=1)
    grid, squared = grid[squared < distance**2], squared[squared < distance**2]
    # Nearest first: the search for a voxel outside the core then ends early.
    return grid[np.argsort(squared, kind="stable")][1:].astype(np.int64)


@njit(cache=True, nogil=True)
def _core_figures(
    classes: np.ndarray,
    start: tuple[int, int, int],
    cores: np.ndarray,
    count: int,
    offsets: np.ndarray,
    total: np.ndarray,
    near: np.ndarray,
    deep: np.ndarray,
    first: np.ndarray,
) -> None:
    nz, ny, nx = cores.shape
    hz, hy, hx = classes.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                core = cores[z, y, x]
                if core == 0 or core > count:
                    continue
                if total[core] == 0:
                    first[core] = (z * ny + y) * nx + x
                total[core] += 1
                cz, cy, cx = z + start[0], y + start[1], x + start[2]
                if (
                    (cz > 0 and classes[cz - 1, cy, cx] != 1)
                    or (cz + 1 < hz and classes[cz + 1, cy, cx] != 1)
                    or (cy > 0 and classes[cz, cy - 1, cx] != 1)
                    or (cy + 1 < hy and classes[cz, cy + 1, cx] != 1)
                    or (cx > 0 and classes[cz, cy, cx - 1] != 1)
                    or (cx + 1 < hx and classes[cz, cy, cx + 1] != 1)
                ):
                    near[core] += 1
                elif not deep[core]:
                    alone = True
                    for k in range(offsets.shape[0]):
                        oz, oy, ox = cz + offsets[k, 0], cy + offsets[k, 1], cx + offsets[k, 2]
                        if (
                            0 <= oz < hz
                            and 0 <= oy < hy
                            and 0 <= ox < hx
                            and classes[oz, oy, ox] != 1
                        ):
                            alone = False
                            break
                    deep[core] = alone


def core_figures(
    classes: np.ndarray, start: tuple[int, int, int], cores: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Per core of a block, what the small-core filter and the numbering need; all of it adds up.

    `classes` (uint8) is the block with its halo (2 voxels and more, cut at the volume), `start` the
    block's place in it, `cores` the block's labels 1…`count` (higher values are no cores).
    Returns arrays of `count` values, core 1 first: `total` voxels, `near` voxels (distance to the
    nearest voxel of no core at most 1), `deep` (some voxel has distance 3 or more), and `first`,
    the raster index of the core's first voxel within the block.
    """
    total = np.zeros(count + 1, np.int64)
    near = np.zeros(count + 1, np.int64)
    deep = np.zeros(count + 1, np.bool_)
    first = np.zeros(count + 1, np.int64)
    offsets = _offsets_nearer_than(3)
    _core_figures(classes, start, cores, count, offsets, total, near, deep, first)
    return {"total": total[1:], "near": near[1:], "deep": deep[1:], "first": first[1:]}


@njit(cache=True, nogil=True)
def _weighted_counts(
    labels: np.ndarray,
    weights_z: np.ndarray,
    weights_y: np.ndarray,
    weights_x: np.ndarray,
    count: int,
) -> np.ndarray:
    totals = np.zeros(count + 1, np.int64)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            weight = weights_z[z] * weights_y[y]
            if weight == 0:
                continue
            for x in range(nx):
                totals[labels[z, y, x]] += weight * weights_x[x]
    return totals


def weighted_counts(
    labels: np.ndarray, weights: tuple[np.ndarray, np.ndarray, np.ndarray], count: int
) -> np.ndarray:
    """Sum of the product of the three axes' weights over the voxels of each label 0…`count`."""
    return _weighted_counts(labels, *weights, count)


@njit(cache=True, nogil=True)
def _counts_outside(
    labels: np.ndarray,
    from_z: np.ndarray,
    from_y: np.ndarray,
    from_x: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    totals: np.ndarray,
) -> None:
    for z in range(from_z.size):
        for y in range(from_y.size):
            row = labels[from_z[z], from_y[y]]
            for x in range(begin[z, y]):
                totals[row[from_x[x]]] += 1
            for x in range(end[z, y], from_x.size):
                totals[row[from_x[x]]] += 1


def counts_outside(
    labels: np.ndarray,
    indices: tuple[np.ndarray, np.ndarray, np.ndarray],
    begin: np.ndarray,
    end: np.ndarray,
    count: int,
) -> np.ndarray:
    """How often each label 0…`count` is taken at `indices` of each axis outside `begin` to `end`.

    `begin` and `end` (z, y; int64) are places in the rows that are taken, `end` not before `begin`.
    """
    totals = np.zeros(count + 1, np.int64)
    _counts_outside(labels, *indices, begin, end, totals)
    return totals


@njit(cache=True, nogil=True)
def first_voxels(labels: np.ndarray, count: int) -> np.ndarray:
    """Raster index of the first voxel of each label 1…`count` (int64); all of them occur."""
    first = np.full(count, -1, np.int64)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                label = labels[z, y, x]
                if label > 0 and first[label - 1] < 0:
                    first[label - 1] = (z * ny + y) * nx + x
    return first


@njit(cache=True, nogil=True)
def _take_labels(
    labels: np.ndarray,
    names: np.ndarray,
    from_z: np.ndarray,
    from_y: np.ndarray,
    from_x: np.ndarray,
    taken: np.ndarray,
) -> None:
    for z in range(from_z.size):
        for y in range(from_y.size):
            row = labels[from_z[z], from_y[y]]
            for x in range(from_x.size):
                name = names[row[from_x[x]]]
                if name > 0:
                    taken[z, y, x] = name


def take_labels(
    labels: np.ndarray,
    names: np.ndarray,
    indices: tuple[np.ndarray, np.ndarray, np.ndarray],
    taken: np.ndarray,
) -> None:
    """Put `names[labels]` at `indices` of each axis into `taken` (uint32), where it is not 0."""
    _take_labels(labels, names, *indices, taken)


@njit(cache=True, nogil=True)
def _settle(
    grown: np.ndarray,
    lookup: np.ndarray,
    weights_z: np.ndarray,
    weights_y: np.ndarray,
    weights_x: np.ndarray,
    labels: np.ndarray,
    names: np.ndarray,
    volumes: np.ndarray,
) -> int:
    """See `settled`; returns how many names there are, or 0 where they do not fit `names`.

    Place 0 of `lookup` stands for NO_LABEL.
    """
    count = 1
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            weight = weights_z[z] * weights_y[y]
            grown_row, label_row = grown[z, y], labels[z, y]
            name, local, volume = BACKGROUND, np.int64(0), np.int64(0)
            for x in range(nx):
                now = grown_row[x]
                # One look-up for all that follows of the same particle.
                if now != name:
                    volumes[local] += weight * volume
                    volume = np.int64(0)
                    name, local = now, np.int64(0)
                    if name != BACKGROUND:
                        place = np.int64(0) if name == NO_LABEL else np.int64(name)
                        local = np.int64(lookup[place])
                        if local == 0:
                            if count == names.size:
                                return 0
                            local = np.int64(count)
                            lookup[place] = local
                            names[local] = name
                            count += 1
                label_row[x] = local
                volume += weights_x[x]
            volumes[local] += weight * volume
    return count


def settled(
    grown: np.ndarray, highest_label: int, weights: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """What is kept of the grown labels of a block, with numbers as small as they can be.

    `grown` (z, y, x) is what `BlockGrowth.grow` returns, with labels up to `highest_label`.
    `labels` (z, y, x): indices into `names`, which holds the labels of the whole volume, 0 for the
    background first, and NO_LABEL where foreground was not reached; `volumes`, for each of `names`
    but the background, the sum of the product of the three axes' `weights`.
    """
    for labels_type in (np.uint16, np.uint32):
        labels = np.empty(grown.shape, labels_type)
        # Only what is touched of these takes memory. The background and NO_LABEL are names, too.
        lookup = np.zeros(highest_label + 1, np.uint32)
        most = min(np.iinfo(labels_type).max, grown.size, highest_label + 1) + 1
        names, volumes = np.zeros(most, np.uint32), np.zeros(most, np.int64)
        count = _settle(grown, lookup, *weights, labels, names, volumes)
        if count:
            break
    volumes[0] = 0
    return {"labels": labels, "names": names[:count].copy(), "volumes": volumes[:count].copy()}
