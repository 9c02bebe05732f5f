"""A real but very small model folder with random weights, for tests."""

import json
from pathlib import Path

import torch

from particleseg_app.models.model_card import read_card
from particleseg_app.models.model_folder import ModelEntry, build_network, open_model
from particleseg_app.segmentation.core_unions import (
    FEATURE_COUNT,
    SCAN_FEATURE_COUNT,
    SCAN_WEIGHT_COUNT,
    WEIGHT_COUNT,
    UnionRule,
)


def plans(features=(4, 8)):
    return {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlans",
        "configurations": {
            "3d_fullres": {
                "patch_size": [32, 32, 32],
                "architecture": {
                    "network_class_name": (
                        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
                    ),
                    "arch_kwargs": {
                        "n_stages": len(features),
                        "features_per_stage": list(features),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3]] * len(features),
                        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (len(features) - 1),
                        "n_conv_per_stage": [1] * len(features),
                        "n_conv_per_stage_decoder": [1] * (len(features) - 1),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def card(**changes):
    return {
        "name": "tiny",
        "title": "Tiny test model",
        "version": "1.0",
        "target_diameter_voxels": 12,
        "border_thickness_voxels": 1,
        "normalisation": {"scheme": "scan_clipped", "low_percentile": 1, "high_percentile": 99},
        "patch_shape": [32, 32, 32],
    } | changes


def write_tiny_model(folder: Path, seed: int = 0, folds: int = 1, card_changes=None) -> ModelEntry:
    """Write a model folder with random weights and return its entry."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "core": 1, "border": 2}, "file_ending": ".tif"})
    )
    (folder / "model_card.json").write_text(json.dumps(card(**(card_changes or {}))))
    torch.manual_seed(seed)
    for fold in range(folds):
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        entry = ModelEntry(folder.name, folder, read_card(folder))
        weights = build_network(entry).state_dict()
        torch.save(
            {"network_weights": weights, "trainer_name": "test"},
            folder / f"fold_{fold}" / "checkpoint_final.pth",
        )
    return open_model(folder)


def write_overflowing_model(folder: Path) -> ModelEntry:
    """A model whose weights are numbers and whose answers are none."""
    entry = write_tiny_model(folder)
    described = plans()
    arguments = described["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments.update(norm_op=None, norm_op_kwargs={})
    (folder / "plans.json").write_text(json.dumps(described))
    weights = build_network(entry).state_dict()
    content = {
        "network_weights": {name: torch.full_like(w, 3e38) for name, w in weights.items()},
        "trainer_name": "test",
    }
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    return open_model(folder)


def uniting_what_is_nearly_core(core_factor: int = 1, intercept: float = 0.0) -> UnionRule:
    """A rule that joins parts whose contact of grade 2 and above is large for the lesser one.

    Whatever the other contacts of the scan are like.
    """
    weights = [0.0] * WEIGHT_COUNT
    weights[2] = 1.0
    zeros, ones = (0.0,) * FEATURE_COUNT, (1.0,) * FEATURE_COUNT
    return UnionRule(
        zeros,
        ones,
        tuple(weights),
        intercept,
        usual_share=0.1,
        scan_low=(-9.0,) * SCAN_FEATURE_COUNT,
        scan_high=(9.0,) * SCAN_FEATURE_COUNT,
        scan_weights=(1.0,) + (0.0,) * (SCAN_WEIGHT_COUNT - 1),
        scan_intercept=0.0,
        least_probability=0.5,
        core_factor=core_factor,
    )
