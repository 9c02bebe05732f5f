"""Models from elsewhere, brought into the program's own safe form beside the bundled ones.

Takes the ParticleSeg3D download (nnU-Net version 1) or an nnU-Net version 2 folder with the
classes background, core and border, as a folder or a ZIP file.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from particleseg_app.durable_files import flush_folder, write_json
from particleseg_app.errors import ModelError
from particleseg_app.models import nnunet_v1
from particleseg_app.models.model_card import CARD_NAME, CLASSES, read_card, read_small_json
from particleseg_app.models.model_folder import (
    CHECKPOINT_NAME,
    MAX_CHECKPOINT_BYTES,
    ModelEntry,
    build_network,
    is_bundled,
    open_model,
    user_model_root,
)
from particleseg_app.models.safe_loading import load_checkpoint

if TYPE_CHECKING:
    import torch

# What the published ParticleSeg3D model was trained with (000 §4.2, and its program's defaults).
PUBLISHED_TARGET_DIAMETER = 60.0
PUBLISHED_BORDER_THICKNESS = 3.0
PUBLISHED_MEAN = 5850.29762143569
PUBLISHED_STD = 7078.294543817302

MAX_ZIP_BYTES = 8 * 1024**3
MAX_FOLDER_DEPTH = 6
_WANTED = re.compile(
    r"(plans\.pkl|plans\.json|dataset\.json|debug\.json|model_card\.json|model_best\.model"
    r"|model_final_checkpoint\.model|checkpoint_final\.pth|checkpoint_best\.pth)$"
)


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
    if path.is_file():
        with tempfile.TemporaryDirectory(prefix="particleseg-model-") as scratch:
            _unpack(path, Path(scratch))
            return _import_folder(Path(scratch), path.stem, options)
    if not path.is_dir():
        raise ModelError(f"{path} does not exist.", "Choose a model folder or ZIP file.")
    return _import_folder(path, path.name, options)


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
    name = _clean_name(options.name or fallback_name)
    target = user_model_root() / name
    if target.exists() or is_bundled(name):
        raise ModelError(f"There is a model “{name}” already.", "Import it under another name.")
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
    return _write(target, plans, folds, card)


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


Folds = list[tuple[str, "dict[str, torch.Tensor]"]]


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
            continue
        weights = load_checkpoint(path).get("network_weights")
        if not isinstance(weights, dict):
            raise ModelError(f"{path} holds no network.", "Copy the model anew.")
        folds.append((fold.name, {key: value.float() for key, value in weights.items()}))
    # nnU-Net's own z-score is that of each image by itself.
    by_scan = {"scheme": "scan_clipped", "low_percentile": 0, "high_percentile": 100}
    return plans, folds, {"patch_shape": patch, "version": 2, "normalisation": by_scan}


def _write(target: Path, plans: dict[str, Any], folds: Folds, card: dict[str, Any]) -> ModelEntry:
    """Write the model beside its place, try it, and only then give it its name."""
    import torch

    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        write_json(part / "plans.json", plans)
        labels = {name: index for index, name in enumerate(CLASSES)}
        dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".tif"}
        write_json(part / "dataset.json", dataset | {"numTraining": 0})
        write_json(part / CARD_NAME, card)
        entry = ModelEntry(target.name, part, read_card(part))
        for name, weights in folds:
            network = build_network(entry)
            _fill(network, weights, name)
            (part / name).mkdir()
            torch.save({"network_weights": network.state_dict()}, part / name / CHECKPOINT_NAME)
        open_model(part)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    flush_folder(target.parent)
    return open_model(target)


def _fill(network: torch.nn.Module, weights: dict[str, torch.Tensor], fold: str) -> None:
    """Load the weights; parts that the network lists twice under other names may be missing."""
    try:
        result = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(f"The weights of {fold} do not fit.", "Copy the model anew.") from error
    again = ("decoder.encoder.", ".all_modules.")
    missing = [key for key in result.missing_keys if not any(part in key for part in again)]
    if missing or result.unexpected_keys:
        raise ModelError(
            f"The weights of {fold} are not those of its network "
            f"({(missing + list(result.unexpected_keys))[0]}).",
            "Copy the model anew.",
        )


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


def _unpack(archive: Path, folder: Path) -> None:
    """Take from a ZIP what a model consists of; paths that leave the folder are not followed."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = [
                member
                for member in content.infolist()
                if not member.is_dir() and _WANTED.search(member.filename)
            ]
            if sum(member.file_size for member in members) > MAX_ZIP_BYTES:
                raise ModelError(f"{archive} is too large.", "Choose another model.")
            for member in members:
                inner = PurePosixPath(member.filename)
                if inner.is_absolute() or ".." in inner.parts or ":" in member.filename:
                    raise ModelError(
                        f"{archive} holds a file that would be written outside of it.",
                        "Use a model from a source you trust.",
                    )
                if member.file_size > MAX_CHECKPOINT_BYTES:
                    raise ModelError(f"{archive} is too large.", "Choose another model.")
                content.extract(member, folder)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelError(
            f"{archive} is not a model: it cannot be read as a ZIP file.",
            "Choose a model folder or ZIP file.",
        ) from error


def _clean_name(name: str) -> str:
    cleaned = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:60]
    if not cleaned:
        raise ModelError(f"“{name}” cannot be a model's name.", "Use letters and digits.")
    return cleaned


def remove_model(entry: ModelEntry) -> None:
    """Remove an imported model; a bundled one stays (`ModelError`)."""
    if entry.folder.parent != user_model_root():
        raise ModelError(
            f"The model “{entry.name}” is part of the program.", "Only imported models can go."
        )
    shutil.rmtree(entry.folder)
