"""The network as nnU-Net v2 plans describe it, for training and as it is shipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NETWORK_CLASS = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]
CLASS_COUNT = 3
PUBLISHED_FEATURES = (32, 64, 128, 256, 320, 320)


def architecture(features: tuple[int, ...], normalised: bool) -> dict[str, Any]:
    """The `architecture` entry of plans.json for a U-Net that halves its grid at each stage.

    `normalised`: with batch normalisation, as trained; without it, as shipped, the statistics
    being folded into the convolutions. Statistics that do not come from the tile itself keep the
    grey level of the whole scan visible and make a voxel's class independent of its tile.
    """
    stages = len(features)
    return {
        "network_class_name": NETWORK_CLASS,
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.batchnorm.BatchNorm3d" if normalised else None,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True, "momentum": 0.03} if normalised else {},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": IMPORTED,
    }


def published_architecture(
    features: tuple[int, ...] = PUBLISHED_FEATURES,
) -> dict[str, Any]:
    """nnU-Net's own network with instance normalisation, as the published model has it (000).

    With the default features it is what nnU-Net plans for an isotropic volume and a card with
    8 GB: six stages of 32 to 320 features, two convolutions each.
    """
    own = architecture(features, normalised=True)
    own["arch_kwargs"].update(
        norm_op="torch.nn.modules.instancenorm.InstanceNorm3d",
        norm_op_kwargs={"eps": 1e-5, "affine": True},
    )
    return own


def build_network(
    features: tuple[int, ...], normalised: bool = True, deep_supervision: bool = False
) -> torch.nn.Module:
    """The network of `architecture`; one grey channel in, three classes out."""
    return network_of(architecture(features, normalised), deep_supervision)


def network_of(network: dict[str, Any], deep_supervision: bool = False) -> torch.nn.Module:
    """nnU-Net's own builder on an `architecture` entry that is known to be safe."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return get_network_from_plans(
        network["network_class_name"],
        network["arch_kwargs"],
        network["_kw_requires_import"],
        input_channels=1,
        output_channels=CLASS_COUNT,
        deep_supervision=deep_supervision,
    )


def coarsest_edge(network: torch.nn.Module, edge: int) -> int:
    """How many voxels the coarsest grid of `network` has, at least, across `edge` voxels."""
    import torch

    strides = [layer.stride for layer in network.modules() if isinstance(layer, torch.nn.Conv3d)]
    return edge // max(map(math.prod, zip((1, 1, 1), *strides, strict=True)))


def freeze_statistics(network: torch.nn.Module) -> None:
    """From here on the batch normalisation uses the statistics gathered so far."""
    import torch

    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.eval()


def folded_network(network: torch.nn.Module, features: tuple[int, ...]) -> torch.nn.Module:
    """The same function as `network` in evaluation mode, without normalisation layers."""
    import torch
    from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU

    plain = build_network(features, normalised=False)
    source, target = dict(network.named_modules()), dict(plain.named_modules())
    with torch.no_grad():
        for name, block in target.items():
            trained = source[name]
            if isinstance(block, ConvDropoutNormReLU):
                norm = trained.norm
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                block.conv.weight.copy_(trained.conv.weight * scale[:, None, None, None, None])
                block.conv.bias.copy_((trained.conv.bias - norm.running_mean) * scale + norm.bias)
            elif isinstance(block, torch.nn.ConvTranspose3d) or "seg_layers." in name:
                block.weight.copy_(trained.weight)
                block.bias.copy_(trained.bias)
    return plain.eval()
