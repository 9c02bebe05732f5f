"""In which precision a network is trained on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particleseg_app.models.predictor import reduced_precision

if TYPE_CHECKING:
    import torch

# On a processor the gradient of a convolution over fewer voxels than its kernel is wide takes in
# memory that nobody has written, in bfloat16 and on most of the processors that have it (oneDNN).
LEAST_COARSEST_EDGE = 3


def training_precision(device: torch.device, coarsest_edge: int) -> torch.dtype | None:
    """The type of autocast on `device`, or None to train in float32: that of predicting.

    `coarsest_edge`: voxels across a patch on the coarsest grid of the network. Older graphics cards
    train in float16, whose small gradients need a `torch.GradScaler`.
    """
    if device.type == "cpu" and coarsest_edge < LEAST_COARSEST_EDGE:
        return None
    return reduced_precision(device)
