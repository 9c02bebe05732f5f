"""Model folders: which there are, what is in them, and the network built from one.

A model folder is an nnU-Net v2 folder (`plans.json`, `dataset.json`, `fold_*/checkpoint_final.pth`)
with a `model_card.json`. Nothing in it is executed: weights are loaded weights-only, and only
network parts known by name are built.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.errors import ModelError
from particleseg_app.file_access import is_folder
from particleseg_app.models.known_networks import check_architecture, total_stride
from particleseg_app.models.model_card import (
    CARD_NAME,
    CLASSES,
    TILE_STEP,
    ModelCard,
    read_card,
    read_small_json,
)
from particleseg_app.models.safe_loading import (
    MAX_CHECKPOINT_BYTES,
    load_checkpoint,
    plain_weights,
)
from particleseg_app.user_folders import data_folder

if TYPE_CHECKING:
    import torch

DEFAULT_MODEL = "default"
# The smaller network beside it. Not called “fast”: that is a preset.
LIGHT_MODEL = "light"
CHECKPOINT_NAME = "checkpoint_final.pth"
# What a card says that a prediction, or the way from it to particles, depends on.
DECIDING_FACTS = (
    "target_diameter_voxels",
    "border_thickness_voxels",
    "normalisation",
    "patch_shape",
    "longest_tile_edge",
    "least_contrast_to_noise",
)


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be chosen: the name to choose it by, its folder and its card."""

    name: str
    folder: Path
    card: ModelCard

    def checkpoints(self) -> list[Path]:
        """The weight files, one per fold."""
        return sorted(self.folder.glob(f"fold_*/{CHECKPOINT_NAME}"))

    def fingerprint(self) -> str:
        """SHA-256 over weights, plans and the part of the card that decides on predictions.

        Two models with the same one predict the same. What a card only tells its reader is left
        out: figures, for one, are measured when the model is there already.
        """
        card = read_small_json(self.folder / CARD_NAME)
        deciding = {name: card.get(name) for name in DECIDING_FACTS}
        digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode())
        digest.update((self.folder / "plans.json").read_bytes())
        for path in self.checkpoints():
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def model_root() -> Path:
    """Folder of the bundled models (PARTICLESEG_RESOURCES names another `resources` folder)."""
    override = os.environ.get("PARTICLESEG_RESOURCES")
    root = Path(override) if override else Path(__file__).parents[2] / "resources"
    return root / "models"


def user_model_root() -> Path:
    """Folder of the imported models."""
    return data_folder() / "models"


def open_model(folder: Path) -> ModelEntry:
    """Check a model folder and return its entry; raises `ModelError`."""
    entry = ModelEntry(folder.name, folder, read_card(folder))
    labels = read_small_json(folder / "dataset.json").get("labels")
    if labels != {name: index for index, name in enumerate(CLASSES)}:
        raise ModelError(
            f"The model in {folder} does not tell background, core and border apart.",
            "Choose a border-core model.",
        )
    checkpoints = entry.checkpoints()
    if not checkpoints:
        raise ModelError(f"{folder} holds no weights.", "Copy the model folder anew.")
    if any(path.stat().st_size > MAX_CHECKPOINT_BYTES for path in checkpoints):
        raise ModelError(f"The weights in {folder} are too large.", "Choose another model.")
    return entry


def list_models() -> list[ModelEntry]:
    """The default model, then the other bundled and the imported ones; none that is damaged.

    An imported model that is called like a bundled one, which a later version of the program
    brought, goes by its folder.
    """
    entries: list[ModelEntry] = []
    for root in (model_root(), user_model_root()):
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            if folder.is_dir() and not folder.name.startswith("."):
                try:
                    entry = open_model(folder)
                except ModelError:
                    continue
                if any(entry.name == other.name for other in entries):
                    entry = replace(entry, name=str(folder))
                entries.append(entry)
    return sorted(entries, key=lambda entry: entry.name != DEFAULT_MODEL)


def quickest_bundled_model() -> str:
    """Name of the light model, or of the default one where that is not there."""
    return LIGHT_MODEL if (model_root() / LIGHT_MODEL).is_dir() else DEFAULT_MODEL


def is_bundled(name: str) -> bool:
    """Whether a model of this name comes with the program."""
    return (model_root() / name).is_dir()


def find_model(name_or_folder: str) -> ModelEntry:
    """The bundled or imported model of that name, else the one in that folder; or `ModelError`."""
    if Path(name_or_folder).name == name_or_folder:
        for root in (model_root(), user_model_root()):
            if is_folder(root / name_or_folder):
                return open_model(root / name_or_folder)
    folder = Path(name_or_folder)
    if is_folder(folder):
        return open_model(folder.resolve())
    known = ", ".join(entry.name for entry in list_models()) or "none"
    raise ModelError(
        f"There is no model “{name_or_folder}”.",
        f"Name a model folder or one of the installed models ({known}).",
    )


def build_network(entry: ModelEntry, initialise: bool = True) -> torch.nn.Module:
    """The untrained network that `plans.json` describes (1 input channel, 3 classes).

    `initialise` draws the weights that nnU-Net begins a training with.
    """
    architecture = checked_architecture(entry)
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    try:
        return get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            input_channels=1,
            output_channels=len(CLASSES),
            allow_init=initialise,
            deep_supervision=False,
        )
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The network of the model in {entry.folder} cannot be built ({error}).",
            "Copy the model anew, or choose another one.",
        ) from error


def load_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Network weights of one fold as they are stored, without executing anything in the file."""
    weights = plain_weights(load_checkpoint(checkpoint).get("network_weights"), checkpoint)
    # Stored one after another, however they lay in the memory they were saved from.
    return {key: value.contiguous() for key, value in weights.items()}


def load_network(entry: ModelEntry) -> list[torch.nn.Module]:
    """One network with weights per fold, in evaluation mode, on the CPU; raises `ModelError`.

    The weights are float32 however they are stored.
    """
    import torch

    networks = []
    for checkpoint in entry.checkpoints():
        # Without memory: drawing random weights, which the stored ones replace, takes longer than
        # all the rest. What is stored becomes the weights itself, and is complete by `strict`.
        with torch.device("meta"):
            network = build_network(entry, initialise=False)
        try:
            network.load_state_dict(load_weights(checkpoint), strict=True, assign=True)
            network.float()
        except RuntimeError as error:
            raise ModelError(
                f"The weights in {checkpoint} do not fit the network in plans.json.",
                "Copy the model anew.",
            ) from error
        networks.append(network.eval())
    return networks


def checked_architecture(entry: ModelEntry) -> dict[str, Any]:
    """The architecture part of plans.json, once every name and size in it is known to be safe."""
    plans_path = entry.folder / "plans.json"
    try:
        architecture = read_small_json(plans_path)["configurations"]["3d_fullres"]["architecture"]
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{plans_path} does not describe a 3D network ({error!r}).",
            "Choose a folder of a 3d_fullres model.",
        ) from error
    check_architecture(architecture, plans_path)
    stride = total_stride(architecture)
    if entry.card.longest_tile_edge and (
        architecture["arch_kwargs"].get("norm_op") is not None or any(TILE_STEP % s for s in stride)
    ):
        raise ModelError(
            f"The model card in {entry.folder} allows tiles larger than its patch, which its "
            "network does not.",
            "Copy the model anew.",
        )
    if any(n % s for n, s in zip(entry.card.patch_shape, stride, strict=True)):
        raise ModelError(
            f"The patch shape on the model card in {entry.folder} does not fit its network.",
            "Copy the model anew.",
        )
    return architecture
