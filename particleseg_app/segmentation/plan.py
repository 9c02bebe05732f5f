"""The plan of a run: scale factor, working volume, tiles and chunks, from scan and settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, bytes_for_pieces
from particleseg_app.models import Device, ModelCard
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.tiles import (
    Chunk,
    free_tile_shape,
    plan_chunks,
    tile_shape_for,
)
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Shape, scale_factor

# Presets differ only in how much tiles overlap and whether they are mirrored. By how many voxels
# two neighbours overlap at least: what a network says of a voxel hardly depends any more on what
# lies beyond half of that (docs/network_stage.md).
OVERLAP_VOXELS = {"fast": 16, "standard": 32, "best": 32}
# Where the network normalises each tile by itself, it does depend on the whole tile, so that more
# of them are averaged: shares of a tile. Mirrored copies leave nothing to gain from half.
OVERLAP_SHARE = {"fast": 0.25, "standard": 0.5, "best": 0.25}
MIRRORING = {"fast": False, "standard": False, "best": True}
# Along each axis. More mean fewer seams, but a chunk's sums and grey values lie in memory.
MOST_TILES_PER_CHUNK = 4
# A graphics card is done with a tile sooner than its seams are written: with fewer of them it waits
# less. A chunk of as many tiles takes a card seconds, and at most this share of its free memory.
MOST_TILES_PER_CHUNK_ON_CARD = 7
_SHARE_OF_CARD = 0.25
# Grey values (4) and sums (12) of the chunk the network works on, grey values of the next one,
# sums of the one before while it is written, and its classes.
_BYTES_PER_CHUNK_VOXEL = 36
# What a network of 32 channels at full resolution holds while it predicts one tile, in float32.
_BYTES_PER_TILE_VOXEL = 560


@dataclass(frozen=True)
class NetworkPlan:
    """How the network goes over a scan. Shapes (z, y, x) in voxels at working scale.

    `overlap`: by how many voxels two neighbouring tiles overlap at least, along each axis.
    `reading_bytes`: what reading the scan takes beside what is read (see `NetworkInput`).
    `core_factor`: by how much core must be the likeliest class (`core_unions.UnionRule`).
    """

    scale_factor: float
    scan_shape: Shape
    working_shape: Shape
    tile_shape: Shape
    overlap: Shape
    mirroring: bool
    chunks: tuple[Chunk, ...]
    tiles_per_chunk: int = MOST_TILES_PER_CHUNK
    reading_bytes: int = 0
    core_factor: int = 1

    @property
    def tile_count(self) -> int:
        return sum(len(chunk.tiles) for chunk in self.chunks)


def plan_network_run(
    scan_shape: Shape,
    settings: RunSettings,
    card: ModelCard,
    tiles_per_chunk: int | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    device: Device | None = None,
    reading_bytes: int = 0,
) -> NetworkPlan:
    """The plan for a run with a model; raises `InvalidValueError` for impossible sizes.

    `tiles_per_chunk` (along each axis) is as many as `memory_limit_bytes` allows where it is None,
    and on a graphics card as many as its own memory allows, too. `reading_bytes` are kept free.
    """
    factor = scale_factor(
        card.target_diameter_voxels, settings.particle_diameter_um, settings.voxel_size_um
    )
    volume = working_shape(scan_shape, factor)
    tile, overlap = _tiles_of_run(volume, card, settings.preset)
    if tiles_per_chunk is None:
        card_bytes = device.memory_bytes if device and device.id.startswith("cuda") else None
        tiles_per_chunk = _tiles_that_fit(
            tile, overlap, memory_limit_bytes - reading_bytes, card_bytes
        )
    return NetworkPlan(
        scale_factor=factor,
        scan_shape=scan_shape,
        working_shape=volume,
        tile_shape=tile,
        overlap=overlap,
        mirroring=MIRRORING[settings.preset],
        chunks=plan_chunks(volume, tile, overlap, tiles_per_chunk),
        tiles_per_chunk=tiles_per_chunk,
        reading_bytes=reading_bytes,
    )


def _tiles_of_run(volume: Shape, card: ModelCard, preset: str) -> tuple[Shape, Shape]:
    """Shape and overlap of the tiles; never a question of memory, which changes no result."""
    if not card.longest_tile_edge:
        tile = tile_shape_for(volume, card.patch_shape)
        z, y, x = (int(OVERLAP_SHARE[preset] * edge) for edge in tile)
        return tile, (z, y, x)
    shared = OVERLAP_VOXELS[preset]
    tile = free_tile_shape(volume, card.patch_shape, card.longest_tile_edge, shared)
    # Where an axis has several tiles, each is at least twice as long as what they share.
    z, y, x = (min(shared, edge // 2) for edge in tile)
    return tile, (z, y, x)


def network_bytes(plan: NetworkPlan) -> int:
    """The most memory that the network stage takes at one time, beside the program itself."""
    chunk_voxels = max(chunk.reach.size for chunk in plan.chunks)
    tile_voxels = math.prod(plan.tile_shape)
    return (
        chunk_voxels * _BYTES_PER_CHUNK_VOXEL
        + tile_voxels * _BYTES_PER_TILE_VOXEL
        + plan.reading_bytes
    )


def _tiles_that_fit(
    tile: Shape, overlap: Shape, memory_limit_bytes: int, card_bytes: int | None
) -> int:
    """Tiles of a chunk along each axis, so that working on it stays within the limits."""
    room: float = bytes_for_pieces(memory_limit_bytes)
    most = MOST_TILES_PER_CHUNK
    if card_bytes is None:
        room -= math.prod(tile) * _BYTES_PER_TILE_VOXEL
    else:  # tiles take memory of the card only
        room = min(room, _SHARE_OF_CARD * card_bytes)
        most = MOST_TILES_PER_CHUNK_ON_CARD
    for tiles in range(most, 1, -1):
        reach = [
            edge + (tiles - 1) * (edge - shared) for edge, shared in zip(tile, overlap, strict=True)
        ]
        if math.prod(reach) * _BYTES_PER_CHUNK_VOXEL <= room:
            return tiles
    return 1
