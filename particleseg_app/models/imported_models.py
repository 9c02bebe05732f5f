"""Imported models on this computer: written so that they are whole or not there, and removed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from particleseg_app.durable_files import disk_is_full, flush_folder, part_file, write_json
from particleseg_app.errors import ModelError
from particleseg_app.models.known_networks import total_stride
from particleseg_app.models.model_card import CARD_NAME, CLASSES, read_card
from particleseg_app.models.model_folder import (
    CHECKPOINT_NAME,
    ModelEntry,
    build_network,
    checked_architecture,
    find_model,
    is_bundled,
    load_network,
    model_root,
    open_model,
    user_model_root,
)

if TYPE_CHECKING:
    import torch

PART_PREFIX = ".part-"
ABANDONED_AFTER_S = 24 * 3600

# Name and weights of each fold.
Folds = list[tuple[str, "dict[str, torch.Tensor]"]]


@contextmanager
def errors_told_of(place: Path, instead_of: Path) -> Iterator[None]:
    """Errors that name a file of a temporary folder name the place that the user knows."""
    try:
        yield
    except ModelError as error:
        sentence = error.sentence.replace(str(instead_of), str(place))
        raise ModelError(sentence, error.remedy) from error


def write_model(
    target: Path, plans: dict[str, Any], folds: Folds, card: dict[str, Any], source: Path
) -> ModelEntry:
    """Write the model beside its place, try it, and only then give it its name.

    `source`: where it comes from, for errors.
    """
    import torch

    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        part = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=target.parent))
    try:
        with errors_told_of(source, part), _writing(target):
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
                with part_file(part / name / CHECKPOINT_NAME) as file:
                    torch.save({"network_weights": network.state_dict()}, file)
            _try(open_model(part))
            flush_folder(part)
            part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    flush_folder(target.parent)
    return open_model(target)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Say what keeps a model from being written."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # Torch tells a full disk in a text of its own.
        if not isinstance(error, OSError) and "PytorchStreamWriter" not in str(error):
            raise
        full = not isinstance(error, OSError) or disk_is_full(error)
        reason = "there is no space left" if full else getattr(error, "strerror", None) or error
        raise ModelError(
            f"The model cannot be kept in {target.parent} ({reason}).",
            "Free some space there." if full else "Check your permissions there.",
        ) from error


def _try(entry: ModelEntry) -> None:
    """Predict a small tile by each fold, so that what cannot work is refused now, not in a run."""
    import torch

    stride = total_stride(checked_architecture(entry))
    tile = torch.randn((1, 1, *(2 * n for n in stride)), generator=torch.Generator().manual_seed(0))
    for checkpoint, network in zip(entry.checkpoints(), load_network(entry), strict=True):
        try:
            with torch.inference_mode():
                finite = bool(torch.isfinite(network(tile)).all())
        # Whatever a strange setting provokes deep inside the network.
        except Exception as error:
            raise ModelError(
                f"The network of {checkpoint.parent.name} in {entry.folder} does not work "
                f"({error}).",
                "Copy the model anew, or choose another one.",
            ) from error
        if not finite:
            raise ModelError(
                f"The network of {checkpoint.parent.name} in {entry.folder} predicts no numbers.",
                "Copy the model anew, or choose another one.",
            )


def _remove_abandoned(folder: Path) -> None:
    """Remove what an import left that was killed more than a day ago."""
    for part in folder.glob(f"{PART_PREFIX}*"):
        if time.time() - part.stat().st_mtime > ABANDONED_AFTER_S:
            shutil.rmtree(part, ignore_errors=True)


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


def remove_model(entry: ModelEntry) -> None:
    """Remove an imported model; a bundled one and other folders stay (`ModelError`)."""
    if entry.folder.parent != user_model_root():
        if entry.folder.parent == model_root():
            raise ModelError(
                f"The model “{entry.name}” is part of the program.", "Only imported models can go."
            )
        raise ModelError(
            f"{entry.folder} is no imported model.", "Remove the folder itself if you like."
        )
    _remove(entry.folder)


def remove_model_named(name: str) -> None:
    """`remove_model` by its name, also where it is damaged and so not listed any more."""
    folder = user_model_root() / name
    if Path(name).name == name and folder.is_dir() and not is_bundled(name):
        _remove(folder)
    else:
        remove_model(find_model(name))


def _remove(folder: Path) -> None:
    """Take the name away first, so that what is left of it is never taken for a model."""
    try:
        going = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=folder.parent))
        folder.rename(going / folder.name)
    except OSError as error:
        raise ModelError(
            f"The model “{folder.name}” cannot be removed ({error.strerror or error}).",
            f"Close what uses it, and check your permissions in {folder.parent}.",
        ) from error
    shutil.rmtree(going, ignore_errors=True)
