"""Channels of zeros beside the grey values, so that a graphics card's tensor cores take them.

The first convolution of a network has one input channel. For so few cuDNN has only kernels without
tensor cores, and these take a card longer than layers with many times their arithmetic. With eight
channels, seven of them zeros in the image and in the weights, the same sums come out of kernels
with tensor cores. Which cards do so is not a matter of time taken, since a run that goes on later
must compute as it did before. A network that then answers otherwise stays as it was
(`quickening`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

# Tensor cores take values of 16 bits in groups of 16 bytes.
CHANNELS = 8


class PaddedInput:
    """Gives the convolutions of the grey values eight input channels (a `Quickening`).

    Only where the network computes in bfloat16, as cards with tensor cores for it do: others might
    take longer.
    """

    if_other = "More input channels change what the network says: not used."
    if_failed = "The network keeps its input channels"

    def __init__(self, network: torch.nn.Module, precision: torch.dtype) -> None:
        self.precision = precision
        layers: list[Any] = [layer for layer in network.modules() if _can_pad(layer)]
        self._before = [(layer, layer.weight, layer.in_channels) for layer in layers]
        self._hooks: list[RemovableHandle] = []

    def possible(self) -> bool:
        return bool(self._before) and self.precision is torch.bfloat16

    def make(self) -> None:
        for layer, *_ in self._before:
            self._hooks.append(layer.register_forward_pre_hook(_padding_hook(self.precision)))
            layer.weight = torch.nn.Parameter(_padded_weight(layer.weight), requires_grad=False)
            layer.in_channels = CHANNELS

    def take_back(self) -> None:
        for hook in self._hooks:
            hook.remove()
        for layer, weight, channels in self._before:
            layer.weight, layer.in_channels = weight, channels


def padded_values(values: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """(batch, channel, z, y, x) with zeros up to eight channels, channels last, in `precision`."""
    batch, channels, *shape = values.shape
    padded = torch.empty(
        (batch, CHANNELS, *shape),
        dtype=precision,
        device=values.device,
        memory_format=torch.channels_last_3d,
    )
    padded[:, :channels] = values
    padded[:, channels:] = 0
    return padded


def _padded_weight(weight: torch.Tensor) -> torch.Tensor:
    """(out, channel, z, y, x) with zeros for the channels that are zeros."""
    missing = CHANNELS - weight.shape[1]
    padded = functional.pad(weight.detach(), (0, 0, 0, 0, 0, 0, 0, missing))
    return padded.contiguous(memory_format=torch.channels_last_3d)


def _padding_hook(precision: torch.dtype) -> Callable[[Any, tuple[Any, ...]], tuple[torch.Tensor]]:
    return lambda _layer, given: (padded_values(given[0], precision),)


def _can_pad(layer: Any) -> bool:
    """Whether it is a convolution of the grey values: later ones have many channels."""
    return (
        isinstance(layer, torch.nn.Conv3d)
        and layer.in_channels == 1
        and layer.groups == 1
        and layer.padding_mode == "zeros"
    )
