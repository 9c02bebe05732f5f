"""From labelled patches or simulated scans to a model folder, in one resumable piece of work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.durable_files import write_json
from particleseg_app.errors import Cancelled, InvalidValueError, ModelError
from particleseg_app.models import ModelEntry, open_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training.export import ModelFacts, export_checked
from particleseg_app.training.lab_source import LabPatchSource
from particleseg_app.training.network import architecture
from particleseg_app.training.patches import BatchSource, MixedSource, PatchSource
from particleseg_app.training.scene_pool import HIGH_PERCENTILE, LOW_PERCENTILE, fill_pool
from particleseg_app.training.trainer import CHECKPOINT, Trainer, TrainingSettings
from particleseg_app.units import Shape

if TYPE_CHECKING:
    import torch

PLAN = "plan.json"
FIRST_SCENES = 4  # simulated before the training begins; the others while it runs
# Far from the seeds behind the default model, its figures and the bundled sample.
FIRST_SEED, SEEDS_APART, SEED_GROUPS = 2_000_000, 20_000, 3000
STANDARD_RATE = 2e-3
FINE_TUNING_RATE = 2e-4


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, from what and for how long; lengths in voxels at the working scale."""

    patches: Path | None = None  # folder of labelled patches
    simulated: int = 0  # how many simulated scans
    simulated_share: float = 0.5  # of the training patches, where there are both
    preset: str = "varied"
    scene_shape: Shape = (128, 128, 128)
    base: Path | None = None  # model folder to go on from
    steps: int | None = None  # give one of steps and minutes
    minutes: float | None = None
    touching: float = 0.5  # chance of the touching-particle augmentation in labelled patches
    batch: int = 2
    edge: int = 64
    features: tuple[int, ...] = (16, 32, 64, 128, 128)  # of a new network
    target_diameter: float = 26.0  # of a new network
    border_thickness: float = 2.0  # of a new network
    seed: int = 1

    def check(self) -> None:
        """Raise `InvalidValueError` for a plan that cannot be carried out."""
        if self.patches is None and self.simulated <= 0:
            raise InvalidValueError(
                "There is nothing to train on.",
                "Give a folder of patches, simulated scans or both.",
            )
        if (self.steps is None) == (self.minutes is None):
            raise InvalidValueError("The length of the training is not clear.",
                                    "Give either steps or minutes.")  # fmt: skip
        if (self.steps or self.minutes or 0) <= 0:
            raise InvalidValueError("A training needs at least one step.", "Give a larger number.")
        if self.simulated > SEEDS_APART:
            raise InvalidValueError(
                f"{self.simulated} simulated scans are too many.",
                f"Ask for at most {SEEDS_APART}.",
            )
        for name, value in (("simulated", self.simulated_share), ("touching", self.touching)):
            if not 0 <= value <= 1:
                raise InvalidValueError(
                    f"A share of {value:g} ({name}) is not possible.", "Give 0 to 1."
                )


def train_model(
    plan: TrainingPlan,
    out: Path,
    work: Path,
    device: str,
    progress: Progress,
    cancel: CancelToken,
) -> ModelEntry:
    """Train by `plan` in the folder `work`, going on where it was stopped; model folder in `out`.

    `device`: a torch device. `work` holds plan.json, checkpoint, log.txt with the loss curve, and
    the simulated scans. Raises `InvalidValueError`, `ScanError`, `ModelError`, `Cancelled`.
    """
    plan.check()
    base = None if plan.base is None else open_model(plan.base)
    weights: dict[str, torch.Tensor] | None = None
    features, diameter, border = plan.features, plan.target_diameter, plan.border_thickness
    patch_shape = ModelFacts.patch_shape
    if base is not None:
        features, weights = starting_point(base)
        diameter, border = base.card.target_diameter_voxels, base.card.border_thickness_voxels
        patch_shape = base.card.patch_shape
    stride = 2 ** (len(features) - 1)
    if plan.edge % stride:
        raise InvalidValueError(
            f"Patches of {plan.edge} voxels do not fit this network.",
            f"Choose a multiple of {stride}.",
        )
    _begin_or_resume(plan, base, out, work)
    scenes = work / f"scenes_{plan.preset}_{plan.seed}"
    settings = TrainingSettings(
        features=features,
        normalised=base is None,
        border_thickness=border,
        steps=plan.steps,
        minutes=plan.minutes,
        batches=((plan.batch, plan.edge),),
        replicas=1 if device != "cpu" else min(plan.batch, os.cpu_count() or 1),
        learning_rate=STANDARD_RATE if base is None else FINE_TUNING_RATE,
        seed=plan.seed,
        device=device,
        checkpoint_every=100,
    )
    lab = None
    if plan.patches is not None:
        lab = LabPatchSource(
            plan.patches, diameter, border, plan.seed, plan.edge, plan.touching, progress, cancel
        )
    with _simulated_scans(plan, border, scenes, progress, cancel) as simulated:
        source: BatchSource | None = lab or simulated
        if lab is not None and simulated is not None:
            source = MixedSource(lab, simulated, plan.simulated_share, plan.seed)
        assert source is not None  # plan.check
        trainer = Trainer(work, settings, weights)
        trainer.run(source, None, progress, cancel)
    progress.start("Writing the model")
    facts = ModelFacts(
        name=out.name,
        title=out.name,
        version="1",
        target_diameter_voxels=diameter,
        patch_shape=patch_shape,
        scenes=source.scene_count,
        made_from=_origin(plan, lab, base),
        limits="Not measured: compare its particles with labels that took no part in the training.",
    )
    export_checked(work / CHECKPOINT, out, facts)
    return open_model(out)


