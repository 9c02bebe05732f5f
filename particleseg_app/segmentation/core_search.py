"""Cores of a volume found block by block, joined across blocks, filtered and put in order."""

from __future__ import annotations

import numpy as np

from particleseg_app.segmentation.block_grid import (
    LATER_6,
    BlockGrid,
    face_names,
    faces_of,
    facing,
    facing_name,
    opposite,
    touching_pairs,
)
from particleseg_app.segmentation.block_work import BlockWork, joined
from particleseg_app.segmentation.border_core import CORE, NEAR_PERCENT
from particleseg_app.segmentation.connected_regions import connected_regions
from particleseg_app.units import Shape

# Whether a voxel is nearer than 3 to a voxel of no core shows within 2 voxels of it.
_HALO = 2

# So far around a block growth sees the cores of its neighbours. Few borders are wider; blocks at
# these are bettered by their neighbours afterwards.
_RIM = 6


def rim_thickness(grid: BlockGrid) -> int:
    """How many voxels of its neighbours a block knows while it grows; no more than they have.

    Only the last block of an axis may be thinner than the others, and nothing lies behind it.
    """
    sides = zip(grid.block_shape, grid.counts, strict=True)
    return min([_RIM, *(size for size, count in sides if count > 1)])


def rim_name(offset: Shape) -> str:
    """Name of the local core numbers that a block keeps for its neighbour at `offset`."""
    return "rim" + "".join({-1: "-", 0: "0", 1: "+"}[step] for step in offset)


def _rims(work: BlockWork, number: int, cores: np.ndarray) -> dict[str, np.ndarray]:
    thickness = rim_thickness(work.grid)
    rim = {-1: slice(None, thickness), 0: slice(None), 1: slice(-thickness, None)}
    return {
        rim_name(offset): cores[tuple(rim[step] for step in offset)]
        for offset, _ in work.grid.neighbours(number)
    }


def find_cores(work: BlockWork, small_core_filter: bool) -> None:
    """Piece `cores` of each block: local core numbers and what the joining needs of them.

    `cores` (z, y, x): 0 background, 1…n cores, n + 1 border; its six faces, with border as 0; per
    core `total`, `near`, `deep` (see `block_counts.core_figures`) and `key`, the raster index of
    its first voxel in the volume; for each neighbour, under `rim_name` of its offset, the part of
    `cores` that is nearest to it.
    """
    from particleseg_app.segmentation.block_counts import core_figures

    def find(number: int) -> None:
        box = work.grid.box(number)
        around = box.expanded(_HALO if small_core_filter else 0, work.grid.shape)
        classes = np.ascontiguousarray(work.read_classes(around))
        work.cancel.check()
        inner = np.ascontiguousarray(classes[box.within(around)])
        cores, count = connected_regions(inner == CORE, connectivity=6)
        work.cancel.check()
        faces = faces_of(cores)
        z, y, x = (a - b for a, b in zip(box.start, around.start, strict=True))
        figures = core_figures(classes, (z, y, x), cores, count)
        key = work.grid.raster_index(figures.pop("first"), box)
        if count < np.iinfo(np.uint16).max:
            cores = cores.astype(np.uint16)
        cores[inner > CORE] = count + 1
        rims = _rims(work, number, cores)
        work.write("cores", number, {"cores": cores, "key": key, **faces, **figures, **rims})

    work.each("Finding cores", work.missing("cores"), find)


def number_cores(work: BlockWork, small_core_filter: bool) -> dict[str, np.ndarray]:
    """Join the cores of all blocks, drop the small ones, number the rest in order of their keys.

    Returns `keys` (int64, of the cores 1…n) and, for each local core of each block, its number or 0
    for what became border: `ranks[offsets[block] + local number - 1]` (uint32).
    """
    blocks = range(len(work.grid))
    figures = [work.read("cores", number, "key", "total", "near", "deep") for number in blocks]
    counts = np.array([block["key"].size for block in figures])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    whole = {name: np.concatenate([block[name] for block in figures]) for name in figures[0]}
    del figures

    group_count, group = joined(int(offsets[-1]), _core_contacts(work, offsets))
    keys = np.full(group_count, np.iinfo(np.int64).max)
    np.minimum.at(keys, group, whole["key"])
    survives = np.ones(group_count, bool)
    if small_core_filter:
        total = np.bincount(group, whole["total"], group_count)
        near = np.bincount(group, whole["near"], group_count)
        deep = np.bincount(group, whole["deep"], group_count) > 0
        survives = (100 * near < NEAR_PERCENT * total) | deep
    order = np.flatnonzero(survives)
    order = order[np.argsort(keys[order])]
    rank = np.zeros(group_count, np.uint32)
    rank[order] = np.arange(1, order.size + 1, dtype=np.uint32)
    return {"keys": keys[order], "ranks": rank[group], "offsets": offsets}


def _core_contacts(work: BlockWork, offsets: np.ndarray) -> np.ndarray:
    """Pairs of core numbers, counted over the whole volume from 0, that touch across blocks."""
    work.progress.start("Joining cores across blocks", total=len(work.grid), unit="blocks")
    pairs = [np.zeros((0, 2), np.int64)]
    for number in range(len(work.grid)):
        work.cancel.check()
        faces = work.read("cores", number, *face_names((1,)))
        for offset, other in work.grid.neighbours(number, LATER_6):
            there = opposite(offset)
            others = work.read("cores", other, facing_name(there))
            local = touching_pairs(facing(faces, offset), facing(others, there), connectivity=6)
            pairs.append(local - 1 + offsets[[number, other]])
        work.progress.advance()
    return np.concatenate(pairs)
