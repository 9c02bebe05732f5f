"""Page 1: is this the right scan, and are its grey values good enough?"""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.formats import format_bytes, format_count
from particleseg_app.gui.style import Card, OneLine, label
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.wizard.grey_histogram import GreyHistogram
from particleseg_app.gui.wizard.page import WizardPage, WizardScan
from particleseg_app.progress import CancelToken, Progress

TYPE_NAMES = {"u": "whole numbers", "i": "whole numbers with sign", "f": "decimal numbers"}


class ScanPage(WizardPage):
    step = "Scan"
    title = "Is this the right scan?"
    subtitle = "What the program found in the files. Nothing needs to be entered here."

    def __init__(self, wizard_scan: WizardScan) -> None:
        super().__init__()
        scan = wizard_scan.scan
        self._scan = scan
        self.picture = _SlicePicture()
        self.histogram = GreyHistogram()
        self.histogram.set_statistics(scan.statistics)
        facts = Card()
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        z, y, x = scan.shape
        kind = np.dtype(scan.dtype)

        def end(grey: float) -> str:
            return f"{grey:g}" if kind.kind == "f" else format_count(int(grey))

        size = math.prod(scan.shape) * kind.itemsize
        lines = [
            ("Name", wizard_scan.name),
            ("Slices", format_count(z)),
            ("Size of a slice", f"{format_count(x)} × {format_count(y)} voxels"),
            ("Grey values", f"{kind.itemsize * 8} bit, {TYPE_NAMES.get(kind.kind, kind.name)}"),
            ("Range", f"{end(scan.statistics.minimum)} to {end(scan.statistics.maximum)}"),
            ("Size of the data", format_bytes(size)),
        ]
        for number, (name, value) in enumerate(lines):
            grid.addWidget(label(name, "muted"), number, 0)
            text = OneLine(value)
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            grid.addWidget(text, number, 1)
        grid.setColumnStretch(1, 1)
        facts.body.addLayout(grid)
        grey = Card("Grey values")
        grey.body.addWidget(self.histogram, 1)
        self.warnings = scan.statistics.warnings()
        right = QVBoxLayout()
        right.setSpacing(12)
        right.addWidget(facts)
        for warning in self.warnings:
            right.addWidget(label(warning, "warning", wrap=True))
        right.addWidget(grey, 1)
        left = Card(margin=12)
        left.body.addWidget(self.picture, 1)
        caption = label(f"Slice {z // 2 + 1} of {z}", "muted")
        caption.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        left.body.addWidget(caption)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(left, 3)
        layout.addLayout(right, 2)
        self._task: Task | None = None

    def problem(self) -> str:
        statistics = self._scan.statistics
        if statistics.maximum <= statistics.minimum:
            return "The scan is empty: all voxels have the same grey value."
        return ""

    def enter(self) -> None:
        if self._task is None:
            self._task = Task("Reading a slice", self._read_picture)
            self._task.finished.connect(self.picture.set_image)
            self._task.start()

    def stop(self) -> list[Task]:
        if self._task is None:
            return []
        self._task.cancel()
        return [self._task]

    def _read_picture(self, progress: Progress, cancel: CancelToken) -> QImage:
        grey = self._scan.read_slice(0, self._scan.shape[0] // 2).astype(np.float32)
        low, high = self._scan.statistics.display_range()
        shown = np.clip((grey - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
        height, width = shown.shape
        image = QImage(shown.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
        return image.copy()


class _SlicePicture(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._pixmap: QPixmap | None = None
        self.setMinimumSize(240, 240)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Picture of the middle slice")

    def set_image(self, image: QImage) -> None:
        self._pixmap = QPixmap.fromImage(image)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour(theme.current().canvas))
        if self._pixmap is not None:
            size = self._pixmap.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
            place = self.rect().center() - self.rect().topLeft()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawPixmap(
                place.x() - size.width() // 2,
                place.y() - size.height() // 2,
                size.width(),
                size.height(),
                self._pixmap,
            )
        painter.end()
