"""The plan of a run: scale factor, working volume, tiles and chunks, from scan and settings."""

from __future__ import annotations

from dataclasses import dataclass

from particleseg_app.models import ModelCard
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.tiles import Chunk, plan_chunks, tile_shape_for
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Shape, scale_factor

# Presets differ only in how much tiles overlap and whether they are mirrored.
OVERLAP = {"fast": 0.25, "standard": 0.5, "best": 0.5}
MIRRORING = {"fast": False, "standard": False, "best": True}
TILES_PER_CHUNK = 4


@dataclass(frozen=True)
class NetworkPlan:
    """How the network goes over a scan. Shapes (z, y, x) in voxels at working scale."""

    scale_factor: float
    scan_shape: Shape
    working_shape: Shape
    tile_shape: Shape
    overlap: float
    mirroring: bool
    chunks: tuple[Chunk, ...]

    @property
    def tile_count(self) -> int:
        return sum(len(chunk.tiles) for chunk in self.chunks)


def plan_network_run(
    scan_shape: Shape,
    settings: RunSettings,
    card: ModelCard,
    tiles_per_chunk: int = TILES_PER_CHUNK,
) -> NetworkPlan:
    """The plan for a run with a model; raises `InvalidValueError` for impossible sizes."""
    factor = scale_factor(
        card.target_diameter_voxels, settings.particle_diameter_um, settings.voxel_size_um
    )
    volume = working_shape(scan_shape, factor)
    tile = tile_shape_for(volume, card.patch_shape)
    overlap = OVERLAP[settings.preset]
    return NetworkPlan(
        scale_factor=factor,
        scan_shape=scan_shape,
        working_shape=volume,
        tile_shape=tile,
        overlap=overlap,
        mirroring=MIRRORING[settings.preset],
        chunks=plan_chunks(volume, tile, overlap, tiles_per_chunk),
    )
