"""In which precision a network is trained on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particleseg_app.models.predictor import reduced_precision

if TYPE_CHECKING:
    import torch


def training_precision(device: torch.device) -> torch.dtype | None:
    """The type of autocast on `device`, or None to train in float32: that of predicting.

    Older graphics cards train in float16, whose small gradients need a `torch.GradScaler`.
    """
    return reduced_precision(device)
