"""A model from a ZIP file, unpacked without trusting what the file says of itself."""

from __future__ import annotations

import lzma
import re
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from particleseg_app.durable_files import disk_is_full
from particleseg_app.errors import ModelError
from particleseg_app.models.model_card import MAX_JSON_BYTES
from particleseg_app.models.safe_loading import MAX_CHECKPOINT_BYTES, MAX_PICKLE_BYTES

MAX_ZIP_BYTES = 8 * 1024**3
# Weights hardly shrink; what shrinks this much is there to fill a disk.
MAX_COMPRESSION = 50
ALWAYS_TAKEN_BYTES = 16 * 1024**2
_WANTED = re.compile(
    r"(?:^|/)(plans\.pkl|plans\.json|dataset\.json|debug\.json|model_card\.json|model_best\.model"
    r"|model_final_checkpoint\.model|checkpoint_final\.pth|checkpoint_best\.pth)$"
)
_LIMITS = {".json": MAX_JSON_BYTES, ".pkl": MAX_PICKLE_BYTES}


def unpack(archive: Path, folder: Path) -> None:
    """Take from a ZIP what a model consists of, and nothing else; raises `ModelError`.

    Paths that leave the folder are not followed, and nothing is written that is larger than a
    model can be.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [
                member
                for member in content.infolist()
                if not member.is_dir() and _WANTED.search(member.filename)
            ]
            for member in members:
                _check(archive, member)
            total = sum(member.file_size for member in members)
            if total > MAX_ZIP_BYTES:
                raise ModelError(f"{archive} is too large.", "Choose another model.")
            if total > shutil.disk_usage(folder).free:
                raise _no_space(folder)
            for member in members:
                content.extract(member, folder)
    except OSError as error:
        if disk_is_full(error):
            raise _no_space(folder) from error
        raise _unreadable(archive) from error
    except RuntimeError as error:  # so says zipfile, and NotImplementedError is one
        if "password" in str(error):
            raise ModelError(
                f"{archive} is protected by a password.", "Unpack it, and import the folder."
            ) from error
        raise _unreadable(archive) from error
    except (zipfile.BadZipFile, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise _unreadable(archive) from error


def _check(archive: Path, member: zipfile.ZipInfo) -> None:
    inner = PurePosixPath(member.filename)
    if inner.is_absolute() or ".." in inner.parts or ":" in member.filename:
        raise ModelError(
            f"{archive} holds a file that would be written outside of it.",
            "Use a model from a source you trust.",
        )
    if member.file_size > _LIMITS.get(inner.suffix, MAX_CHECKPOINT_BYTES):
        raise ModelError(f"{inner.name} in {archive} is too large.", "Choose another model.")
    most = max(ALWAYS_TAKEN_BYTES, MAX_COMPRESSION * member.compress_size)
    if member.file_size > most:
        growth = member.file_size // max(1, member.compress_size)
        raise ModelError(
            f"{inner.name} in {archive} would grow {growth}-fold when it is "
            "unpacked, as weights never do.",
            "Use a model from a source you trust.",
        )


def _no_space(folder: Path) -> ModelError:
    return ModelError(
        f"There is no space to unpack the model in {folder.parent}.", "Free some space there."
    )


def _unreadable(archive: Path) -> ModelError:
    return ModelError(
        f"{archive} is not a model: it cannot be read as a ZIP file.",
        "Choose a model folder or ZIP file, or copy it anew if it is one.",
    )
