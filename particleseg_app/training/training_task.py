"""A training plan with every choice made: network, sizes, length, and what is held back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from particleseg_app.errors import InvalidValueError
from particleseg_app.models import Normalisation
from particleseg_app.models.known_networks import total_stride
from particleseg_app.progress import CancelToken
from particleseg_app.training.base_model import BaseModel
from particleseg_app.training.lab_patches import patch_names
from particleseg_app.training.lab_source import common_z_score
from particleseg_app.training.recipes import Recipe
from particleseg_app.training.scene_pool import SCAN_CLIPPED
from particleseg_app.training.training_plan import TrainingPlan
from particleseg_app.units import Shape

FEWEST_PATCHES_TO_HOLD_BACK = 3


@dataclass(frozen=True)
class TrainingTask:
    """A plan with every choice made; lengths in voxels at the working scale."""

    recipe: Recipe
    architecture: dict[str, Any]  # as shipped
    base: BaseModel | None
    diameter: float
    border: float
    batch: int
    edge: int
    tile: Shape
    steps: int | None
    minutes: float | None
    training_names: list[str]
    held_back_names: list[str]
    normalisation: Normalisation


def training_task(
    plan: TrainingPlan, recipe: Recipe, base: BaseModel | None, cancel: CancelToken
) -> TrainingTask:
    """Make the choices that `plan` leaves open; raises `InvalidValueError`, `ScanError`."""
    features = plan.features or recipe.features
    architecture = recipe.network(features) if base is None else base.architecture
    strides = total_stride(architecture)
    diameter = base.target_diameter if base else plan.target_diameter or recipe.target_diameter
    border = base.border_thickness if base else plan.border_thickness or recipe.border_thickness
    edge = plan.edge or _default_edge(recipe.edge, diameter, max(strides))
    if any(edge % stride for stride in strides):
        raise InvalidValueError(
            f"Patches of {edge} voxels do not fit this network.",
            f"Choose a multiple of {max(strides)}, at least {2 * max(strides)}.",
        )
    if edge < 2 * max(strides):  # one voxel is left in the deepest stage, which has no deviation
        raise InvalidValueError(
            f"Patches of {edge} voxels are too small for this network.",
            f"Choose a multiple of {max(strides)}, at least {2 * max(strides)}.",
        )
    training_names: list[str] = []
    held_back_names: list[str] = []
    normalisation = SCAN_CLIPPED if base is None else base.normalisation
    if plan.patches is not None:
        training_names, held_back_names = split_names(
            patch_names(plan.patches), plan.held_back, plan.seed
        )
    if base is None and recipe.common_z_score:
        normalisation = Normalisation("scan_clipped", 0.0, 100.0)
        if plan.patches is not None:
            normalisation = common_z_score(plan.patches, training_names, cancel)
    steps, minutes = plan.length(recipe)
    tile = (base.patch_shape if base else recipe.tile) or (edge, edge, edge)
    return TrainingTask(
        recipe, architecture, base, diameter, border, plan.batch or recipe.batch, edge, tile,
        steps, minutes, training_names, held_back_names, normalisation,
    )  # fmt: skip


def _default_edge(edge: int, diameter: float, stride: int) -> int:
    """The recipe's edge, or two particle diameters where that is more, as a multiple of stride."""
    return -(-max(edge, round(2 * diameter)) // stride) * stride


def split_names(names: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Patches to train on and patches to hold back; of one or two none is held back."""
    count = round(share * len(names))
    if share > 0 and len(names) >= FEWEST_PATCHES_TO_HOLD_BACK:
        count = min(max(1, count), len(names) - 1)
    else:
        count = 0
    mixed = sorted(names, key=lambda name: zlib.crc32(f"{seed}:{name}".encode()))
    return sorted(mixed[count:]), sorted(mixed[:count])
