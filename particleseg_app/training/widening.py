"""A wider network that begins as a trained one (Chen, Goodfellow and Shlens, Net2Net, 2016)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Relative to each weight. Copies of a channel that were quite alike would stay alike for ever.
DIFFERENCE = 0.15


def widened(
    architecture: dict[str, Any], weights: dict[str, torch.Tensor], features: tuple[int, ...],
    seed: int = 0, difference: float = DIFFERENCE,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:  # fmt: skip
    """Architecture and weights of a plain U-Net with `features` channels per stage.

    Every channel becomes several, which share what the next layer made of it: the wider network
    computes what the narrow one did, but for a random `difference` of its weights. `architecture`:
    a `PlainConvUNet` without normalisation layers, with no more channels in any stage.
    """
    import torch

    from particleseg_app.training.network import network_of

    wider = copy.deepcopy(architecture)
    wider["arch_kwargs"]["features_per_stage"] = list(features)
    random = torch.Generator().manual_seed(seed)
    found: dict[int, torch.Tensor] = {}  # names that share a tensor go on sharing it
    state = network_of(wider, deep_supervision=True).state_dict()
    for name, new in state.items():
        old = weights[name].float()
        if new.data_ptr() in found:
            state[name] = found[new.data_ptr()]
            continue
        place = new.data_ptr()
        if new.ndim == 1:
            new = old[torch.arange(len(new)) % len(old)]
        else:
            transposed = "transpconvs" in name
            out_axis, in_axis = (1, 0) if transposed else (0, 1)
            outgoing = torch.arange(new.shape[out_axis]) % old.shape[out_axis]
            # Of the first convolution of a decoder stage one half comes from below, one from
            # the encoder.
            halves = 2 if _joins_halves(name) else 1
            incoming, shares = _copies(old.shape[in_axis], new.shape[in_axis], halves)
            new = old.index_select(out_axis, outgoing).index_select(in_axis, incoming)
            form = [1] * new.ndim
            form[in_axis] = len(shares)
            noise = torch.randn(new.shape, generator=random)
            new = new / shares.reshape(form) * (1 + difference * noise)
        state[name] = found[place] = new.contiguous()
    return wider, state


def _joins_halves(name: str) -> bool:
    return name.startswith("decoder.stages.") and ".convs.0." in name


def _copies(old: int, new: int, parts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which old channel each new one copies, and how many copies that old one has."""
    import torch

    one = torch.arange(new // parts) % (old // parts)
    copies = torch.cat([one + part * (old // parts) for part in range(parts)])
    return copies, torch.bincount(copies, minlength=old)[copies].float()
