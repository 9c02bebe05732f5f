"""The projects that were open lately, remembered for the start page of the window."""

from __future__ import annotations

import builtins
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from particleseg_app.durable_files import write_json
from particleseg_app.file_access import is_file
from particleseg_app.projects.project_file import PROJECT_FILE
from particleseg_app.user_folders import config_folder

MOST_REMEMBERED = 12


@dataclass(frozen=True)
class RecentProject:
    """`exists` is whether the project file is there now (a drive may be unplugged)."""

    folder: Path
    name: str
    opened_at: str
    exists: bool


class RecentProjects:
    """Newest first, at most twelve. A lost or damaged list is an empty list, never an error."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_folder() / "recent_projects.json"

    def list(self) -> builtins.list[RecentProject]:
        return [
            RecentProject(
                folder=Path(item["folder"]),
                name=item["name"],
                opened_at=item["opened_at"],
                exists=is_file(Path(item["folder"]) / PROJECT_FILE),
            )
            for item in self._load()
        ]

    def remember(self, folder: Path, name: str) -> None:
        """Put a project at the top of the list."""
        folder = Path(folder).absolute()
        opened_at = datetime.now().astimezone().isoformat(timespec="seconds")
        newest = {"folder": str(folder), "name": name, "opened_at": opened_at}
        self._save((newest, *self._without(folder)))

    def forget(self, folder: Path) -> None:
        """Take a project off the list; the project itself stays as it is."""
        self._save(self._without(Path(folder).absolute()))

    def _without(self, folder: Path) -> tuple[dict[str, Any], ...]:
        wanted = os.path.normcase(folder)
        return tuple(i for i in self._load() if os.path.normcase(i["folder"]) != wanted)

    def _load(self) -> tuple[dict[str, Any], ...]:
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
            items = value["projects"]
            keys = ("folder", "name", "opened_at")
            return tuple(i for i in items if all(isinstance(i[key], str) for key in keys))
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def _save(self, items: tuple[dict[str, Any], ...]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"format_version": 1, "projects": items[:MOST_REMEMBERED]})
        except OSError:
            pass  # a comfort only: the program works without it
