"""Channels of zeros beside the grey values, so that a graphics card's tensor cores take them.

The first convolution of a network has one input channel. For so few cuDNN has only kernels without
tensor cores, and these take a card longer than layers with many times their arithmetic. With eight
channels, seven of them zeros in the image and in the weights, the same sums come out of kernels
with tensor cores. Which cards do so is not a matter of time taken, since a run that goes on later
must compute as it did before. A network that then answers otherwise stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from particleseg_app.errors import Cancelled
from particleseg_app.models.same_answer import same_but_for_rounding

# Tensor cores take values of 16 bits in groups of 16 bytes.
CHANNELS = 8

_log = logging.getLogger(__name__)


def pad_input_channels(
    network: torch.nn.Module, precision: torch.dtype, answer: Callable[[], torch.Tensor]
) -> bool:
    """Give the convolutions of the grey values eight input channels; whether they have them now.

    Only where the network computes in bfloat16, as cards with tensor cores for it do: others might
    take longer. `answer` is what the network says of some tile in that `precision`: it is asked
    before and after, and a network that does not say the same is put back as it was. Raises only
    `Cancelled`.
    """
    layers: list[Any] = [layer for layer in network.modules() if _can_pad(layer)]
    if not layers or precision is not torch.bfloat16:
        return False
    before = [(layer, layer.weight, layer.in_channels) for layer in layers]
    hooks = []
    try:
        plain = answer()
        for layer in layers:
            hooks.append(layer.register_forward_pre_hook(_padding_hook(precision)))
            layer.weight = torch.nn.Parameter(_padded_weight(layer.weight), requires_grad=False)
            layer.in_channels = CHANNELS
        if same_but_for_rounding(answer(), plain, precision):
            return True
        _log.warning("More input channels change what the network says: not used.")
    except Cancelled:
        raise
    # Whatever is missing or broken, the network without the zeros does the same.
    except Exception as error:
        _log.info("The network keeps its input channels (%s).", error)
    for hook in hooks:
        hook.remove()
    for layer, weight, channels in before:
        layer.weight, layer.in_channels = weight, channels
    return False


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
