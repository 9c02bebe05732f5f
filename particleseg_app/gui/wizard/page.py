"""What the wizard's pages have in common, and the answers they gather."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from particleseg_app.gui.tasks import Task
from particleseg_app.volumes import Scan


@dataclass(frozen=True)
class WizardScan:
    """What the wizard is told of the scan it asks about."""

    name: str
    scan: Scan
    voxel_size_um: float | None = None
    particle_diameter_um: float | None = None
    proposed_voxel_size_um: float | None = None
    voxel_size_origin: str = ""
    project_folder: Path | None = None


Draft = dict[str, Any]  # answers as they were left, by what they answer


@dataclass
class Answers:
    """The user's answers so far; None while a question is open."""

    voxel_size_um: float | None = None
    particle_diameter_um: float | None = None
    run: dict[str, Any] | None = None

    def settings(self) -> dict[str, Any]:
        """All answers as the keyword arguments of a run's settings."""
        return {
            "voxel_size_um": self.voxel_size_um,
            "particle_diameter_um": self.particle_diameter_um,
            **(self.run or {}),
        }


class WizardPage(QWidget):
    """One question. `problem` keeps the user here and says why; empty lets on."""

    changed = Signal()
    step = ""
    title = ""
    subtitle = ""

    def problem(self) -> str:
        return ""

    def enter(self) -> None:
        """The page is about to be seen; earlier answers are known now."""

    def leave(self) -> None:
        """The page is no longer seen."""

    def draft(self) -> Draft:
        """What was entered here, right or wrong, for `take_draft` of another wizard."""
        return {}

    def take_draft(self, draft: Draft) -> None:
        """Enter what was entered in a wizard that was left, on the same scan."""

    def stop(self) -> list[Task]:
        """The wizard closes: end background work; what still reads the scan for a moment."""
        return []
