"""What the run will cost, measured by a short trial in the background."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QLabel

from particleseg_app.errors import UserError
from particleseg_app.gui.formats import (
    format_bytes,
    format_count,
    format_rough_duration,
    format_shape,
)
from particleseg_app.gui.style import Card, label
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.theme import set_role
from particleseg_app.progress import CancelToken, Progress

if TYPE_CHECKING:
    from particleseg_app.segmentation import CostEstimate
    from particleseg_app.volumes import Scan

LINES = (
    ("scale", "Scale"),
    ("size", "Size"),
    ("tiles", "Tiles"),
    ("rings", "Rings"),
    ("slices", "Slices"),
    ("noise", "Noise"),
    ("time", "Time"),
    ("disk", "Disk"),
    ("memory", "Memory"),
    ("device", "Runs on"),
)
SETTLE_MS = 300
EXPLANATIONS = {
    "scale": "The network has learned on particles of a certain size; the scan is brought to it.",
    "size": "What the network works on, across × down × slices.",
    "tiles": "The network looks at the scan tile by tile, but not at empty ones; "
    "finished tiles are never lost.",
    "rings": "Rings about the rotation axis look like surfaces to the network, which is shown the "
    "scan without them. Grey values in the table stay those of the scan.",
    "slices": "Steps of brightness from slice to slice look like surfaces to the network, which is "
    "shown the scan without them. Grey values in the table stay those of the scan.",
    "noise": "The network is shown the scan without its noise, which it would take for structure. "
    "Grey values in the table stay those of the scan.",
    "time": "From a trial of some seconds on this scan; other programs may slow it down.",
    "disk": "The most that is needed at one time. Most of it is freed when the run is finished.",
    "memory": "The most that is needed at one time.",
    "device": "What the time was measured on, and what the run will use.",
}


class CostCard(Card):
    changed = Signal()

    def __init__(self, scan: Scan, project_folder: Path | None) -> None:
        super().__init__("What it will cost")
        self._scan = scan
        self._folder = project_folder
        self._wanted: dict[str, Any] | None = None
        self._task: Task | None = None
        self._problem = ""
        self.estimate_shown: CostEstimate | None = None
        self._values: dict[str, QLabel] = {}
        self._names: dict[str, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(10)
        for number, (key, title) in enumerate(LINES):
            value = label("–", wrap=True)
            name = label(title, "muted")
            for text in (value, name):
                text.setToolTip(EXPLANATIONS[key])
            grid.addWidget(name, number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(value, number, 1, Qt.AlignmentFlag.AlignTop)
            self._values[key] = value
            self._names[key] = name
        grid.setColumnStretch(1, 1)
        self.body.addLayout(grid)
        self._show_remedies(None)
        self._state = label("", "muted", wrap=True)
        self.body.addWidget(self._state)
        self.setMinimumWidth(280)
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLE_MS)
        self._settling.timeout.connect(self._measure)

    def problem(self) -> str:
        """Why a run with these answers cannot be started; empty while it can."""
        return self._problem

    def shows(self, key: str) -> bool:
        """Whether the line of that name is there (`LINES`)."""
        return self._values[key].isVisibleTo(self)

    def text_of(self, key: str) -> str:
        return self._values[key].text()

    def estimate(self, run_settings: dict[str, Any]) -> None:
        """Measure for these settings, once they have not changed for a moment."""
        if run_settings == self._wanted and (self._task or self.estimate_shown):
            return
        self.stop()
        self._wanted = run_settings
        self._problem = ""
        self._say("Measuring on this computer…")
        self._settling.start()

    def clear(self) -> None:
        self.stop()
        self._wanted, self._problem = None, ""
        for value in self._values.values():
            value.setText("–")
        self._show_remedies(None)
        self._say("")

    def stop(self) -> None:
        """Let go of a measurement that still works."""
        self._settling.stop()
        task, self._task = self._task, None
        self.estimate_shown = None
        if task is not None:
            task.cancel()
        self._wanted = None

    def _measure(self) -> None:
        wanted, scan = self._wanted, self._scan
        if wanted is None:
            return

        def work(progress: Progress, cancel: CancelToken) -> CostEstimate:
            from particleseg_app.projects.job_cost import estimate_job
            from particleseg_app.segmentation.settings import RunSettings

            return estimate_job(scan, RunSettings(**wanted), cancel)

        task = Task("Measuring", work)
        self._task = task
        task.finished.connect(lambda result: self._on_measured(task, result))
        task.failed.connect(lambda error: self._on_failed(task, error))
        task.start()

    def _on_measured(self, task: Task, cost: CostEstimate) -> None:
        if task is not self._task:
            return
        self._task = None
        self.estimate_shown = cost
        network = cost.tiles > 0
        factor = cost.scale_factor
        scale = f"{factor:.2f} ×"
        if network:
            size = format_shape(cost.working_shape)
            word = (
                "enlarged" if factor > 1.005 else "reduced" if factor < 0.995 else "kept as it is"
            )
            self._values["size"].setText(size)
            scale = f"{scale}, {word}"
        self._values["scale"].setText(scale)
        tiles = format_count(cost.tiles)
        if cost.empty_tiles:
            tiles = f"{tiles}, about {format_count(cost.empty_tiles)} of them empty"
        self._values["tiles"].setText(tiles)
        for key in ("scale", "size", "tiles"):
            self._values[key].setVisible(network)
            self._names[key].setVisible(network)
        self._show_remedies(cost)
        seconds = cost.seconds
        self._values["time"].setText(
            format_rough_duration(seconds) if seconds is not None else "unknown"
        )
        self._values["time"].setStyleSheet("font-weight: 600")
        self._values["device"].setText(cost.device_title)
        self._show_room(cost)
        self.changed.emit()

    def _show_remedies(self, cost: CostEstimate | None) -> None:
        """What will be done about rings, uneven slices and noise; no line where there is none."""
        rings = evening = noise = ""
        if cost is not None and cost.rings is not None:
            rings = (
                f"Ring artefacts (the strongest has {100 * cost.rings.strongest:.0f} % of what "
                "particles stand out by). They are taken off."
            )
        if cost is not None and cost.evening is not None:
            evening = (
                f"Of uneven brightness (by {100 * cost.evening.unevenness:.0f} % of what particles "
                "stand out by). They are evened out."
            )
        if cost is not None and cost.denoising is not None and self._wanted is not None:
            from particleseg_app.segmentation.denoised_scan import smallest_diameter

            smallest = smallest_diameter(cost.denoising, float(self._wanted["voxel_size_um"]))
            noise = (
                f"Strong (particles stand out by {cost.denoising.contrast_to_noise:.1f} times the "
                f"noise). The scan is denoised; particles below about {smallest} are left out."
            )
        for key, text in (("rings", rings), ("slices", evening), ("noise", noise)):
            self._values[key].setText(text)
            for shown in (self._values[key], self._names[key]):
                shown.setVisible(bool(text))

    def _show_room(self, cost: CostEstimate) -> None:
        import psutil

        free_memory = psutil.virtual_memory().available
        text = f"{format_bytes(cost.memory_bytes)} of {format_bytes(free_memory)} free"
        self._values["memory"].setText(text)
        warnings = []
        if cost.memory_bytes > free_memory:
            warnings.append(
                "There may be too little memory. Close other programs, or choose a faster preset."
            )
        text = format_bytes(cost.disk_bytes)
        if self._folder is not None:
            free = shutil.disk_usage(self._folder).free
            text = f"{text} of {format_bytes(free)} free"
            if cost.disk_bytes > free:
                self._problem = "There is too little space on the project’s disk. Free some space."
        self._values["disk"].setText(text)
        if self._problem:
            self._say(self._problem, "error")
        elif warnings:
            self._say(" ".join(warnings), "warning")
        else:
            self._say("")

    def _on_failed(self, task: Task, error: Exception) -> None:
        if task is not self._task:
            return
        self._task = None
        for value in self._values.values():
            value.setText("–")
        if isinstance(error, UserError):
            self._problem = str(error)
            self._say(self._problem, "error")
        else:
            self._say(f"The cost could not be measured ({error!r}). The run may still work.")
        self.changed.emit()

    def _say(self, text: str, role: str = "muted") -> None:
        set_role(self._state, role)
        self._state.setText(text)
        self._state.setVisible(bool(text))
