"""From labelled patches or simulated scans to a model folder, in one resumable piece of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.cores import usable_cores
from particleseg_app.models import ModelEntry, open_model
from particleseg_app.models.model_folder import load_network
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.failures import failures_in_words
from particleseg_app.training.base_model import base_model
from particleseg_app.training.export import (
    LEAST_CONTRAST_TO_NOISE,
    ModelFacts,
    TrainedNetwork,
    export_network_checked,
)
from particleseg_app.training.export import trained_network as network_of_checkpoint
from particleseg_app.training.held_back import CANDIDATES, HeldBackFigures, measure_held_back
from particleseg_app.training.lab_source import LabPatchSource, labelled_volumes
from particleseg_app.training.patches import (
    BatchSource,
    HeldBackPatches,
    MixedHeldBack,
    MixedSource,
)
from particleseg_app.training.recipes import PAPER, Recipe
from particleseg_app.training.report import (
    card_figures,
    held_back_sentences,
    opening_lines,
    origin,
)
from particleseg_app.training.scene_pool import SceneForm
from particleseg_app.training.scene_processes import processes_beside
from particleseg_app.training.simulated_source import SimulatedScans
from particleseg_app.training.trainer import Trainer, TrainingSettings
from particleseg_app.training.training_log import log_line
from particleseg_app.training.training_loop import BEST, CHECKPOINT
from particleseg_app.training.training_plan import TrainingPlan, begin_or_resume
from particleseg_app.training.training_task import TrainingTask, training_task

if TYPE_CHECKING:
    import torch

STANDARD_RATE = 2e-3
FINE_TUNING_RATE = 2e-4
CHECKPOINT_EVERY, VALIDATE_EVERY = 100, 200  # steps of the compact recipe
NOT_MEASURED = "Not measured: compare its particles with labels that took no part in the training."


def train_model(
    plan: TrainingPlan,
    out: Path,
    work: Path,
    device: str,
    progress: Progress,
    cancel: CancelToken,
) -> ModelEntry:
    """Train by `plan` in the folder `work`, going on where it was stopped; model folder in `out`.

    `device`: a torch device. `work` holds plan.json, checkpoints, log.txt, the loss as loss.csv and
    loss.svg, and the simulated scans. The card of the model carries the figures measured on what
    was held back. Raises `InvalidValueError`, `ScanError`, `ModelError`, `Cancelled`; `RunError`
    for a full disk, a drive that is gone, and a graphics card that fails or is too small.
    """
    recipe = plan.check()
    entry = None if plan.base is None else open_model(plan.base)
    base = None if entry is None else base_model(entry)
    if base is not None and base.folds > 1:
        progress.note(f"The model “{plan.base}” has {base.folds} folds; the first is trained on.")
    task = training_task(plan, recipe, base, cancel)
    with failures_in_words(work):
        if begin_or_resume(plan, entry, task.training_names, out, work):
            for line in opening_lines(out.name, plan, task, entry, device):
                log_line(work, line)
    lab = lab_held_back = None
    if plan.patches is not None:
        lab = _lab_source(plan, task, task.training_names, progress, cancel)
        if task.held_back_names:
            lab_held_back = _lab_source(
                replace(plan, touching=0.0), task, task.held_back_names, progress, cancel
            )
    least_contrast_to_noise = _least_contrast_to_noise(plan, recipe, entry)
    form = SceneForm.for_diameter(task.diameter, task.normalisation, least_contrast_to_noise)
    with _simulated_scans(plan, task, form, work, device, progress, cancel) as scans:
        simulated = None if scans is None else scans.source
        source: BatchSource | None = lab or simulated
        if lab is not None and simulated is not None:
            source = MixedSource(lab, simulated, plan.simulated_share, plan.seed)
        assert source is not None  # plan.check
        held_back: list[HeldBackPatches] = [lab_held_back] if lab_held_back is not None else []
        if scans is not None and scans.held_back is not None:
            held_back.append(scans.held_back)
        validation = MixedHeldBack(held_back) if held_back else None
        with failures_in_words(work):
            trained = _train(task, work, device, plan.seed, source, validation, progress, cancel)
    figures = _measure(plan, task, trained.network, scans, device, progress, cancel)
    before = None
    if entry is not None and figures is not None:
        network = load_network(entry)[0]
        before = _measure(plan, task, network, scans, device, progress, cancel, as_it_is=True)
    progress.start("Writing the model")
    shown = 0 if simulated is None else simulated.scene_count
    facts = ModelFacts(
        name=out.name,
        title=out.name,
        version="1",
        target_diameter_voxels=task.diameter,
        patch_shape=task.tile,
        scenes=source.scene_count,
        made_from=origin(plan, task, shown, entry),
        limits=NOT_MEASURED if figures is None else "",
        class_offsets=_offsets(task, figures),
        figures=card_figures(figures, before, task, 0 if scans is None else scans.held_back_count),
        normalisation=task.normalisation,
        least_contrast_to_noise=least_contrast_to_noise,
        # A model of a lab's own patches is the lab's, and one of another model is under its terms.
        licence="" if plan.patches is not None or entry is not None else ModelFacts.licence,
    )
    with failures_in_words(work):
        export_network_checked(trained, out, facts)
        for line in held_back_sentences(figures, before):
            log_line(work, line)
            progress.note(line)
        log_line(work, f"Done: the model is in {out}.")
    return open_model(out)


def _lab_source(
    plan: TrainingPlan,
    task: TrainingTask,
    names: list[str],
    progress: Progress,
    cancel: CancelToken,
) -> LabPatchSource:
    assert plan.patches is not None
    return LabPatchSource(
        plan.patches, task.diameter, task.border, plan.seed, task.edge, plan.touching,
        progress, cancel, names, task.normalisation,
    )  # fmt: skip


@contextmanager
def _simulated_scans(
    plan: TrainingPlan,
    task: TrainingTask,
    form: SceneForm,
    work: Path,
    device: str,
    progress: Progress,
    cancel: CancelToken,
) -> Iterator[SimulatedScans | None]:
    if plan.simulated <= 0:
        yield None
        return
    with SimulatedScans(
        work, plan, form, task.border, task.edge, progress, cancel,
        processes_beside(device),
    ) as scans:  # fmt: skip
        yield scans


def _train(
    task: TrainingTask,
    work: Path,
    device: str,
    seed: int,
    source: BatchSource,
    validation: HeldBackPatches | None,
    progress: Progress,
    cancel: CancelToken,
) -> TrainedNetwork:
    """Run the trainer of the recipe to its end and take its network."""
    weights = None if task.base is None else task.base.weights
    if task.recipe is PAPER:
        from particleseg_app.training.nnunet_trainer import ParticleTrainer

        assert task.steps is not None  # plan.check
        trainer = ParticleTrainer.begin(
            work, task.architecture, task.border, task.batch, task.edge, task.steps, device, seed,
            weights, task.recipe.augmentation,
        )  # fmt: skip
        trainer.run(source, validation, progress, cancel)
        return trainer.trained_network()
    settings = TrainingSettings(
        features=tuple(task.architecture["arch_kwargs"]["features_per_stage"]),
        normalised=task.base is None,
        architecture=None if task.base is None else task.base.architecture,
        border_thickness=task.border,
        steps=task.steps,
        minutes=task.minutes,
        batches=((task.batch, task.edge),),
        replicas=1 if device != "cpu" else min(task.batch, usable_cores()),
        learning_rate=STANDARD_RATE if task.base is None else FINE_TUNING_RATE,
        seed=seed,
        device=device,
        checkpoint_every=CHECKPOINT_EVERY,
        validate_every=VALIDATE_EVERY,
        validation_patches=16,
        validation_edge=task.edge,
    )
    compact = Trainer(work, settings, weights, task.recipe.augmentation)
    compact.run(source, validation, progress, cancel)
    best = work / BEST
    return network_of_checkpoint(best if best.exists() else work / CHECKPOINT)


def _measure(
    plan: TrainingPlan,
    task: TrainingTask,
    network: torch.nn.Module,
    scans: SimulatedScans | None,
    device: str,
    progress: Progress,
    cancel: CancelToken,
    as_it_is: bool = False,
) -> HeldBackFigures | None:
    """Figures on whole held-back patches and scans; None where nothing was held back.

    `as_it_is`: of a network that holds its class offsets already, so that none are tried.
    """
    import torch

    def volumes() -> Iterator[Any]:
        if plan.patches is not None:
            yield from labelled_volumes(
                plan.patches, task.held_back_names, task.diameter, task.normalisation
            )
        if scans is not None:
            yield from scans.held_back_volumes()

    count = len(task.held_back_names) + (0 if scans is None else scans.held_back_count)
    if count == 0:
        return None
    return measure_held_back(
        network, volumes(), count, task.tile, torch.device(device),
        (0.0, 0.0, 0.0) if as_it_is else _offsets(task, None), progress, cancel,
        "Measuring the model it began with" if as_it_is else "Measuring on held-back data",
        () if as_it_is else CANDIDATES,
    )  # fmt: skip


def _offsets(task: TrainingTask, figures: HeldBackFigures | None) -> tuple[float, float, float]:
    """The measured class offsets, else those of the model that was gone on from."""
    if figures is not None:
        return figures.class_offsets
    return (0.0, 0.0, 0.0) if task.base is None else task.base.class_offsets


def _least_contrast_to_noise(plan: TrainingPlan, recipe: Recipe, base: ModelEntry | None) -> float:
    """A model that saw labelled patches knows their noise and takes scans like them as they are."""
    if plan.patches is not None:
        return 0.0
    if base is not None:
        return base.card.least_contrast_to_noise
    return 0.0 if recipe is PAPER else LEAST_CONTRAST_TO_NOISE
