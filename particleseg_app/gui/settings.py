"""What the window remembers: geometry and last choices."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from PySide6.QtCore import QSettings

from particleseg_app.user_folders import config_folder

APPLICATION = "ParticleSeg"


def proposed_projects_folder() -> Path:
    """Where new projects are proposed: the folder used last, else Documents/ParticleSeg."""
    last = settings().value("last/projects_folder", "")
    if last and Path(str(last)).is_dir():
        return Path(str(last))
    return Path(platformdirs.user_documents_dir()) / APPLICATION


def settings() -> QSettings:
    return QSettings(str(config_folder() / "window.ini"), QSettings.Format.IniFormat)
