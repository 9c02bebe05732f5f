"""Files that are whole or not there: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from particleseg_app.errors import InvalidValueError

PART_SUFFIX = ".part"
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# In the texts of errors that have no number: HDF5's, and those of torch's back ends.
_FULL_TEXTS = ("No space left", "Disk quota exceeded")
_part_name = ""


def name_part_files_after(name: str) -> None:
    """Put `name` into the temporary names of this process.

    For workers of a cluster: two of them may do the same piece, when one was taken for lost.
    """
    global _part_name
    _part_name = name


def flush_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut (a no-op where folders cannot be opened)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def disk_is_full(error: Exception) -> bool:
    """Whether something could not be written because a disk or a quota is full."""
    text = str(error)
    return getattr(error, "errno", None) in _FULL or any(part in text for part in _FULL_TEXTS)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power cut does not take it away again."""
    missing = []
    place = Path(folder)
    while not place.exists():
        missing.append(place)
        place = place.parent
    Path(folder).mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        flush_folder(made.parent)


def make_output_folder(folder: Path) -> None:
    """Make a folder that the user named, so that files can be written into it.

    Raises `InvalidValueError` where that is not possible.
    """
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidValueError(
            f"Nothing can be written into {folder} ({reason[0].lower()}{reason[1:]}).",
            "Choose another folder, or ask for the permission to write there.",
        ) from error


@contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it becomes `path`, else it is removed.

    The caller creates the file at the yielded path and closes it. A process killed in between
    leaves only a file ending in `.part`, which the next attempt overwrites.
    """
    path = Path(path)
    part = path.with_name(path.name + _part_name + PART_SUFFIX)
    try:
        yield part
        # Opened for writing, because Windows refuses to flush a file opened for reading.
        with open(part, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


@contextmanager
def part_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; on a clean exit it becomes `folder`, else it is removed.

    `folder` must not be there. Files are put into the new one by `part_file`. A process killed in
    between leaves only a folder ending in `.part`, which the next attempt replaces.
    """
    folder = Path(folder)
    part = folder.with_name(folder.name + PART_SUFFIX)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        flush_folder(part)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    flush_folder(folder.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that `path` never holds half of it."""
    with part_file(path) as part:
        part.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable UTF-8 JSON so that `path` never holds half of it."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def remove_part_files(folder: Path, written: Collection[str] = ("*",)) -> None:
    """Remove what killed writers left in `folder` (not below it).

    `written`: patterns of the names that are written there, where others may put files of theirs.
    """
    for name in written:
        for part in folder.glob(f"{name}{PART_SUFFIX}"):
            if part.is_file() or part.is_symlink():
                part.unlink(missing_ok=True)
