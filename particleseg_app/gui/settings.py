"""Where the window keeps what it remembers: geometry, last choices, and its log file."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from PySide6.QtCore import QSettings

CONFIG_VARIABLE = "PARTICLESEG_CONFIG_DIR"
APPLICATION = "ParticleSeg"
FOLDER_NAME = "particleseg"


def config_folder() -> Path:
    """Folder of the user's settings; the environment variable moves it (tests, portable use)."""
    override = os.environ.get(CONFIG_VARIABLE)
    return Path(override) if override else Path(platformdirs.user_config_dir(FOLDER_NAME, False))


def log_file() -> Path:
    override = os.environ.get(CONFIG_VARIABLE)
    folder = Path(override) if override else Path(platformdirs.user_log_dir(FOLDER_NAME, False))
    return folder / "particleseg.log"


def proposed_projects_folder() -> Path:
    """Where new projects are proposed: the folder used last, else Documents/ParticleSeg."""
    last = settings().value("last/projects_folder", "")
    if last and Path(str(last)).is_dir():
        return Path(str(last))
    return Path(platformdirs.user_documents_dir()) / APPLICATION


def settings() -> QSettings:
    return QSettings(str(config_folder() / "window.ini"), QSettings.Format.IniFormat)