def starting_point(entry: ModelEntry) -> tuple[tuple[int, ...], dict[str, torch.Tensor]]:
    """Features per stage and weights of a model to go on from; `ModelError` for a foreign one."""
    from particleseg_app.models.model_card import read_small_json
    from particleseg_app.models.model_folder import load_network

    networks = load_network(entry)
    kind = read_small_json(entry.folder / "plans.json")["configurations"]["3d_fullres"]
    features = tuple(int(n) for n in kind["architecture"]["arch_kwargs"]["features_per_stage"])
    grey = entry.card.normalisation
    own = (
        len(networks) == 1
        and kind["architecture"] == architecture(features, normalised=False)
        and (grey.scheme, grey.low_percentile, grey.high_percentile)
        == ("scan_clipped", LOW_PERCENTILE, HIGH_PERCENTILE)
    )
    if not own:
        raise ModelError(
            f"The model “{entry.name}” was not trained by this program and cannot be trained on.",
            "Start from the default model or from one trained here.",
        )
    return features, networks[0].state_dict()


def _begin_or_resume(plan: TrainingPlan, base: ModelEntry | None, out: Path, work: Path) -> None:
    """Write the plan into a new work folder, or make sure that it is the plan begun there."""
    wanted: dict[str, Any] = json.loads(json.dumps(asdict(plan), default=str))
    if plan.patches is not None:
        wanted["patches"] = str(plan.patches.resolve())
    wanted["base"] = None if base is None else base.fingerprint()
    path = work / PLAN
    if path.exists() and (work / CHECKPOINT).exists():
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
            other = [key for key in wanted if begun[key] != wanted[key]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidValueError(f"{path} cannot be read.", "Choose a new folder.") from error
        if other:
            raise InvalidValueError(
                f"The training in {work} was begun with other settings ({', '.join(other)}).",
                "Give the same ones to go on with it, or choose a new folder.",
            )
        return
    for folder in (out,) if path.exists() else (out, work):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidValueError(f"{folder} is not an empty folder.", "Choose a new one.")
    work.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)


@contextmanager
def _simulated_scans(
    plan: TrainingPlan, border: float, folder: Path, progress: Progress, cancel: CancelToken
) -> Iterator[PatchSource | None]:
    """A source of simulated patches whose pool goes on being filled inside the `with` block."""
    if plan.simulated <= 0:
        yield None
        return
    seed = FIRST_SEED + plan.seed % SEED_GROUPS * SEEDS_APART
    first = min(FIRST_SCENES, plan.simulated)
    fill_pool(folder, seed, first, plan.preset, plan.scene_shape, progress, cancel)
    source = PatchSource(folder, border, plan.seed)
    enough = CancelToken()
    with ThreadPoolExecutor(1, thread_name_prefix="scenes") as pool:
        filling = pool.submit(
            fill_pool, folder, seed, plan.simulated, plan.preset, plan.scene_shape, None, enough
        )
        try:
            yield source
        finally:
            enough.cancel()
    try:
        filling.result()
    except Cancelled:
        pass


def _origin(plan: TrainingPlan, lab: LabPatchSource | None, base: ModelEntry | None) -> str:
    parts = []
    if lab is not None:
        parts.append(f"{lab.scene_count} labelled patches")
    if plan.simulated:
        parts.append(f"up to {plan.simulated} simulated scans (preset {plan.preset})")
    text = "Trained on " + " and ".join(parts)
    if base is not None:
        text += f", going on from the model “{base.name}” {base.card.version}"
    return text + "."
