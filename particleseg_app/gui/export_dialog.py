"""Saving the results of a run as files: what, where, and then done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.errors import UserError
from particleseg_app.file_access import is_folder
from particleseg_app.gui.formats import format_count, plural
from particleseg_app.gui.icons import icon
from particleseg_app.gui.new_project_dialog import folder_name
from particleseg_app.gui.panels.particle_table import TableContent
from particleseg_app.gui.reveal import file_manager_words, reveal_in_file_manager
from particleseg_app.gui.settings import settings
from particleseg_app.gui.style import Card, OneLine, button, label, row
from particleseg_app.gui.tasks import ProgressPanel, Task
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project

CSV, TIFF, HDF5 = "csv", "tiff", "hdf5"
CHOICES = (
    (CSV, "Particle table (CSV)", "One line a particle, for spreadsheets. Beside it a JSON file "
     "that says scan, settings, model and version.", "{name}.csv, {name}.json"),
    (TIFF, "Particle volume (TIFF)", "Every voxel holds its particle’s number. ImageJ opens it "
     "with the right voxel size.", "{name}_labels.tif"),
    (HDF5, "Particle volume (HDF5)", "The same for Python, MATLAB and other programs.",
     "{name}_labels.h5"),
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """The files written, and how many particles there are in the run and in the CSV."""

    files: list[Path]
    particles: int
    in_csv: int


class ExportDialog(QDialog):
    """`in_table`: what the table shows of the run, None where it shows another one or none."""

    def __init__(
        self,
        project: Project,
        run_id: str,
        in_table: TableContent | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._in_table = in_table
        self.setWindowTitle("Export")
        self._project = project
        self._run_id = run_id
        run = project.run(run_id)
        scan = project.scan(run.scan_id)
        self.files: list[Path] = []
        self.task: Task | None = None
        self.boxes: dict[str, QCheckBox] = {}
        self._file_labels = {}
        self.only_shown_box = QCheckBox("Only the particles that the table shows")
        if in_table is None or not in_table.filtered:
            self.only_shown_box.hide()
        self.only_shown_box.toggled.connect(self._check)
        choices = Card()
        for key, title, text, files in CHOICES:
            box = QCheckBox(title)
            box.setStyleSheet("font-weight: 600")
            box.setChecked(str(settings().value(f"export/{key}", key == CSV)).lower() == "true")
            box.toggled.connect(self._check)
            self.boxes[key] = box
            hint, name = label(text, "muted", wrap=True), OneLine("", "muted")
            name.setProperty("pattern", files)
            self._file_labels[key] = name
            for part in (hint, name):
                part.setContentsMargins(26, 0, 0, 0)
            choices.body.addWidget(box)
            choices.body.addWidget(hint)
            choices.body.addWidget(name)
            if key == CSV:
                choices.body.addLayout(row(26, self.only_shown_box, None, spacing=0))
            if key != HDF5:
                choices.body.addSpacing(8)
        usual = Path.home() if project.read_only else project.folder
        self.folder_edit = QLineEdit(str(settings().value("export/folder", usual)))
        chosen = Path(self.folder_edit.text())
        if not chosen.is_dir() or (project.read_only and chosen.is_relative_to(project.folder)):
            self.folder_edit.setText(str(usual))
        self.name_edit = QLineEdit(f"{scan.name}_{run.name}".replace(" ", "_"))
        self.folder_edit.setAccessibleName("Folder for the files")
        self.name_edit.setAccessibleName("Name of the files")
        form = QGridLayout()
        form.setHorizontalSpacing(12)
        form.setVerticalSpacing(10)
        form.addWidget(label("Name of the files"), 0, 0)
        form.addWidget(self.name_edit, 0, 1, 1, 2)
        form.addWidget(label("Into folder"), 1, 0)
        form.addWidget(self.folder_edit, 1, 1)
        form.addWidget(button("Change…", self._choose), 1, 2)
        form.setColumnStretch(1, 1)
        self._count = label("", wrap=True)
        self._problem = label("", "error", wrap=True)
        self._replaces = label("", "warning", wrap=True)
        self.export_button = button("Export", self.start, primary=True, icon_name="")
        self.export_button.setDefault(True)
        self.progress = ProgressPanel()
        asking = QWidget()
        body = QVBoxLayout(asking)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(14)
        body.addWidget(OneLine(f"Export {run.name} of {scan.name}", "heading"))
        body.addWidget(choices)
        body.addWidget(self._count)
        body.addLayout(form)
        body.addWidget(self._replaces)
        body.addWidget(self._problem)
        body.addWidget(self.progress)
        body.addStretch(1)
        self.cancel_button = button("Cancel", self.reject)
        body.addLayout(row(None, self.cancel_button, self.export_button))
        self._form = (choices, self.folder_edit, self.name_edit)
        self.pages = QStackedWidget()
        self.pages.addWidget(asking)
        self._done_text = label("", "muted", wrap=True)
        self._done_text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.reveal_button = button(file_manager_words(), self._reveal, icon_name="reveal")
        self.pages.addWidget(self._done_page())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 18)
        layout.addWidget(self.pages)
        self.setMinimumWidth(620)
        self.folder_edit.textChanged.connect(self._check)
        self.name_edit.textChanged.connect(self._check)
        self._check()

    def _done_page(self) -> QWidget:
        page = QWidget()
        body = QVBoxLayout(page)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(14)
        picture = label()
        picture.setPixmap(icon("done", "#2e9e5b").pixmap(QSize(40, 40)))
        body.addStretch(1)
        body.addLayout(row(None, picture, None))
        body.addLayout(row(None, label("Exported", "title"), None))
        body.addWidget(self._done_text)
        body.addStretch(1)
        self.close_button = button("Close", self.accept, primary=True)
        body.addLayout(row(None, self.reveal_button, self.close_button))
        return page

    @property
    def wanted(self) -> tuple[str, ...]:
        return tuple(key for key, box in self.boxes.items() if box.isChecked())

    def paths(self) -> dict[str, Path]:
        """The file of each kind, as it will be named."""
        folder, name = Path(self.folder_edit.text().strip()), folder_name(self.name_edit.text())
        return {
            CSV: folder / f"{name}.csv",
            TIFF: folder / f"{name}_labels.tif",
            HDF5: folder / f"{name}_labels.h5",
        }

    @property
    def _limits_csv(self) -> bool:
        """Whether the CSV gets only what the table shows."""
        in_table = self._in_table is not None and self._in_table.filtered
        return in_table and CSV in self.wanted and self.only_shown_box.isChecked()

    def problem(self) -> str:
        if not self.wanted:
            return "Tick at least one kind of file."
        if not folder_name(self.name_edit.text()):
            return "Enter a name for the files."
        if not is_folder(Path(self.folder_edit.text().strip())):
            return "This folder does not exist, or cannot be used. Choose another one."
        try:
            for path in self.paths().values():
                path.exists()  # raises where the name is too long
        except OSError:
            return "This name cannot be used. Enter a shorter one."
        return ""

    def start(self) -> None:
        """Write the files in the background."""
        if self.problem() or self.task is not None:
            return
        for key, box in self.boxes.items():
            settings().setValue(f"export/{key}", box.isChecked())
        settings().setValue("export/folder", self.folder_edit.text().strip())
        self._problem.hide()
        self._replaces.hide()
        project, run_id, wanted, paths = self._project, self._run_id, self.wanted, self.paths()
        only = self._in_table if self._limits_csv else None
        self.task = Task(
            "Exporting",
            lambda progress, cancel: export(
                project, run_id, wanted, paths, progress, cancel, only_in_csv=only
            ),
        )
        self.task.finished.connect(self._on_done)
        self.task.failed.connect(self._on_failed)
        self.task.ended.connect(self._on_ended)
        self.progress.show_task(self.task)
        self._set_busy(True)
        self.task.start()

    def reject(self) -> None:
        if self.task is not None:
            self.task.cancel()
        else:
            super().reject()

    def _on_done(self, exported: Exported) -> None:
        self.files = files = exported.files
        names = "\n".join(path.name for path in files)
        limited = exported.in_csv < exported.particles
        shown = None if self._in_table is None else len(self._in_table.labels)
        count = _count_text(
            exported.particles, exported.in_csv if limited else shown, self.wanted, limited=limited
        )
        self._done_text.setText(f"{count}\n\n{files[0].parent}\n\n{names}")
        self.pages.setCurrentIndex(1)
        self.close_button.setDefault(True)
        self.close_button.setFocus()

    def _on_failed(self, error: Exception) -> None:
        if isinstance(error, UserError):
            self._problem.setText(str(error))
        else:
            self._problem.setText(f"Something unexpected happened: {error!r}")
        self._problem.show()

    def _on_ended(self) -> None:
        self.task = None
        self._set_busy(False)

    def _set_busy(self, busy: bool) -> None:
        for widget in self._form:
            widget.setEnabled(not busy)
        self.cancel_button.setVisible(not busy)
        self.export_button.setVisible(not busy)

    def _check(self) -> None:
        name = folder_name(self.name_edit.text()) or "…"
        for text in self._file_labels.values():
            text.setText(str(text.property("pattern")).format(name=name))
        self.only_shown_box.setEnabled(CSV in self.wanted)
        content = self._in_table
        self._count.setText(
            _count_text(
                None if content is None else content.total,
                None if content is None else len(content.labels),
                self.wanted,
                limited=self._limits_csv,
            )
        )
        problem = self.problem()
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        files = [path for key, path in self.paths().items() if key in self.wanted]
        if CSV in self.wanted:
            files.insert(1, files[0].with_suffix(".json"))
        there = [path.name for path in files if not problem and path.exists()]
        self._replaces.setText(f"Replaces what is there already: {', '.join(there)}")
        self._replaces.setVisible(bool(there) and not problem)
        self.export_button.setEnabled(not problem)

    def _choose(self) -> None:
        start = self.folder_edit.text()
        folder = QFileDialog.getExistingDirectory(self, "Folder for the files", start)
        if folder:
            self.folder_edit.setText(str(Path(folder)))

    def _reveal(self) -> None:
        if self.files:
            reveal_in_file_manager(self.files[0])


def export(
    project: Project,
    run_id: str,
    wanted: tuple[str, ...],
    paths: dict[str, Path],
    progress: Progress,
    cancel: CancelToken,
    *,
    only_in_csv: TableContent | None = None,
) -> Exported:
    """Write the wanted files of a finished run.

    `only_in_csv`: leave all other particles out of the CSV, and say so in its description.
    """
    from particleseg_app.particles import export_csv, export_labels_hdf5, export_labels_tiff
    from particleseg_app.projects.review_files import open_review
    from particleseg_app.projects.segmentation_job import run_provenance, run_table

    provenance = run_provenance(project, run_id)
    voxel_size = float(provenance["voxel_size_um"])
    written: list[Path] = []
    table = run_table(project, run_id, progress, cancel)
    in_csv = len(table)
    with open_review(project, run_id, read_only=True) as review:
        if CSV in wanted:
            progress.start("Writing the table")
            lines = table
            if only_in_csv is not None:
                lines = table[table["label"].isin(only_in_csv.labels)]
                left_out = {"filter": only_in_csv.filter, "particles_of_the_run": len(table)}
                provenance = {**provenance, **left_out}
            in_csv = len(lines)
            written += export_csv(lines, paths[CSV], provenance)
        if TIFF in wanted:
            export_labels_tiff(review.labels, paths[TIFF], voxel_size, progress, cancel)
            written.append(paths[TIFF])
        if HDF5 in wanted:
            export_labels_hdf5(
                review.labels,
                paths[HDF5],
                voxel_size,
                progress,
                cancel,
                particle_count=len(table),
            )
            written.append(paths[HDF5])
    return Exported(written, len(table), in_csv)


def _count_text(
    particles: int | None, shown: int | None, wanted: tuple[str, ...], *, limited: bool
) -> str:
    """How many particles are exported, and what the table's filter has to do with it.

    `particles` of the run (None: not known yet), of which the table shows `shown` (None: another
    run). `limited`: the CSV gets only those.
    """
    if particles is None:
        return "All particles are exported."
    if shown is None or shown >= particles:
        return f"{plural(particles, 'particle')} {'is' if particles == 1 else 'are'} exported."
    if not limited:
        all_of_them = f"All {plural(particles, 'particle')} are exported"
        return f"{all_of_them}; the table shows {format_count(shown)} of them."
    some = f"{format_count(shown)} of {plural(particles, 'particle')}"
    if wanted == (CSV,):
        return f"{some} are exported, those that the table shows."
    return f"The CSV gets {some}, those that the table shows; the volume holds all."
