"""A network on its device: grey tiles in, class probabilities out."""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from particleseg_app.models.model_folder import ModelEntry, load_network
from particleseg_app.progress import CancelToken
from particleseg_app.units import Shape

if TYPE_CHECKING:
    import torch


class TilePredictor(Protocol):
    """What predicts tiles: normalised grey values in, probabilities of the classes out.

    `predict` takes float32 (batch, 1, z, y, x) at working scale on `device` and returns float32
    (batch, 3, z, y, x) on the same device.
    """

    device: torch.device

    def predict(self, tiles: torch.Tensor) -> torch.Tensor: ...


class FoldsAndFlips(ABC):
    """The mean over the folds of a model and, with `mirroring`, over eight mirrored copies."""

    device: torch.device

    def __init__(self, folds: int, mirroring: bool) -> None:
        self._folds = folds
        self._flips: list[tuple[int, ...]] = [()]
        if mirroring:
            axes = (2, 3, 4)
            self._flips += [f for n in (1, 2, 3) for f in itertools.combinations(axes, n)]

    @property
    def passes(self) -> int:
        """How often each tile goes through a network."""
        return self._folds * len(self._flips)

    def predict(self, tiles: torch.Tensor) -> torch.Tensor:
        import torch

        total: torch.Tensor | None = None
        with torch.inference_mode():
            for fold in range(self._folds):
                for flip in self._flips:
                    logits = self._logits(fold, torch.flip(tiles, flip) if flip else tiles)
                    share = torch.softmax(logits.float(), dim=1)
                    if flip:
                        share = torch.flip(share, flip)
                    total = share if total is None else total.add_(share)
        assert total is not None
        return total / self.passes if self.passes > 1 else total

    @abstractmethod
    def _logits(self, fold: int, tiles: torch.Tensor) -> torch.Tensor:
        """What the network of one fold says, (batch, 3, z, y, x), in any floating-point type."""


class Predictor(FoldsAndFlips):
    """The folds of one model on one device, computed by torch.

    A set cancel token ends a prediction between two layers, because one tile may take seconds on
    a slow processor.
    """

    def __init__(
        self, entry: ModelEntry, device_id: str, mirroring: bool, cancel: CancelToken
    ) -> None:
        import torch

        self._networks = load_network(entry)
        super().__init__(len(self._networks), mirroring)
        self.device = torch.device(device_id)
        self._reduced = reduced_precision(self.device)
        for network in self._networks:
            network.to(self.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            for layer in network.modules():
                if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                    layer.register_forward_pre_hook(lambda *_: cancel.check())
        # Whether the grey values have channels of zeros beside them, and whether bias and
        # activation are one kernel; where not, only the time differs.
        self.padded = self.joined = False
        if self.device.type == "cuda":
            self._quicken(entry.card.patch_shape)

    def _quicken(self, shape: Shape) -> None:
        """Change every fold to what is quicker on a card, tried on a random tile of `shape`."""
        import torch

        # Not above: they import torch.
        from particleseg_app.models.joined_activation import JoinedActivation
        from particleseg_app.models.padded_input import PaddedInput
        from particleseg_app.models.quickening import quicken

        noise = torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(0))
        noise = noise.to(self.device)

        def answer(fold: int) -> torch.Tensor:
            with torch.inference_mode():
                return self._logits(fold, noise)

        precision = self._reduced or torch.float32
        padded, joined = [], []
        for fold, network in enumerate(self._networks):
            says = functools.partial(answer, fold)
            padded.append(quicken(PaddedInput(network, precision), says))
            joined.append(quicken(JoinedActivation(network, precision), says))
        self.padded, self.joined = all(padded), all(joined)

    def _logits(self, fold: int, tiles: torch.Tensor) -> torch.Tensor:
        import torch

        tiles = tiles.to(self.device).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(
            self.device.type, dtype=self._reduced, enabled=self._reduced is not None
        ):
            logits: torch.Tensor = self._networks[fold](tiles)
        return logits


def reduced_precision(device: torch.device) -> torch.dtype | None:
    """Half precision where the hardware computes in it, else None for float32."""
    import torch

    if device.type == "cuda":
        # Not where bfloat16 is only imitated, as on cards before Ampere: that is slow.
        own = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if own else torch.float16
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return None
