"""Small arrays handed to a device without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def handed_over(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """`values` as float32 on `device`; a graphics card fetches them when it comes to it."""
    import torch

    tensor = torch.from_numpy(values.astype(np.float32))
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # else the program might stand still until the card has them
    return tensor.to(device, non_blocking=True)
