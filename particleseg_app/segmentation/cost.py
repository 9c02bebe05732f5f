"""What a run will cost before it is started: tiles, time from a short trial, disk and memory."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from particleseg_app.errors import RunError, ScanError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, PROGRAM_BYTES
from particleseg_app.models import choose_device, find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.core_unions import union_rule_of
from particleseg_app.segmentation.denoised_scan import Denoising
from particleseg_app.segmentation.even_slices import Evening
from particleseg_app.segmentation.large_particles import coarser_settings
from particleseg_app.segmentation.network_input import network_input
from particleseg_app.segmentation.plan import network_bytes, plan_network_run
from particleseg_app.segmentation.rings import Rings
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.trial import (
    Measure,
    try_network,
    try_particles,
    try_threshold,
)
from particleseg_app.units import Shape
from particleseg_app.volumes import Scan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CostEstimate:
    """`seconds` is None when it was not tried; bytes are the most needed at one time.

    `empty_tiles` of the `tiles` are expected to be passed by. `denoising`: what the run will do
    about the noise of the scan, `evening`: about slices of uneven brightness, `rings`: about ring
    artefacts, None for nothing.
    """

    scale_factor: float
    working_shape: Shape
    tiles: int
    seconds: float | None
    disk_bytes: int
    memory_bytes: int
    device_title: str
    empty_tiles: int = 0
    denoising: Denoising | None = None
    evening: Evening | None = None
    rings: Rings | None = None


def estimate_cost(
    scan_shape: Shape,
    settings: RunSettings,
    cancel: CancelToken,
    scan: Scan | None = None,
    measure: Measure | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> CostEstimate:
    """Cost of a run with these settings; its time from a trial on `scan`, where that is given.

    `measure` is what comes after the labels (a room of its own): it is tried as well and counts.
    Raises the same `UserError` as the run itself would for impossible settings.
    """
    settings.check_for(scan_shape)
    scan_voxels = math.prod(scan_shape)
    seconds: float | None = None
    if settings.method == "threshwater":
        if scan is not None:
            with _trial_may_fail():
                seconds = scan_voxels * try_threshold(scan, settings, measure, cancel)
        return CostEstimate(
            scale_factor=1.0,
            working_shape=scan_shape,
            tiles=0,
            seconds=seconds,
            disk_bytes=_disk_bytes(scan_voxels, scan_voxels, 0),
            memory_bytes=min(memory_limit_bytes, PROGRAM_BYTES + 40 * scan_voxels),
            device_title=choose_device("cpu").title,
        )
    entry = find_model(settings.model)
    device = choose_device(settings.device)
    began = time.perf_counter()
    shown = None
    if scan is not None:
        shown = network_input(scan, entry.card, settings, Progress(), cancel, preview=True)
    measuring_s = time.perf_counter() - began
    plan = plan_network_run(
        scan_shape,
        settings,
        entry.card,
        memory_limit_bytes=memory_limit_bytes,
        device=device,
        reading_bytes=0 if shown is None else shown.reading_bytes,
    )
    empty_share = 0.0
    if scan is not None and shown is not None:
        trial, classes = try_network(shown, plan, entry, device.id, settings, cancel)
        empty_share = trial.empty_share
        with _trial_may_fail():
            per_voxel = try_particles(
                scan, classes, plan.scale_factor, settings, union_rule_of(entry), measure, cancel
            )
            # Where tiles are empty there is next to nothing to separate and to measure.
            separating_s = scan_voxels * (1 - empty_share) * per_voxel
            seconds = measuring_s + trial.seconds(plan) + separating_s
            for coarser in coarser_settings(settings, scan_shape):
                coarser_plan = plan_network_run(
                    scan_shape, coarser, entry.card, plan.tiles_per_chunk
                )
                # An engine prepares itself anew for tiles of another shape.
                seconds += trial.seconds(coarser_plan)
    return CostEstimate(
        scale_factor=plan.scale_factor,
        working_shape=plan.working_shape,
        tiles=plan.tile_count,
        seconds=seconds,
        disk_bytes=_disk_bytes(
            scan_voxels,
            math.prod(plan.working_shape),
            max(chunk.reach.size for chunk in plan.chunks),
        ),
        memory_bytes=PROGRAM_BYTES + network_bytes(plan),
        device_title=device.title,
        empty_tiles=round(empty_share * plan.tile_count),
        denoising=None if shown is None else shown.denoising,
        evening=None if shown is None else shown.evening,
        rings=None if shown is None else shown.rings,
    )


@contextmanager
def _trial_may_fail() -> Iterator[None]:
    """A full disk stops the trial, too: sizes are told all the same, only the time is not."""
    try:
        yield
    except (ScanError, RunError, OSError):
        logger.warning("The time of the run could not be tried.", exc_info=True)


def _disk_bytes(scan_voxels: int, working_voxels: int, chunk_voxels: int) -> int:
    """Class pieces, growth pieces (label and distance), seams and the compressed labels."""
    return int(working_voxels * (1 + 6) + chunk_voxels * 12 * 4 + scan_voxels * 0.3)
