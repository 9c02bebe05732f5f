"""Models from elsewhere, brought into the program's own safe form beside the bundled ones.

Takes the ParticleSeg3D download (nnU-Net version 1) or an nnU-Net version 2 folder with the
classes background, core and border, as a folder or a ZIP file.
"""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from particleseg_app.errors import ModelError
from particleseg_app.models import nnunet_v1
from particleseg_app.models.imported_models import Folds, errors_told_of, write_model
from particleseg_app.models.model_archive import unpack
from particleseg_app.models.model_card import CARD_NAME, CLASSES, read_card, read_small_json
from particleseg_app.models.model_folder import (
    CHECKPOINT_NAME,
    ModelEntry,
    is_bundled,
    user_model_root,
)
from particleseg_app.models.safe_loading import load_checkpoint, plain_weights

# What the published ParticleSeg3D model was trained with (000 §4.2, and its program's defaults).
PUBLISHED_TARGET_DIAMETER = 60.0
PUBLISHED_BORDER_THICKNESS = 3.0
PUBLISHED_MEAN = 5850.29762143569
PUBLISHED_STD = 7078.294543817302

MAX_FOLDER_DEPTH = 6


@dataclass(frozen=True)
class ImportOptions:
    """What the files do not say. None means: as the model card of this program says, where there
    is one; else sizes as published, grey values as published for version 1 and by the scan's own
    statistics for version 2. Lengths in voxels at the working scale."""

    name: str | None = None
    target_diameter_voxels: float | None = None
    border_thickness_voxels: float | None = None
    grey_mean: float | None = None
    grey_std: float | None = None


def import_model(path: Path, options: ImportOptions | None = None) -> ModelEntry:
    """Convert the model at `path` and list it beside the others; raises `ModelError`.

    Nothing in the files is executed. An existing model of the same name is not replaced.
    """
    options = options or ImportOptions()
    _check_options(options)
    if path.is_file():
        with (
            tempfile.TemporaryDirectory(prefix="particleseg-model-") as scratch,
            errors_told_of(path, Path(scratch)),
        ):
            unpack(path, Path(scratch))
            return _import_folder(Path(scratch), path.stem, options)
    if not path.is_dir():
        raise ModelError(f"{path} does not exist.", "Choose a model folder or ZIP file.")
    return _import_folder(path, path.resolve().name, options)


def _check_options(options: ImportOptions) -> None:
    """Raise `ModelError` for sizes and grey values that are not possible."""
    diameter, border = options.target_diameter_voxels, options.border_thickness_voxels
    if diameter is not None and not 4 <= diameter <= 500:
        raise ModelError(
            f"A target diameter of {diameter:g} voxels is not possible.", "Give 4 to 500 voxels."
        )
    if border is not None and not 0.5 <= border <= 50:
        raise ModelError(
            f"A border thickness of {border:g} voxels is not possible.", "Give 0.5 to 50 voxels."
        )
    mean, deviation = options.grey_mean, options.grey_std
    if (mean is None) != (deviation is None):
        raise ModelError(
            "Mean and standard deviation of the grey values belong together.",
            "Give both, or neither.",
        )
    if mean is None or deviation is None:
        return
    if not math.isfinite(mean) or not 0 < deviation < math.inf:
        raise ModelError(
            f"A grey scale with the mean {mean:g} and the standard deviation {deviation:g} is "
            "not possible.",
            "Give those of the model's training scans.",
        )


def _import_folder(folder: Path, fallback_name: str, options: ImportOptions) -> ModelEntry:
    found = _find(folder, "plans.pkl")
    if found is not None:
        plans, folds, settled = _from_version_1(found)
    else:
        found = _find(folder, "plans.json")
        if found is None:
            raise ModelError(
                f"No nnU-Net model was found in {fallback_name}.",
                "Choose the folder that holds plans.pkl or plans.json.",
            )
        plans, folds, settled = _from_version_2(found)
    _check_patch(settled["patch_shape"], found)
    name = _clean_name(options.name or fallback_name)
    target = user_model_root() / name
    if target.exists() or is_bundled(name):
        otherwise = "" if is_bundled(name) else ", or remove that one first"
        raise ModelError(
            f"There is a model “{name}” already.", f"Import it under another name{otherwise}."
        )
    card = _own_card(found) or {
        "target_diameter_voxels": PUBLISHED_TARGET_DIAMETER,
        "border_thickness_voxels": PUBLISHED_BORDER_THICKNESS,
        "normalisation": settled["normalisation"],
        "patch_shape": settled["patch_shape"],
        "limits": "Its accuracy was not measured by this program.",
    }
    origin = f"Imported from {fallback_name} (nnU-Net version {settled['version']})."
    card |= {
        "name": name,
        "title": name.replace("_", " "),
        "version": "imported",
        "normalisation": _normalisation(options, card["normalisation"]),
        "made_from": f"{origin} {card.get('made_from', '')}".strip(),
    }
    for key in ("target_diameter_voxels", "border_thickness_voxels"):
        if getattr(options, key) is not None:
            card[key] = getattr(options, key)
    return write_model(target, plans, folds, card, found)


