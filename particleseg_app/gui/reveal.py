"""Showing a file or folder in the system's file manager."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices


def reveal_in_file_manager(path: Path) -> None:
    """Open the file manager at `path` (selected where the system can do that)."""
    path = Path(path)
    if sys.platform == "win32" and path.exists():
        subprocess.Popen(["explorer", "/select,", str(path)])
    elif sys.platform == "darwin" and path.exists():
        subprocess.Popen(["open", "-R", str(path)])
    else:
        folder = path if path.is_dir() else path.parent
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))


def file_manager_words() -> str:
    if sys.platform == "win32":
        return "Show in Explorer"
    return "Show in Finder" if sys.platform == "darwin" else "Show in file manager"
