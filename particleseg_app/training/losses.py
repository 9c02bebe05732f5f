"""Dice and cross-entropy over border-core classes, with more weight where particles touch.

On request mistakes that join or cut particles weigh more still: core that is found in a bridge, and
core that is missing in a neck (`critical_voxels.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from particleseg_app.training.scene_pool import BRIDGE_BIT, CONTACT_BIT, NECK_BIT

if TYPE_CHECKING:
    import torch

CONTACT_WEIGHT = 3.0


def dice_and_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, critical_weight: float = 1.0
) -> torch.Tensor:
    """Loss of logits (batch, 3, z, y, x) against encoded targets (batch, z, y, x), uint8.

    `critical_weight`: by how much more a voxel weighs that joins or cuts particles as the network
    sees it now.
    """
    import torch
    from torch.nn import functional

    classes = (target & 3).long()
    weight = 1.0 + (CONTACT_WEIGHT - 1.0) * (target & CONTACT_BIT > 0).float()
    logits = logits.float()
    if critical_weight != 1:
        weight = weight * (
            1.0 + (critical_weight - 1.0) * critical_mistakes(logits, target).float()
        )
    entropy = functional.cross_entropy(logits, classes, reduction="none")
    entropy = (entropy * weight).sum() / weight.sum()
    share = torch.softmax(logits, dim=1)
    total = torch.zeros((), device=logits.device)
    for index in (1, 2):
        wanted = (classes == index).float()
        overlap = (share[:, index] * wanted).sum()
        # The constant keeps patches without particles from dominating.
        dice = (2 * overlap + 100) / (share[:, index].sum() + wanted.sum() + 100)
        total = total + (1 - dice) / 2
    return entropy + total


def critical_mistakes(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """True where core is found in a bridge or missing in a neck; shape of `target`."""
    core = logits.detach().argmax(1) == 1
    return (core & (target & BRIDGE_BIT > 0)) | (~core & (target & NECK_BIT > 0))


def deep_supervision_loss(
    outputs: list[torch.Tensor], target: torch.Tensor, critical_weight: float = 1.0
) -> torch.Tensor:
    """Loss over the finest three resolutions, each half the weight of the one before."""
    import torch

    total, weights = torch.zeros((), device=target.device), 0.0
    for level, logits in enumerate(outputs[:3]):
        z, y, x = (n // m for n, m in zip(target.shape[1:], logits.shape[2:], strict=True))
        weight = 0.5**level
        coarser = target[:, ::z, ::y, ::x]
        total = total + weight * dice_and_cross_entropy(logits, coarser, critical_weight)
        weights += weight
    return total / weights
