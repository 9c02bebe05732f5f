"""Where the network's tiles lie at working scale, and which chunk each belongs to.

A tile belongs to exactly one chunk, the one its first voxel lies in, so each is predicted once.
What it predicts beyond its chunk is handed to the later chunks it reaches into.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from particleseg_app.models.model_card import TILE_STEP
from particleseg_app.units import Box, Shape


@dataclass(frozen=True)
class Chunk:
    """One unit of work and of resumption, in voxels at working scale.

    `box` is what it finishes, `reach` what its tiles cover (beyond the volume, where a tile is
    longer than the volume), `tiles` the start (z, y, x) of each of its tiles.
    """

    index: int
    box: Box
    reach: Box
    tiles: tuple[Shape, ...]


def tile_shape_for(volume: Shape, patch_shape: Shape) -> Shape:
    """The model's patch, shortened along axes where the whole volume is thinner."""
    z, y, x = (
        min(patch, max(TILE_STEP, math.ceil(n / TILE_STEP) * TILE_STEP))
        for n, patch in zip(volume, patch_shape, strict=True)
    )
    return z, y, x


def free_tile_shape(volume: Shape, patch_shape: Shape, longest: int, overlap: int) -> Shape:
    """The tile with which the network has least to do, for one that takes tiles of any size.

    Each edge has between the model's patch and `longest` voxels, fewer where the volume is
    thinner; of equal work the longer edge, which has fewer seams. So a small volume is one tile.
    """
    z, y, x = (
        _cheapest_edge(n, patch, max(patch, longest), overlap)
        for n, patch in zip(volume, patch_shape, strict=True)
    )
    return z, y, x


def _cheapest_edge(length: int, shortest: int, longest: int, overlap: int) -> int:
    whole = max(TILE_STEP, math.ceil(length / TILE_STEP) * TILE_STEP)
    if whole <= longest:
        return whole
    shortest = max(shortest, 2 * overlap)  # or a voxel would lie in more than two of them
    edges = range(max(longest, shortest), shortest - 1, -TILE_STEP)
    return min(edges, key=lambda edge: edge * len(tile_starts(length, edge, overlap)))


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Evenly spaced starts of tiles that cover [0, length); at least `overlap` voxels overlap.

    `overlap` is smaller than the tile.
    """
    if length <= tile:
        return [0]
    steps = math.ceil((length - tile) / (tile - overlap))
    return [round(i * (length - tile) / steps) for i in range(steps + 1)]


def plan_chunks(
    volume: Shape, tile: Shape, overlap: Shape, tiles_per_chunk: int
) -> tuple[Chunk, ...]:
    """All chunks in raster order, each of at most `tiles_per_chunk` tiles along each axis.

    `overlap` as in `tile_starts`, for each axis.
    """
    groups = []
    for length, edge, shared in zip(volume, tile, overlap, strict=True):
        starts = tile_starts(length, edge, shared)
        cuts = [starts[i : i + tiles_per_chunk] for i in range(0, len(starts), tiles_per_chunk)]
        groups.append(
            [
                (group, group[0], cuts[i + 1][0] if i + 1 < len(cuts) else length)
                for i, group in enumerate(cuts)
            ]
        )
    chunks = []
    for index, along in enumerate(itertools.product(*groups)):
        start = tuple(first for _, first, _ in along)
        stop = tuple(last for _, _, last in along)
        reach = tuple(
            max(group[-1] + edge, last) for (group, _, last), edge in zip(along, tile, strict=True)
        )
        tiles = tuple(itertools.product(*(group for group, _, _ in along)))
        chunks.append(
            Chunk(index, Box(start, stop), Box(start, reach), tiles)  # type: ignore[arg-type]
        )
    return tuple(chunks)
