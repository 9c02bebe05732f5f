"""Bias and activation behind a convolution in one pass over its answer, on a graphics card.

In a network without normalisation a bias and a leaky ReLU follow nearly every convolution. torch
does them in two passes, which take a card nearly half as long as the convolutions themselves. Here
one kernel does both. The card's compiler, which comes with torch, makes it when it is first used.
Where that fails, or the network then answers otherwise than before, it stays as it was
(`quickening`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Kernels made at run time count bytes in 32 bits; what is larger is left to torch.
MOST_BYTES = 2**31 - 1


def card_kernel(slope: float) -> Kernel:
    """The kernel for a leaky ReLU of that slope: values and bias in, activated values out."""
    code = (
        "template <typename T> T bend(T x, T b) "
        f"{{ T y = x + b; return y > T(0) ? y : y * T({slope!r}); }}"
    )
    kernel: Kernel = torch.cuda.jiterator._create_jit_fn(code)
    return kernel


class BiasAndActivation(torch.nn.Module):
    """Adds a bias (channel,) to (batch, channel, z, y, x) and bends what is negative."""

    def __init__(self, bias: torch.Tensor, slope: float, kernel: Kernel) -> None:
        super().__init__()
        self.bias = bias.detach().clone()[None, :, None, None, None]
        self.slope = slope
        self.kernel = kernel

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if values.numel() * values.element_size() > MOST_BYTES:
            return functional.leaky_relu_(values.add_(self.bias), self.slope)
        # Unlike an operation of torch, the kernel does not go to the card of its values by itself.
        with torch.cuda.device_of(values):
            return self.kernel(values, self.bias)


class JoinedActivation:
    """Lets one kernel do both behind every convolution where that can be (a `Quickening`)."""

    if_other = "Bias and activation in one kernel change what the network says: not used."
    if_failed = "Bias and activation are done one after the other"

    def __init__(
        self,
        network: torch.nn.Module,
        precision: torch.dtype,
        make_kernel: Callable[[float], Kernel] = card_kernel,
    ) -> None:
        self.precision = precision
        self._make_kernel = make_kernel
        blocks: list[Any] = [block for block in network.modules() if _can_join(block)]
        self._before = [(block, block.conv.bias, block.all_modules) for block in blocks]

    def possible(self) -> bool:
        return bool(self._before)

    def make(self) -> None:
        slopes = [_slope(block) for block, *_ in self._before]
        kernels = {slope: self._make_kernel(slope) for slope in slopes}
        for (block, bias, _), slope in zip(self._before, slopes, strict=True):
            both = BiasAndActivation(bias.to(self.precision), slope, kernels[slope])
            block.all_modules = torch.nn.Sequential(block.conv, both)
            block.conv.bias = None

    def take_back(self) -> None:
        for block, bias, modules in self._before:
            block.conv.bias, block.all_modules = bias, modules


def _can_join(block: Any) -> bool:
    """Whether it is a convolution with a bias, followed by a leaky ReLU and nothing else."""
    from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU

    if not isinstance(block, ConvDropoutNormReLU) or len(block.all_modules) != 2:
        return False
    convolution, activation = block.all_modules
    return (
        isinstance(convolution, torch.nn.Conv3d)
        and convolution is block.conv
        and convolution.bias is not None
        and isinstance(activation, torch.nn.LeakyReLU)
        and math.isfinite(activation.negative_slope)
    )


def _slope(block: Any) -> float:
    return float(block.nonlin.negative_slope)
