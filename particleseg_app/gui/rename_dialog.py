"""Asks for another name of a project, a scan or a run."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QLineEdit, QVBoxLayout, QWidget

from particleseg_app.gui.style import OneLine, button, row


class RenameDialog(QDialog):
    """Accepted with a `name` that is another one than `old`."""

    def __init__(self, old: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Rename")
        self._old = old
        title = OneLine(f"New name of {old}", "heading")
        self.edit = QLineEdit(old)
        self.edit.setAccessibleName("New name")
        self.edit.selectAll()
        self.edit.textChanged.connect(self._check)
        self.rename_button = button("Rename", self.accept, primary=True)
        self.rename_button.setDefault(True)
        cancel = button("Cancel", self.reject)
        cancel.setAutoDefault(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 18)
        layout.setSpacing(14)
        layout.addWidget(title)
        layout.addWidget(self.edit)
        layout.addLayout(row(None, cancel, self.rename_button))
        self.setMinimumWidth(420)
        self._check()

    @property
    def name(self) -> str:
        return self.edit.text().strip()

    def _check(self) -> None:
        self.rename_button.setEnabled(self.name not in ("", self._old))
