"""Whether files are there, as far as that can be told; a place that may not be looked into is not.

`Path.exists` and its like raise where a folder above is closed to the user, or a name too long.
"""

from __future__ import annotations

from pathlib import Path


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
