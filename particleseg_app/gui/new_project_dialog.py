"""Where a dropped scan's project is to be made; asked once for each new project."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.formats import format_bytes, format_count
from particleseg_app.gui.settings import proposed_projects_folder, settings
from particleseg_app.gui.style import Card, button, label, row
from particleseg_app.projects import is_project
from particleseg_app.volumes import ScanSource


class NewProjectDialog(QDialog):
    """Name and place of a new project, checked while they are typed."""

    def __init__(self, source: ScanSource, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New project")
        self._source = source
        z, y, x = source.shape
        found = Card(margin=14)
        found.body.setSpacing(4)
        name = label(source.name)
        name.setStyleSheet("font-weight: 600")
        found.body.addWidget(name)
        found.body.addWidget(
            label(
                f"{format_count(z)} slices of {format_count(x)} × {format_count(y)} voxels, "
                f"{source.dtype.itemsize * 8} bit, {format_bytes(source.bytes)}",
                "muted",
            )
        )
        self.name_edit = QLineEdit(source.name)
        self.name_edit.setMaxLength(120)
        self.place_edit = QLineEdit(str(proposed_projects_folder()))
        self.name_edit.setAccessibleName("Name of the project")
        self.place_edit.setAccessibleName("Folder in which the project is made")
        change = button("Change…", self._choose)
        form = QGridLayout()
        form.setHorizontalSpacing(12)
        form.setVerticalSpacing(10)
        form.addWidget(label("Name"), 0, 0)
        form.addWidget(self.name_edit, 0, 1, 1, 2)
        form.addWidget(label("Inside"), 1, 0)
        form.addWidget(self.place_edit, 1, 1)
        form.addWidget(change, 1, 2)
        form.setColumnStretch(1, 1)
        self._result = label("", "muted", wrap=True)
        self._problem = label("", "error", wrap=True)
        cancel = button("Cancel", self.reject)
        self.create_button = button("Create project", self.accept, primary=True)
        self.create_button.setDefault(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 18)
        layout.setSpacing(14)
        layout.addWidget(label("Where should the project be kept?", "heading"))
        layout.addWidget(
            label(
                "The scan is copied into the project; the original files stay as they are.",
                "muted",
                wrap=True,
            )
        )
        layout.addWidget(found)
        for remark in source.remarks:
            layout.addWidget(label(remark, "warning", wrap=True))
        layout.addLayout(form)
        layout.addWidget(self._result)
        layout.addWidget(self._problem)
        layout.addStretch(1)
        layout.addLayout(row(None, cancel, self.create_button))
        self.setMinimumWidth(600)
        self.name_edit.setText(self._free_name(source.name))
        self.name_edit.textChanged.connect(self._check)
        self.place_edit.textChanged.connect(self._check)
        self._check()
        self.name_edit.selectAll()

    @property
    def project_name(self) -> str:
        return self.name_edit.text().strip()

    @property
    def project_folder(self) -> Path:
        return Path(self.place_edit.text().strip()) / folder_name(self.project_name)

    def problem(self) -> str:
        """Why this cannot be the place; empty when it can."""
        try:
            return self._problem_of_place()
        except OSError:  # one may not look into it, or the name is too long
            return "This place cannot be used. Choose another folder, or a shorter name."

    def _problem_of_place(self) -> str:
        if not folder_name(self.project_name):
            return "Enter a name for the project."
        place = Path(self.place_edit.text().strip())
        if not place.is_absolute():
            return "Choose the folder in which the project is to be made."
        above = next((p for p in (place, *place.parents) if p.exists()), place)
        if not above.is_dir():
            return f"{above} is a file. Choose a folder."
        folder = self.project_folder
        if is_project(folder):
            return f"There is a project in {folder} already. Choose another name."
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            return f"{folder} exists already and is not empty. Choose another name."
        free = _free_bytes(place)
        if free is None:
            return f"{place} cannot be used. Choose another folder."
        if free < self._source.bytes * 1.05:
            return (
                f"The scan needs {format_bytes(self._source.bytes)}, but only "
                f"{format_bytes(free)} are free there. Choose a folder on another disk."
            )
        return ""

    def accept(self) -> None:
        if not self.problem():
            settings().setValue("last/projects_folder", self.place_edit.text().strip())
            super().accept()

    def _free_name(self, name: str) -> str:
        place = Path(self.place_edit.text())
        wanted, number = name, 2
        while (place / folder_name(wanted)).exists() and number < 1000:
            wanted, number = f"{name} {number}", number + 1
        return wanted

    def _choose(self) -> None:
        start = self.place_edit.text()
        folder = QFileDialog.getExistingDirectory(self, "Folder for the project", start)
        if folder:
            self.place_edit.setText(str(Path(folder)))

    def _check(self) -> None:
        problem = self.problem()
        free = None if problem else _free_bytes(Path(self.place_edit.text().strip()))
        space = f"  ·  {format_bytes(free)} free there" if free is not None else ""
        self._result.setText(f"{self.project_folder}{space}")
        self._result.setVisible(not problem)
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self.create_button.setEnabled(not problem)


def folder_name(name: str) -> str:
    """`name` without what some file system does not allow in a folder's name."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", name).strip(" .")


def _free_bytes(place: Path) -> int | None:
    """Free space of the disk that would hold `place`, which may not exist yet."""
    for folder in (place, *place.parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None
