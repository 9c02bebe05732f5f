"""nnU-Net version 1 networks, such as the published ParticleSeg3D model, as version 2 networks.

Both are the same U-Net under other names. Version 2 has biases where version 1 has none (the
up-convolutions and the outputs); they become zeros. Version 1 gives a decoder stage the kernels of
the stage below, version 2 those of its own; where they differ, both get the larger kernel and the
smaller one is filled up with zeros. Either way the network computes the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.errors import ModelError
from particleseg_app.models.known_networks import MAX_CONVOLUTIONS, check_architecture, triples
from particleseg_app.models.model_card import CLASSES, read_small_json
from particleseg_app.models.safe_loading import load_checkpoint, load_plain_pickle, plain_weights

if TYPE_CHECKING:
    import torch

MAX_FEATURES_3D = 320
CHECKPOINTS = ("model_best.model", "model_final_checkpoint.model")


def network_description(fold: Path) -> dict[str, Any]:
    """The architecture part of a version 2 plans.json for the network of a version 1 fold folder.

    Read from `debug.json`, where version 1 writes its numbers as text. Raises `ModelError`.
    """
    path = fold / "debug.json"
    debug = read_small_json(path)
    try:
        strides = triples(json.loads(debug["net_num_pool_op_kernel_sizes"]))
        kernels = triples(json.loads(debug["net_conv_kernel_sizes"]))
        base = int(debug["base_num_features"])
        convolutions = int(debug.get("conv_per_stage", 2))
        channels, classes = int(debug["num_input_channels"]), int(debug["num_classes"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"{path} does not describe a network ({error!r}).", "Copy the model anew."
        ) from error
    if channels != 1 or classes != len(CLASSES):
        raise ModelError(
            f"The model in {fold.parent} has {_several(channels, 'input')} and "
            f"{_several(classes, 'class', 'classes')}.",
            "Choose a border-core model: one input, three classes.",
        )
    stages = len(strides) + 1
    if not 2 <= stages <= 8 or not 1 <= base <= MAX_FEATURES_3D or len(kernels) != stages:
        raise ModelError(f"The network in {fold.parent} is not possible.", "Copy the model anew.")
    kernels = [
        [max(pair) for pair in zip(own, below, strict=True)]
        for own, below in zip(kernels, [*kernels[1:], kernels[-1]], strict=True)
    ]
    convolutions = max(0, min(convolutions, MAX_CONVOLUTIONS + 1))  # beyond it is refused
    batch_norm = "_BN" in fold.parent.name
    norm = "batchnorm.BatchNorm3d" if batch_norm else "instancenorm.InstanceNorm3d"
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [min(base * 2**i, MAX_FEATURES_3D) for i in range(stages)],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": kernels,
            "strides": [[1, 1, 1], *strides],
            "n_conv_per_stage": [convolutions] * stages,
            "n_conv_per_stage_decoder": [convolutions] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.{norm}",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"negative_slope": 1e-2, "inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    check_architecture(architecture, path)
    return architecture


def _several(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def patch_shape(trainer_folder: Path) -> list[int]:
    """Patch (z, y, x) of the last stage in `plans.pkl`; raises `ModelError`."""
    plans = load_plain_pickle(trainer_folder / "plans.pkl")
    try:
        stages = plans["plans_per_stage"]
        return [int(n) for n in list(stages.values())[-1]["patch_size"]]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{trainer_folder / 'plans.pkl'} does not name a patch size.", "Copy the model anew."
        ) from error


def read_weights(fold: Path, architecture: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of one fold under version 2 names, for the network of `network_description`.

    Raises `ModelError`.
    """
    path = next((fold / name for name in CHECKPOINTS if (fold / name).is_file()), None)
    if path is None:
        raise ModelError(f"{fold} holds no weights.", "Copy the model anew.")
    state = plain_weights(load_checkpoint(path).get("state_dict"), path)
    try:
        return _renamed(state, architecture["arch_kwargs"])
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ModelError(
            f"The weights in {path} do not fit its network ({error}).", "Copy the model anew."
        ) from error


def _renamed(state: dict[str, torch.Tensor], arguments: dict[str, Any]) -> dict[str, torch.Tensor]:
    import torch

    stages, convolutions = arguments["n_stages"], arguments["n_conv_per_stage"][0]
    weights: dict[str, torch.Tensor] = {}

    def block(old: str, new: str, kernel: list[int]) -> None:
        for part, name in (("conv", "conv"), ("instnorm", "norm")):
            for key in [key for key in state if key.startswith(f"{old}.{part}.")]:
                parameter = key.rsplit(".", 1)[1]
                weights[f"{new}.{name}.{parameter}"] = state[key].float()
        if f"{new}.conv.weight" not in weights:
            raise KeyError(old)
        weights[f"{new}.conv.weight"] = _filled_up(weights[f"{new}.conv.weight"], kernel)

    def last_split(stack: str, index: int) -> str:
        # Version 1 keeps the last convolution of the bottleneck and the decoder in its own stack.
        if index == convolutions - 1:
            return f"{stack}.1.blocks.0"
        return f"{stack}.0.blocks.{index}"

    bottleneck = stages - 1
    for stage in range(stages):
        for index in range(convolutions):
            stack = f"conv_blocks_context.{stage}"
            old = last_split(stack, index) if stage == bottleneck else f"{stack}.blocks.{index}"
            block(old, f"encoder.stages.{stage}.0.convs.{index}", arguments["kernel_sizes"][stage])
    for stage in range(stages - 1):
        for index in range(convolutions):
            stack = f"conv_blocks_localization.{stage}"
            kernel = arguments["kernel_sizes"][stages - 2 - stage]
            block(last_split(stack, index), f"decoder.stages.{stage}.convs.{index}", kernel)
        up = state[f"tu.{stage}.weight"].float()
        weights[f"decoder.transpconvs.{stage}.weight"] = up
        weights[f"decoder.transpconvs.{stage}.bias"] = torch.zeros(up.shape[1])
        output = state[f"seg_outputs.{stage}.weight"].float()
        weights[f"decoder.seg_layers.{stage}.weight"] = output
        weights[f"decoder.seg_layers.{stage}.bias"] = torch.zeros(output.shape[0])
    return weights


def _filled_up(weight: torch.Tensor, kernel: list[int]) -> torch.Tensor:
    """A convolution's weights (out, in, z, y, x) with zeros around them up to `kernel`."""
    import torch

    if weight.ndim != 5 or any(a < b for a, b in zip(kernel, weight.shape[2:], strict=True)):
        raise ValueError(f"a kernel of {tuple(weight.shape[2:])}")
    margins: list[int] = []
    for wanted, there in zip(reversed(kernel), reversed(weight.shape[2:]), strict=True):
        margins += [(wanted - there) // 2] * 2
    return torch.nn.functional.pad(weight, margins)
