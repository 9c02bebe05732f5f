"""The two recipes of `particleseg train`: the paper's, and a compact one for processors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from particleseg_app.errors import InvalidValueError
from particleseg_app.training.augmentation import (
    Augmentation,
    vary_patches,
    vary_patches_as_published,
)
from particleseg_app.training.network import (
    PUBLISHED_FEATURES,
    architecture,
    published_architecture,
)
from particleseg_app.units import Shape

# 000 §4.2: 1000 epochs, of 250 iterations in nnU-Net.
EPOCHS, ITERATIONS = 1000, 250


@dataclass(frozen=True)
class Recipe:
    """What a training does where nothing else is asked for; lengths in voxels at working scale.

    `network` makes the architecture of a new network from its features per stage. Length: `steps`
    or, where that is None, `minutes`.
    """

    name: str
    features: tuple[int, ...]
    network: Callable[[tuple[int, ...]], dict[str, Any]]
    target_diameter: float
    border_thickness: float
    batch: int
    edge: int
    tile: Shape | None  # of the shipped model; None: the training patch
    steps: int | None
    minutes: float | None
    augmentation: Augmentation
    common_z_score: bool  # of all labelled patches, else each scan clipped and scaled by itself


PAPER = Recipe(
    name="paper",
    features=PUBLISHED_FEATURES,
    network=published_architecture,
    target_diameter=60.0,
    border_thickness=3.0,
    batch=2,
    edge=128,
    tile=None,
    steps=EPOCHS * ITERATIONS,
    minutes=None,
    augmentation=vary_patches_as_published,
    common_z_score=True,
)
COMPACT = Recipe(
    name="compact",
    features=(16, 32, 64, 128, 128),
    network=lambda features: architecture(features, normalised=False),  # once it is shipped
    target_diameter=26.0,
    border_thickness=2.0,
    batch=2,
    edge=64,
    tile=(96, 96, 96),
    steps=None,
    minutes=60.0,
    augmentation=vary_patches,
    common_z_score=False,
)
RECIPES = {recipe.name: recipe for recipe in (PAPER, COMPACT)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; `InvalidValueError` for another one."""
    try:
        return RECIPES[name]
    except KeyError:
        raise InvalidValueError(
            f"There is no recipe “{name}”.", f"Choose one of: {', '.join(RECIPES)}."
        ) from None


def default_recipe(device: str, fine_tuning: bool) -> tuple[Recipe, str]:
    """The recipe where none is asked for, and one sentence on why, empty for the paper's."""
    if fine_tuning:
        return COMPACT, (
            "The compact recipe is used, as always when going on from a model "
            "(--recipe paper takes the other one)."
        )
    if device.startswith("cuda"):
        return PAPER, ""
    return COMPACT, (
        "The compact recipe is used, because the paper's would take months without a graphics card."
    )
