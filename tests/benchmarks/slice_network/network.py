"""The 2D U-Net itself, where its weights lie, and how it takes the place of a 3D predictor."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from particleseg_app.errors import ModelError
from particleseg_app.models import ModelEntry, open_model
from particleseg_app.progress import CancelToken

FEATURES = (24, 48, 96, 192, 192)
CLASS_COUNT = 3
SLICES_AT_ONCE = 16
CACHE_VARIABLE = "PARTICLESEG_BENCHMARK_CACHE"


def cache_folder() -> Path:
    """Where benchmarks keep what is dear to make; PARTICLESEG_BENCHMARK_CACHE moves it."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else platformdirs.user_cache_path("particleseg_benchmarks")


def model_folder() -> Path:
    """Folder of the trained 2D network (a model card, and weights that only this file can use)."""
    return cache_folder() / "slice_network" / "model"


def find_slice_network() -> ModelEntry | None:
    """The trained 2D network, or None where it has not been trained yet."""
    try:
        return open_model(model_folder())
    except ModelError:
        return None


def build_slice_network(
    features: tuple[int, ...] = FEATURES, deep_supervision: bool = False
) -> torch.nn.Module:
    """nnU-Net's plain U-Net in 2D, half as wide again as the light model is in 3D.

    Batch normalisation for the reason given in `training.network`: it keeps the grey level of the
    whole scan visible, which instance normalisation of a slice would remove.
    """
    stages = len(features)
    return PlainConvUNet(
        1,
        stages,
        features,
        torch.nn.Conv2d,
        3,
        [1] + [2] * (stages - 1),
        2,
        CLASS_COUNT,
        2,
        conv_bias=True,
        norm_op=torch.nn.BatchNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True, "momentum": 0.03},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
    )


def slice_logits(network: torch.nn.Module, volume: torch.Tensor) -> torch.Tensor:
    """Class scores (3, z, y, x) float32 of a normalised volume (z, y, x), slice by slice along z.

    Edges y and x may have any length; they are padded to the stride of the network.
    """
    stride = 2 ** (len(FEATURES) - 1)
    height, width = volume.shape[1:]
    padding = (0, -width % stride, 0, -height % stride)
    slices = volume[:, None]
    if any(padding):
        slices = torch.nn.functional.pad(slices, padding, mode="replicate")
    parts = []
    for first in range(0, len(slices), SLICES_AT_ONCE):
        part = slices[first : first + SLICES_AT_ONCE].contiguous(memory_format=torch.channels_last)
        parts.append(network(part)[:, :, :height, :width].float())
    return torch.cat(parts).permute(1, 0, 2, 3)


class SlicePredictor:
    """Stands where `models.Predictor` stands in a run; same tiles in, same probabilities out."""

    def __init__(
        self, entry: ModelEntry, device_id: str, mirroring: bool, cancel: CancelToken
    ) -> None:
        self.device = torch.device(device_id)
        self._cancel = cancel
        content = torch.load(entry.checkpoints()[0], map_location="cpu", weights_only=True)
        self._network = build_slice_network()
        self._network.load_state_dict(content["network_weights"])
        self._network.eval().to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._offsets = torch.tensor(content["class_offsets"], device=self.device)
        self._flips: list[tuple[int, ...]] = [(), (2,), (3,), (2, 3)] if mirroring else [()]

    def predict(self, tiles: torch.Tensor) -> torch.Tensor:
        """Tiles float32 (batch, 1, z, y, x) → probabilities float32 (batch, 3, z, y, x)."""
        results = []
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
            for tile in tiles[:, 0].to(self.device):
                total = torch.zeros((CLASS_COUNT, *tile.shape), device=self.device)
                for flip in self._flips:
                    self._cancel.check()
                    axes = tuple(axis - 1 for axis in flip)
                    logits = slice_logits(self._network, torch.flip(tile, axes))
                    shares = torch.softmax(logits + self._offsets[:, None, None, None], dim=0)
                    total += torch.flip(shares, flip)
                results.append(total / len(self._flips))
        return torch.stack(results)
