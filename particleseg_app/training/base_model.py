"""A model to go on from: its network, its weights, and how it wants its scans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from particleseg_app.models import ModelEntry, Normalisation
from particleseg_app.models.model_card import CARD_NAME, read_small_json
from particleseg_app.models.model_folder import load_network
from particleseg_app.units import Shape

if TYPE_CHECKING:
    import torch

Offsets = tuple[float, float, float]


@dataclass(frozen=True)
class BaseModel:
    """What a training takes over from a model: everything but the weights stays as it is.

    `weights` are those of the first fold, without the class offsets that were added after the
    training (`training.calibration`); `class_offsets` are these. Lengths in voxels at the working
    scale.
    """

    architecture: dict[str, Any]
    weights: dict[str, torch.Tensor]
    class_offsets: Offsets
    normalisation: Normalisation
    target_diameter: float
    border_thickness: float
    patch_shape: Shape
    folds: int


def base_model(entry: ModelEntry) -> BaseModel:
    """A model of any origin, the default one or an imported one; raises `ModelError`."""
    import torch

    # Builds and fills every fold, and so checks the architecture before it is used again.
    networks = load_network(entry)
    plans = read_small_json(entry.folder / "plans.json")
    weights = networks[0].state_dict()
    offsets = _class_offsets(read_small_json(entry.folder / CARD_NAME))
    last = max(
        (name for name in weights if name.startswith("decoder.seg_layers.") and "bias" in name),
        key=lambda name: int(name.split(".")[2]),
    )
    weights[last] = weights[last] - torch.tensor(offsets)
    return BaseModel(
        architecture=plans["configurations"]["3d_fullres"]["architecture"],
        weights=weights,
        class_offsets=offsets,
        normalisation=entry.card.normalisation,
        target_diameter=entry.card.target_diameter_voxels,
        border_thickness=entry.card.border_thickness_voxels,
        patch_shape=entry.card.patch_shape,
        folds=len(networks),
    )


def _class_offsets(card: dict[str, Any]) -> Offsets:
    """The offsets a card of this program names; zeros where it names none."""
    training = card.get("training")
    named = training.get("class_offsets") if isinstance(training, dict) else None
    if not isinstance(named, list) or len(named) != 3:
        return 0.0, 0.0, 0.0
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in named):
        return 0.0, 0.0, 0.0
    return float(named[0]), float(named[1]), float(named[2])
