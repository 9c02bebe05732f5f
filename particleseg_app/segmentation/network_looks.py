"""The network's looks at a scan: at the scale of the run, then at coarser ones, made one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from particleseg_app.models import ModelEntry
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.core_unions import UnionRule
from particleseg_app.segmentation.large_particles import (
    LOOKING_FOR_LARGE,
    Completed,
    coarser_settings,
    complete_large_particles,
)
from particleseg_app.segmentation.network_input import NetworkInput
from particleseg_app.segmentation.network_on_workers import (
    MakePredictor,
    WorkerModel,
    run_network_stage_on,
)
from particleseg_app.segmentation.network_stage import STAGE_NAME, NetworkStage
from particleseg_app.segmentation.plan import NetworkPlan, plan_network_run
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.workers import Workers

_Look = Callable[[NetworkPlan, Path, str], ClassPieces]


@dataclass(frozen=True)
class NetworkOfRun:
    """The model of a run, its device, and what it is shown; `workers` None for this process."""

    entry: ModelEntry
    device_id: str
    make_predictor: MakePredictor
    shown: NetworkInput
    workers: Workers | None
    mirroring: bool


def network_classes(
    plan: NetworkPlan,
    settings: RunSettings,
    network: NetworkOfRun,
    union_rule: UnionRule | None,
    folder: Path,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int,
) -> Completed:
    """Classes of the whole scan, large particles completed; goes on where an earlier call stopped.

    The pieces of every look lie in `folder`. Raises `Cancelled` and `RunError`.
    """
    shown, card = network.shown, network.entry.card
    look = _look_with(network, progress, cancel)
    looks = [look(plan, folder, STAGE_NAME)]
    for number, coarser in enumerate(coarser_settings(settings, plan.scan_shape), start=1):
        coarser_plan = plan_network_run(
            plan.scan_shape,
            coarser,
            card,
            plan.tiles_per_chunk,
            reading_bytes=shown.reading_bytes,
        )
        coarser_plan = replace(coarser_plan, core_factor=plan.core_factor)
        looks.append(look(coarser_plan, folder / f"coarser_{number}", LOOKING_FOR_LARGE))
    return complete_large_particles(
        looks,
        shown.volume,
        shown.scaling,
        card.target_diameter_voxels,
        union_rule,
        folder,
        progress,
        cancel,
        memory_limit_bytes,
    )


def _look_with(network: NetworkOfRun, progress: Progress, cancel: CancelToken) -> _Look:
    """What makes the classes of a plan in a folder; the model is loaded once for all of them."""
    shown, entry = network.shown, network.entry
    if network.workers is not None:
        workers = network.workers
        model = WorkerModel(
            network.make_predictor,
            entry,
            entry.fingerprint(),
            network.device_id,
            network.mirroring,
        )

        def by_workers(plan: NetworkPlan, folder: Path, title: str) -> ClassPieces:
            return run_network_stage_on(
                workers,
                plan,
                shown.volume,
                shown.scaling,
                model,
                folder,
                progress,
                cancel,
                shown.background,
                title,
            )

        return by_workers
    predictor = network.make_predictor(entry, network.device_id, network.mirroring, cancel)

    def here(plan: NetworkPlan, folder: Path, title: str) -> ClassPieces:
        stage = NetworkStage(
            plan, shown.volume, shown.scaling, predictor, folder, shown.background, title
        )
        return stage.run(progress, cancel)

    return here
