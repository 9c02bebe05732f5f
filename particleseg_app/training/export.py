"""A trained network as a model folder: nnU-Net v2 files, a model card, weights-only loadable."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.durable_files import PART_SUFFIX, part_file, write_json
from particleseg_app.errors import ModelError
from particleseg_app.models import Normalisation
from particleseg_app.models.model_card import TILE_STEP
from particleseg_app.training.network import architecture, folded_network
from particleseg_app.training.scene_pool import SCAN_CLIPPED
from particleseg_app.training.trainer import averaged_network
from particleseg_app.units import Shape

if TYPE_CHECKING:
    import torch

CLASSES = {"background": 0, "core": 1, "border": 2}
DATASET_NAME = "Dataset001_SimulatedParticles"
PLANS_NAME = "ParticleSegPlans"


LEAST_CONTRAST_TO_NOISE = 2.5
# Of the tiles of a run with a network without normalisation. Longer ones share less of their work
# with their neighbours, but the memory for one goes with the third power (docs/network_stage.md).
LONGEST_TILE_EDGE = 128


@dataclass(frozen=True)
class ModelFacts:
    """What the model card says beyond what the training itself knows."""

    name: str = "default"
    title: str = "Default model"
    version: str = "0.0.1"
    target_diameter_voxels: float = 26.0
    patch_shape: Shape = (96, 96, 96)
    scenes: int = 0
    made_from: str = (
        "Simulated scans only: labelled particle scenes with random shapes, packings, phases, "
        "surroundings and scanner artefacts."
    )
    limits: str = ""
    purpose: str = ""  # in a sentence, beside the other models in a list
    class_offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of training.calibration
    figures: dict[str, Any] = field(default_factory=dict)
    normalisation: Normalisation = SCAN_CLIPPED
    # Measured for models trained on simulated scans by the compact recipe (docs/noise.md).
    least_contrast_to_noise: float = LEAST_CONTRAST_TO_NOISE
    licence: str = "Apache-2.0"  # empty where it is not this program's to say


@dataclass(frozen=True)
class TrainedNetwork:
    """A network as it is shipped, in evaluation mode on the CPU, and how it came about."""

    network: torch.nn.Module
    architecture: dict[str, Any]  # of plans.json
    border_thickness: float
    training: dict[str, Any]  # for the model card


def _resampling(is_labels: bool) -> dict[str, Any]:
    return {"is_seg": is_labels, "order": 1, "order_z": 0, "force_separate_z": None}


def plans(network: dict[str, Any], patch_shape: Shape, batch_size: int = 2) -> dict[str, Any]:
    """The content of plans.json for a network given by its `architecture` entry."""
    resample = "resample_data_or_seg_to_shape"
    return {
        "dataset_name": DATASET_NAME,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [128, 128, 128],
        "image_reader_writer": "Tiff3DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 5.0, "mean": 0.0, "median": 0.0, "min": -5.0,
                "percentile_00_5": -2.0, "percentile_99_5": 3.0, "std": 1.0,
            }
        },
        "configurations": {
            "3d_fullres": {
                "data_identifier": f"{PLANS_NAME}_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": batch_size,
                "patch_size": list(patch_shape),
                "median_image_size_in_voxels": [128.0, 128.0, 128.0],
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": resample,
                "resampling_fn_seg": resample,
                "resampling_fn_probabilities": resample,
                "resampling_fn_data_kwargs": _resampling(False),
                "resampling_fn_seg_kwargs": _resampling(True),
                "resampling_fn_probabilities_kwargs": _resampling(False),
                "architecture": network,
                "batch_dice": True,
            }
        },
    }  # fmt: skip


def trained_network(checkpoint: Path) -> TrainedNetwork:
    """The averaged network of a checkpoint of `Trainer`; `ModelError` for an unusable one.

    The batch normalisation of a new network is folded into its convolutions; a network that was
    taken over from elsewhere stays as it is.
    """
    try:
        network, figures = averaged_network(checkpoint)
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of a training.", "Choose the training folder."
        ) from error
    settings = figures["settings"]
    features = tuple(settings["features"])
    shipped = settings.get("architecture")
    if shipped is None:
        shipped = architecture(features, normalised=False)
        if settings.get("normalised", True):
            network = folded_network(network, features)
    training = {"steps": figures["step"], "minutes": round(figures["elapsed_s"] / 60, 1)}
    return TrainedNetwork(network, shipped, float(settings["border_thickness"]), training)


def export_network(trained: TrainedNetwork, folder: Path, facts: ModelFacts) -> None:
    """Write a trained network as a model folder; each file appears whole, the card last."""
    import torch

    weights = half_precision(trained.network.state_dict())
    last = f"decoder.seg_layers.{len(trained.network.get_submodule('decoder.seg_layers')) - 1}.bias"  # type: ignore[arg-type]
    weights[last] = (weights[last].float() + torch.tensor(facts.class_offsets)).half()
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": "CT"},
            "labels": CLASSES,
            "numTraining": facts.scenes,
            "file_ending": ".tif",
        },
    )
    write_json(folder / "plans.json", plans(trained.architecture, facts.patch_shape))
    content = {
        "network_weights": weights,
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres", "fold": 0, "unpack_dataset": True},
        "inference_allowed_mirroring_axes": [0, 1, 2],
    }
    with part_file(folder / "fold_0" / "checkpoint_final.pth") as part:
        torch.save(content, part)
    card = asdict(facts)
    scenes, offsets = card.pop("scenes"), card.pop("class_offsets")
    normalisation = card.pop("normalisation")
    unused = ("low_", "high_") if normalisation["scheme"] == "fixed" else ("mean", "std")
    card.update(
        border_thickness_voxels=trained.border_thickness,
        normalisation={k: v for k, v in normalisation.items() if not k.startswith(unused)},
        patch_shape=list(facts.patch_shape),
        longest_tile_edge=_longest_tile_edge(trained.architecture, facts.patch_shape),
        classes=CLASSES,
        training={**trained.training, "scenes": scenes, "class_offsets": list(offsets)},
    )
    write_json(folder / "model_card.json", card)


def _longest_tile_edge(architecture: dict[str, Any], patch_shape: Shape) -> int:
    """0 where the answer of a normalisation layer depends on the tile."""
    normalised = architecture["arch_kwargs"].get("norm_op") is not None
    if normalised or any(n % TILE_STEP for n in patch_shape):
        return 0
    return max(LONGEST_TILE_EDGE, *patch_shape)


def half_precision(weights: dict[str, Any]) -> dict[str, Any]:
    """float16 copies of the weights; names that share a tensor go on sharing it."""
    copies: dict[int, Any] = {}
    return {
        name: copies.setdefault(value.data_ptr(), value.detach().half().contiguous())
        for name, value in weights.items()
    }


def check_model(folder: Path) -> None:
    """Build the network with nnU-Net's own builder from the written folder and load it strictly.

    Raises `ModelError` when anything in the folder does not fit.
    """
    from particleseg_app.models.model_folder import load_network, open_model

    load_network(open_model(folder))


def export_checked(checkpoint: Path, folder: Path, facts: ModelFacts) -> None:
    """Export beside `folder`, check it, and only then replace the files in `folder`."""
    export_network_checked(trained_network(checkpoint), folder, facts)


def export_network_checked(trained: TrainedNetwork, folder: Path, facts: ModelFacts) -> None:
    """`export_network`, tried beside `folder` first; raises `ModelError` and leaves it alone."""
    tried = folder.with_name(folder.name + PART_SUFFIX)
    shutil.rmtree(tried, ignore_errors=True)  # left by an export that was killed
    try:
        export_network(trained, tried, facts)
        check_model(tried)
    finally:
        shutil.rmtree(tried, ignore_errors=True)
    export_network(trained, folder, facts)