def _check_patch(patch: list[int], place: Path) -> None:
    if len(patch) != 3 or not all(16 <= n <= 512 for n in patch):
        text = " × ".join(str(n) for n in patch)
        raise ModelError(
            f"The model in {place} was trained on patches of {text} voxels, which is not possible.",
            "Three edges of 16 to 512 voxels are. Copy the model anew.",
        )


def _own_card(folder: Path) -> dict[str, Any] | None:
    """The card of a model that this program trained; None where there is none.

    Raises `ModelError` for a card with values that are not possible.
    """
    if not (folder / CARD_NAME).is_file():
        return None
    read_card(folder)
    return read_small_json(folder / CARD_NAME)


def _normalisation(options: ImportOptions, otherwise: dict[str, Any]) -> dict[str, Any]:
    if options.grey_mean is None or options.grey_std is None:
        return otherwise
    return {"scheme": "fixed", "mean": options.grey_mean, "std": options.grey_std}


def _from_version_1(folder: Path) -> tuple[dict[str, Any], Folds, dict[str, Any]]:
    fold_folders = _folds(folder)
    architecture = nnunet_v1.network_description(fold_folders[0])
    patch = nnunet_v1.patch_shape(folder)
    folds = [(fold.name, nnunet_v1.read_weights(fold, architecture)) for fold in fold_folders]
    plans = {
        "dataset_name": "Imported",
        "plans_name": "nnUNetPlans",
        "configurations": {"3d_fullres": {"patch_size": patch, "architecture": architecture}},
    }
    published = {"scheme": "fixed", "mean": PUBLISHED_MEAN, "std": PUBLISHED_STD}
    return plans, folds, {"patch_shape": patch, "version": 1, "normalisation": published}


def _from_version_2(folder: Path) -> tuple[dict[str, Any], Folds, dict[str, Any]]:
    plans = read_small_json(folder / "plans.json")
    labels = read_small_json(folder / "dataset.json").get("labels")
    if labels != {name: index for index, name in enumerate(CLASSES)}:
        raise ModelError(
            f"The model in {folder} does not tell background, core and border apart.",
            "Choose a border-core model.",
        )
    try:
        patch = [int(n) for n in plans["configurations"]["3d_fullres"]["patch_size"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder / 'plans.json'} does not describe a 3D model ({error!r}).",
            "Choose a folder of a 3d_fullres model.",
        ) from error
    folds: Folds = []
    for fold in _folds(folder):
        names = (CHECKPOINT_NAME, "checkpoint_best.pth")
        path = next((fold / name for name in names if (fold / name).is_file()), None)
        if path is None:
            raise ModelError(
                f"{fold} holds no weights.", "Copy the model anew, or take this folder out of it."
            )
        weights = plain_weights(load_checkpoint(path).get("network_weights"), path)
        folds.append((fold.name, {key: value.float() for key, value in weights.items()}))
    # nnU-Net's own z-score is that of each image by itself.
    by_scan = {"scheme": "scan_clipped", "low_percentile": 0, "high_percentile": 100}
    return plans, folds, {"patch_shape": patch, "version": 2, "normalisation": by_scan}


def _folds(folder: Path) -> list[Path]:
    folds = sorted(path for path in folder.glob("fold_*") if path.is_dir())
    if not folds:
        raise ModelError(f"{folder} holds no fold.", "Choose a folder with fold_0 in it.")
    return folds


def _find(folder: Path, name: str) -> Path | None:
    """The folder nearest to the top that holds a file of that name."""
    places = [
        path.parent
        for path in folder.rglob(name)
        if len(path.relative_to(folder).parts) <= MAX_FOLDER_DEPTH and path.is_file()
    ]
    return min(places, key=lambda place: (len(place.parts), place), default=None)


def _clean_name(name: str) -> str:
    cleaned = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:60]
    if not cleaned:
        raise ModelError(f"“{name}” cannot be a model's name.", "Use letters and digits.")
    return cleaned
