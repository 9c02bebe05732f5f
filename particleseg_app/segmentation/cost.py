"""What a run will cost before it is started: tiles, time from a short probe, disk and memory."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from particleseg_app.models import Predictor, choose_device, find_model
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.plan import NetworkPlan, plan_network_run
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.units import Shape

# Measured on two cores; the network's share is probed on the machine itself.
SECONDS_PER_WORKING_VOXEL = 0.8e-7
SECONDS_PER_SCAN_VOXEL = 0.3e-7
SECONDS_PER_THRESHOLD_VOXEL = 1.2e-7
BASE_MEMORY_BYTES = 700 * 1024**2


@dataclass(frozen=True)
class CostEstimate:
    """`seconds` is None when it was not probed; bytes are the most needed at one time."""

    scale_factor: float
    working_shape: Shape
    tiles: int
    seconds: float | None
    disk_bytes: int
    memory_bytes: int
    device_title: str


def estimate_cost(
    scan_shape: Shape, settings: RunSettings, cancel: CancelToken, probe: bool = True
) -> CostEstimate:
    """Cost of a run with these settings; with `probe`, one or two tiles are really predicted.

    Raises the same `UserError` as the run itself would for impossible settings.
    """
    settings.check()
    scan_voxels = math.prod(scan_shape)
    if settings.method == "threshwater":
        return CostEstimate(
            scale_factor=1.0,
            working_shape=scan_shape,
            tiles=0,
            seconds=scan_voxels
            * (SECONDS_PER_THRESHOLD_VOXEL + SECONDS_PER_WORKING_VOXEL + SECONDS_PER_SCAN_VOXEL),
            disk_bytes=_disk_bytes(scan_voxels, scan_voxels, 0),
            memory_bytes=BASE_MEMORY_BYTES,
            device_title=choose_device("cpu").title,
        )
    card = find_model(settings.model).card
    plan = plan_network_run(scan_shape, settings, card)
    device = choose_device(settings.device)
    seconds = None
    if probe:
        seconds = plan.tile_count * _seconds_per_tile(settings, plan, device.id, cancel)
        seconds += math.prod(plan.working_shape) * SECONDS_PER_WORKING_VOXEL
        seconds += scan_voxels * SECONDS_PER_SCAN_VOXEL
    chunk_voxels = max(chunk.reach.size for chunk in plan.chunks)
    tile_voxels = math.prod(plan.tile_shape)
    return CostEstimate(
        scale_factor=plan.scale_factor,
        working_shape=plan.working_shape,
        tiles=plan.tile_count,
        seconds=seconds,
        disk_bytes=_disk_bytes(scan_voxels, math.prod(plan.working_shape), chunk_voxels),
        memory_bytes=BASE_MEMORY_BYTES + chunk_voxels * 36 + tile_voxels * 4 * 16 * 8,
        device_title=device.title,
    )


def _seconds_per_tile(
    settings: RunSettings, plan: NetworkPlan, device_id: str, cancel: CancelToken
) -> float:
    """Time of one tile, from the second one on: the first also pays for warming up."""
    import torch

    predictor = Predictor(find_model(settings.model), device_id, plan.mirroring, cancel)
    tile = torch.zeros((1, 1, *plan.tile_shape), device=predictor.device)
    times = []
    for _ in range(3):
        cancel.check()
        started = time.perf_counter()
        # A reduced copy of the answer must arrive, or a graphics card would still be at work.
        predictor.predict(tile).amax().item()
        times.append(time.perf_counter() - started)
        if sum(times) > 10:
            break
    return min(times)


def _disk_bytes(scan_voxels: int, working_voxels: int, chunk_voxels: int) -> int:
    """Class pieces, growth pieces (label and distance), seams and the compressed labels."""
    return int(working_voxels * (1 + 6) + chunk_voxels * 12 * 4 + scan_voxels * 0.3)
