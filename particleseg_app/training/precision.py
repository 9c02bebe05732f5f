"""In which precision a network is trained on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def training_precision(device: torch.device) -> torch.dtype | None:
    """The type of autocast on `device`, or None to train in float32.

    bfloat16 where the hardware computes in it; older graphics cards only imitate it, slowly, and
    train in float16, whose small gradients need a `torch.GradScaler`.
    """
    import torch

    if device.type == "cuda":
        own = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if own else torch.float16
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return None
