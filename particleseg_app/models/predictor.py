"""A network on its device: grey tiles in, class probabilities out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from particleseg_app.models.model_folder import ModelEntry, load_network
from particleseg_app.progress import CancelToken

if TYPE_CHECKING:
    import torch


class Predictor:
    """The folds of one model on one device.

    `predict` takes normalised grey tiles at working scale, float32 (batch, 1, z, y, x) on the
    device, and returns the classes' probabilities, float32 (batch, 3, z, y, x), averaged over
    folds and, with `mirroring`, over the eight mirrored copies. A set cancel token ends a
    prediction between two layers, because one tile may take seconds on a slow processor.
    """

    def __init__(
        self, entry: ModelEntry, device_id: str, mirroring: bool, cancel: CancelToken
    ) -> None:
        import torch

        self.device = torch.device(device_id)
        self._networks = load_network(entry)
        self._reduced = _reduced_precision(self.device)
        self._flips: list[tuple[int, ...]] = [()]
        if mirroring:
            axes = (2, 3, 4)
            self._flips += [f for n in (1, 2, 3) for f in itertools.combinations(axes, n)]
        for network in self._networks:
            network.to(self.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            for layer in network.modules():
                if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                    layer.register_forward_pre_hook(lambda *_: cancel.check())

    def predict(self, tiles: torch.Tensor) -> torch.Tensor:
        import torch

        total: torch.Tensor | None = None
        tiles = tiles.to(self.device).contiguous(memory_format=torch.channels_last_3d)
        with (
            torch.inference_mode(),
            torch.autocast(
                self.device.type, dtype=self._reduced, enabled=self._reduced is not None
            ),
        ):
            for network in self._networks:
                for flip in self._flips:
                    logits = network(torch.flip(tiles, flip) if flip else tiles)
                    share = torch.softmax(logits.float(), dim=1)
                    if flip:
                        share = torch.flip(share, flip)
                    total = share if total is None else total.add_(share)
        assert total is not None
        return total / (len(self._networks) * len(self._flips))


def _reduced_precision(device: torch.device) -> torch.dtype | None:
    """Half precision where the hardware computes in it, else None for float32."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return None
