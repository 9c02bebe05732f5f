"""Asked before all mends of a run are taken back."""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QWidget


class RevertQuestion(QMessageBox):
    """Go back to the segmentation? `agree_button` says yes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setIcon(QMessageBox.Icon.NoIcon)
        self.setWindowTitle("ParticleSeg")
        self.setText("Go back to the segmentation as it was before any mend?")
        self.setInformativeText("This is one more step of the history and can be undone.")
        self.agree_button = self.addButton("Go back", QMessageBox.ButtonRole.DestructiveRole)
        self.setDefaultButton(self.addButton("Cancel", QMessageBox.ButtonRole.RejectRole))
