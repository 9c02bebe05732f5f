"""Which networks a plans.json may ask for: parts known by name, and sizes a computer can hold.

Everything is checked on the text alone, before a network is built or a weight is read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from particleseg_app.errors import ModelError
from particleseg_app.units import Shape

MAX_STAGES = 10
MAX_FEATURES = 1024
MAX_KERNEL = 15
MAX_STRIDE = 8
_DEEPEST = 12  # of lists in lists
MAX_CONVOLUTIONS = 16  # of one stage
MAX_WEIGHTS = 1_000_000_000  # 4 GB; the published network has 30 million

# plans.json names classes to import; these are the ones a segmentation U-Net is made of.
KNOWN_ARCHITECTURES = {
    "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
}
KNOWN_PARTS = {
    "torch.nn.modules.conv.Conv3d",
    "torch.nn.modules.instancenorm.InstanceNorm3d",
    "torch.nn.modules.batchnorm.BatchNorm3d",
    "torch.nn.modules.dropout.Dropout3d",
    "torch.nn.modules.activation.LeakyReLU",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.Conv3d",
    "torch.nn.InstanceNorm3d",
    "torch.nn.BatchNorm3d",
    "torch.nn.Dropout3d",
    "torch.nn.LeakyReLU",
    "torch.nn.ReLU",
}
_CONVOLUTIONS = ("n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder")


def check_architecture(architecture: dict[str, Any], place: Path) -> None:
    """Refuse (`ModelError`) what is not known to be safe; `place`: the file it was read from.

    `architecture`: that part of an nnU-Net v2 plans.json.
    """
    try:
        kwargs = architecture["arch_kwargs"]
        imported = list(architecture["_kw_requires_import"])
        names = {kwargs[key] for key in imported if kwargs.get(key) is not None}
        class_name = str(architecture["network_class_name"])
        features = [int(n) for n in kwargs["features_per_stage"]]
        strides, kernels = triples(kwargs["strides"]), triples(kwargs["kernel_sizes"])
        convolutions = [_counts(kwargs[key]) for key in _CONVOLUTIONS if key in kwargs]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{place} does not describe a 3D network ({error!r}).",
            "Choose a folder of a 3d_fullres model.",
        ) from error
    strange = sorted(str(name) for name in names - KNOWN_PARTS)
    if class_name not in KNOWN_ARCHITECTURES:
        strange.append(class_name)
    if strange:
        raise ModelError(
            f"{place} asks for network parts that are not known ({', '.join(strange)}).",
            "Use a model with nnU-Net's standard architecture.",
        )
    stages = len(features)
    possible = (
        1 <= stages == len(strides) == len(kernels)
        and all(n >= 1 for n in features)
        and all(n >= 1 for triple in (*strides, *kernels) for n in triple)
        and all(n >= 1 for counts in convolutions for n in counts)
    )
    if not possible:
        raise ModelError(f"The network in {place} is not possible.", "Copy the model anew.")
    small_enough = (
        stages <= MAX_STAGES
        and max(features) <= MAX_FEATURES
        and all(n <= MAX_KERNEL for triple in kernels for n in triple)
        and all(n <= MAX_STRIDE for triple in strides for n in triple)
        and all(n <= MAX_CONVOLUTIONS for counts in convolutions for n in counts)
        and _numbers_within(kwargs, MAX_FEATURES)
        and _most_weights(features, kernels, convolutions) <= MAX_WEIGHTS
    )
    if not small_enough:
        raise ModelError(f"The network in {place} is too large.", "Choose another model.")


def total_stride(architecture: dict[str, Any]) -> Shape:
    """By how much the deepest stage is coarser, (z, y, x); of a checked architecture."""
    z, y, x = (
        math.prod(int(stride[axis]) for stride in architecture["arch_kwargs"]["strides"])
        for axis in range(3)
    )
    return z, y, x


def triples(value: Any) -> list[list[int]]:
    """A list of (z, y, x); raises `TypeError` or `ValueError` for anything else."""
    result = [[int(n) for n in triple] for triple in value]
    if any(len(triple) != 3 or isinstance(value[i], str) for i, triple in enumerate(result)):
        raise ValueError("not three axes")
    return result


def _counts(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else [int(n) for n in value]


def _most_weights(
    features: list[int], kernels: list[list[int]], convolutions: list[list[int]]
) -> int:
    """At least as many weights as the convolutions of encoder and decoder hold."""
    most = max((n for counts in convolutions for n in counts), default=MAX_CONVOLUTIONS)
    return sum(
        2 * (most + 1) * wide * max(wide, features[max(0, stage - 1)]) * math.prod(kernel)
        for stage, (wide, kernel) in enumerate(zip(features, kernels, strict=True))
    )


def _numbers_within(value: Any, limit: int, depth: int = 0) -> bool:
    """Whether every number in nested lists and objects is between -limit and limit.

    Not where they are nested deeper than any network's.
    """
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return all(_numbers_within(part, limit, depth + 1) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_numbers_within(part, limit, depth + 1) for part in value)
    return not isinstance(value, int | float) or -limit <= value <= limit
