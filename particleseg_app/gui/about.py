"""What the program is, its version and its licence."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QVBoxLayout, QWidget

from particleseg_app import __version__
from particleseg_app.gui.icons import application_icon
from particleseg_app.gui.style import button, label, row
from particleseg_app.user_folders import log_file


class AboutDialog(QDialog):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About ParticleSeg")
        picture = label()
        picture.setPixmap(application_icon().pixmap(72, 72))
        texts = QVBoxLayout()
        texts.setSpacing(6)
        texts.addWidget(label("ParticleSeg", "title"))
        texts.addWidget(label(f"Version {__version__}", "muted"))
        texts.addSpacing(6)
        texts.addWidget(
            label("Finds, separates and measures every particle of a micro-CT scan.", wrap=True)
        )
        texts.addWidget(
            label(
                "Free software under the Apache License 2.0: you may use, share and change it. "
                "It comes without any warranty. Parts of it by others (Qt under LGPL-3, PyTorch, "
                "nnU-Net, NumPy and more) keep their own licences, which lie beside the program.",
                "muted",
                wrap=True,
            )
        )
        log = label(f"Log file: {log_file()}", "muted", wrap=True)
        log.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        texts.addWidget(log)
        top = row(picture, spacing=20)
        top.setAlignment(picture, Qt.AlignmentFlag.AlignTop)
        top.addLayout(texts, 1)
        close = button("Close", self.accept, primary=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 24, 24, 16)
        layout.setSpacing(16)
        layout.addLayout(top)
        layout.addLayout(row(None, close))
        self.setMinimumWidth(520)
