"""A picture of a part of the window, for a report."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage, QImageWriter
from PySide6.QtWidgets import QWidget

from particleseg_app.gui.tasks import Task
from particleseg_app.progress import CancelToken, Progress

PNG = ".png"


def picture_task(widget: QWidget, path: Path) -> Task:
    """Take a picture of `widget` as it is now; the task writes it to `path` as PNG.

    The task's result is the path written to, which ends in .png.
    """
    image = widget.grab().toImage()
    path = path if path.suffix.lower() == PNG else path.with_name(path.name + PNG)

    def work(_progress: Progress, _cancel: CancelToken) -> Path:
        from particleseg_app.durable_files import write_bytes
        from particleseg_app.particles.export import export_errors

        with export_errors(path):
            write_bytes(path, _png(image))
        return path

    return Task("Saving a picture", work)


def _png(image: QImage) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImageWriter(buffer, b"png").write(image)
    return bytes(buffer.data().data())
