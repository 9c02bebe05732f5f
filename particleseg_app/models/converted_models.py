"""Networks converted for OpenVINO, once per model, and kept in the user's cache folder.

A conversion takes seconds to minutes and depends on the weights alone, not on the tile: the
network is stored with open tile edges and given its shape when it is loaded. A folder appears as a
whole or not at all, and is used only if its files are those that were written.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from particleseg_app.durable_files import flush_folder, write_json
from particleseg_app.errors import ModelError
from particleseg_app.models.model_card import read_small_json
from particleseg_app.models.model_folder import ModelEntry, load_network
from particleseg_app.progress import CancelToken
from particleseg_app.user_folders import cache_folder

if TYPE_CHECKING:
    import torch

# Raised when what is written here changes; conversions of another layout are made anew.
LAYOUT = 1
MANIFEST = "manifest.json"
MOST_KEPT = 12
PART_PREFIX = ".part-"
ABANDONED_AFTER_S = 24 * 3600
# The edge of the example that the conversion follows through the network; large ones are slow.
EXAMPLE_EDGE = 32
POLL_S = 0.05

Result = TypeVar("Result")
_log = logging.getLogger(__name__)
_converting = threading.Lock()


def openvino_version() -> str | None:
    """The installed OpenVINO, or None where there is none. Does not load it."""
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return None


def converted_folds(entry: ModelEntry, cancel: CancelToken) -> list[Path]:
    """The converted network of each fold (.xml, with its .bin beside it), made if need be.

    Raises `ModelError` when OpenVINO is missing or cannot take the network over, and `Cancelled`
    at once: a conversion that was begun ends in the background and is then there for next time.
    """
    version = openvino_version()
    if version is None:
        raise ModelError("OpenVINO is not installed.", "Install the package “openvino”.")
    name = f"{entry.fingerprint()[:32]}-openvino-{version}-layout-{LAYOUT}"
    folder = converted_root() / re.sub(r"[^A-Za-z0-9.-]", "_", name)
    if not _is_whole(folder):
        _cancellable(lambda: _make(entry, folder), cancel)
    _touch(folder)
    return sorted(folder.glob("fold_*.xml"))


def converted_root() -> Path:
    return cache_folder() / "converted"


def _make(entry: ModelEntry, folder: Path) -> None:
    """Convert every fold into a folder beside `folder` and rename it; raises `ModelError`."""
    with _converting:
        if _is_whole(folder):
            return
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=PART_PREFIX, dir=folder.parent) as name:
                part = Path(name) / "converted"
                part.mkdir()
                for fold, network in enumerate(load_network(entry)):
                    _convert(network, part / f"fold_{fold}.xml")
                sums = {path.name: _sha256(path) for path in sorted(part.iterdir())}
                write_json(part / MANIFEST, sums)
                # Another process may have been quicker; then its files are in use already.
                if not _is_whole(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    os.replace(part, folder)
            flush_folder(folder.parent)
        except OSError as error:
            if not _is_whole(folder):
                raise ModelError(
                    f"The converted model cannot be stored in {folder.parent} ({error}).",
                    "Free some space there.",
                ) from error
        _remove_oldest(folder)


def _convert(network: torch.nn.Module, path: Path) -> None:
    try:
        import openvino
        import torch

        example = torch.zeros((1, 1, EXAMPLE_EDGE, EXAMPLE_EDGE, EXAMPLE_EDGE))
        with torch.no_grad(), warnings.catch_warnings():
            # torch warns of every branch that an example cannot show; shapes are checked later.
            warnings.simplefilter("ignore")
            model = openvino.convert_model(
                network, example_input=example, input=[-1, 1, -1, -1, -1]
            )
        openvino.save_model(model, path, compress_to_fp16=False)
    except OSError:
        raise
    except Exception as error:
        # OpenVINO's errors share no class; any of them leaves this network with torch.
        raise ModelError(
            f"OpenVINO cannot take over this network ({_first_line(error)})."
        ) from error
    for written in (path, path.with_suffix(".bin")):
        with written.open("r+b") as file:
            os.fsync(file.fileno())


def _is_whole(folder: Path) -> bool:
    """Whether every file that the manifest names is there, unchanged."""
    try:
        sums: dict[str, Any] = read_small_json(folder / MANIFEST)
        return any(name.endswith(".xml") for name in sums) and all(
            Path(name).name == name and _sha256(folder / name) == value
            for name, value in sums.items()
        )
    except (ModelError, OSError):
        return False


def _remove_oldest(keep: Path) -> None:
    """Only the conversions used last stay, and nothing that a killed process left half done."""
    used: dict[Path, float] = {}
    for path in keep.parent.iterdir():
        with contextlib.suppress(OSError):  # another process may tidy up, too
            if path != keep and path.is_dir():
                used[path] = path.stat().st_mtime
    folders = sorted(used, key=lambda path: -used[path])
    parts = [path for path in folders if path.name.startswith(PART_PREFIX)]
    abandoned = [path for path in parts if time.time() - used[path] > ABANDONED_AFTER_S]
    whole = [path for path in folders if path not in parts]
    for path in whole[MOST_KEPT - 1 :] + abandoned:
        shutil.rmtree(path, ignore_errors=True)


def _touch(folder: Path) -> None:
    try:
        os.utime(folder)
    except OSError:
        pass


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def _cancellable(work: Callable[[], Result], cancel: CancelToken) -> Result:
    """`work` in a thread of its own, which is left to itself once `cancel` is set."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
            if cancel.cancelled:
                _log.warning("A conversion that nobody waits for failed: %r", error)

    thread = threading.Thread(target=run, name="convert-model", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        cancel.check()
    if errors:
        raise errors[0]
    return results[0]
