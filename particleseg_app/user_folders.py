"""The user: where the program keeps what belongs to no project, and under which name they work."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import platformdirs

FOLDER_NAME = "particleseg"
CONFIG_VARIABLE = "PARTICLESEG_CONFIG_DIR"
DATA_VARIABLE = "PARTICLESEG_DATA_DIR"
CACHE_VARIABLE = "PARTICLESEG_CACHE_DIR"


def config_folder() -> Path:
    """Settings and recent projects; PARTICLESEG_CONFIG_DIR moves it (tests, portable use)."""
    override = os.environ.get(CONFIG_VARIABLE)
    return Path(override) if override else platformdirs.user_config_path(FOLDER_NAME, False)


def log_file() -> Path:
    """The log; beside the settings where PARTICLESEG_CONFIG_DIR moves these."""
    override = os.environ.get(CONFIG_VARIABLE)
    folder = Path(override) if override else platformdirs.user_log_path(FOLDER_NAME, False)
    return folder / "particleseg.log"


def data_folder() -> Path:
    """Imported models; PARTICLESEG_DATA_DIR moves it."""
    override = os.environ.get(DATA_VARIABLE)
    return Path(override) if override else platformdirs.user_data_path(FOLDER_NAME, False)


def cache_folder() -> Path:
    """What can be made anew, such as converted models; PARTICLESEG_CACHE_DIR moves it.

    It goes with the imported models where only these are moved, so that all is in one place.
    """
    if override := os.environ.get(CACHE_VARIABLE):
        return Path(override)
    if data := os.environ.get(DATA_VARIABLE):
        return Path(data) / "cache"
    return platformdirs.user_cache_path(FOLDER_NAME, False)


def user_name() -> str:
    """The name that the user is logged in with."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
