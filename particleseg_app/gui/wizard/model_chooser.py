"""The list of models, with import of further ones and removal of those that were imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QMenu,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.errors import UserError
from particleseg_app.gui.question import Question
from particleseg_app.gui.settings import settings
from particleseg_app.gui.style import button, label, plain_tip, row, tool_button
from particleseg_app.gui.tasks import EngineFunction, Task
from particleseg_app.gui.wizard.wide_box import WideBox
from particleseg_app.progress import CancelToken, Progress

if TYPE_CHECKING:
    from particleseg_app.models import ModelEntry

LAST_FOLDER = "last/model_folder"


class ModelChooser(QWidget):
    """Emits `changed` for another choice or list, and when an import begins or ends."""

    changed = Signal()
    imported = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._models: list[ModelEntry] | None = None
        self._task: Task | None = None
        self.removal_question: Question | None = None
        self.box = WideBox("Model")
        self.more_button = tool_button("more", "More about this model", self._show_more_menu)
        self.more_button.hide()
        self.import_button = button("Import a model…", self._show_import_menu)
        self.import_button.setAutoDefault(False)
        self.import_menu, self.more_menu = QMenu(self), QMenu(self)
        self.folder_action = self.import_menu.addAction("From a folder…")
        self.zip_action = self.import_menu.addAction("From a ZIP file…")
        self.remove_action = self.more_menu.addAction("Remove this model…")
        self.folder_action.triggered.connect(self._choose_folder)
        self.zip_action.triggered.connect(self._choose_zip)
        self.remove_action.triggered.connect(self._ask_before_removal)
        self._state = label("", "muted", wrap=True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._problem = label("", "error", wrap=True)
        for text in (self._state, self._problem):
            text.setTextFormat(Qt.TextFormat.PlainText)  # files may be called anything
        for widget in (self._state, self._bar, self._problem):
            widget.hide()
        line = row(self.box, self.more_button, self.import_button)
        line.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(line)
        layout.addWidget(self._state)
        layout.addWidget(self._bar)
        layout.addWidget(self._problem)
        self.box.currentIndexChanged.connect(lambda _number: self._on_choice())

    @property
    def models(self) -> list[ModelEntry] | None:
        """The models in the list; None until they have been looked for."""
        return self._models

    @property
    def chosen(self) -> ModelEntry | None:
        number = self.box.currentIndex()
        return self._models[number] if self._models and number >= 0 else None

    @property
    def busy(self) -> bool:
        """Whether a model is being imported or removed."""
        return self._task is not None

    @property
    def problem(self) -> str:
        """Why the last import or removal did not work; empty when it did."""
        return self._problem.text()

    def set_models(self, models: list[ModelEntry], choose: str = "") -> None:
        """Show these models; the one named `choose` is chosen, else the first."""
        self._models = models
        self.box.blockSignals(True)
        self.box.clear()
        for entry in models:
            self.box.addItem(entry.card.title, entry.name)
            tip = Qt.ItemDataRole.ToolTipRole
            self.box.setItemData(self.box.count() - 1, plain_tip(entry.card.purpose), tip)
        self.box.setCurrentIndex(max(self.box.findData(choose), 0) if models else -1)
        self.box.blockSignals(False)
        self.box.fit_popup()
        self._on_choice()

    def takes(self, path: Path) -> bool:
        """Whether something dropped may be a model."""
        return not self.busy and (path.is_dir() or path.suffix.lower() == ".zip")

    def import_path(self, path: Path) -> None:
        """Import the model in this folder or ZIP file, then choose it."""

        def work(progress: Progress, cancel: CancelToken) -> tuple[str, list[ModelEntry]]:
            from particleseg_app.models import import_model, list_models

            name = import_model(path).name
            return name, list_models()

        if not self.busy:
            settings().setValue(LAST_FOLDER, str(path.parent))
            self._start(work, f"Importing {path.name}…", f"{path.name} could not be imported")
            assert self._task is not None
            self._task.finished.connect(lambda _found: self.imported.emit())

    def remove_chosen(self) -> None:
        """Remove the chosen model, which must be an imported one, from this computer."""
        entry = self.chosen
        if entry is None or self.busy:
            return

        def work(progress: Progress, cancel: CancelToken) -> tuple[str, list[ModelEntry]]:
            from particleseg_app.models import list_models, remove_model

            remove_model(entry)
            return "", list_models()

        title = entry.card.title
        self._start(work, f"Removing {title}…", f"{title} could not be removed")

    # --- menus and dialogs ---------------------------------------------------------------------

    def _show_import_menu(self) -> None:
        where = self.import_button
        self.import_menu.popup(where.mapToGlobal(where.rect().bottomLeft()))

    def _show_more_menu(self) -> None:
        where = self.more_button
        self.more_menu.popup(where.mapToGlobal(where.rect().bottomLeft()))

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of the model", _last_folder())
        if folder:
            self.import_path(Path(folder))

    def _choose_zip(self) -> None:
        file, _ = QFileDialog.getOpenFileName(
            self, "ZIP file of the model", _last_folder(), "ZIP files (*.zip);;All files (*)"
        )
        if file:
            self.import_path(Path(file))

    def _ask_before_removal(self) -> None:
        entry = self.chosen
        if entry is None or self.removal_question is not None:
            return
        self.removal_question = Question(
            f"Remove the model “{entry.card.title}”?",
            "Finished runs keep their results; unfinished runs with this model cannot be "
            "continued.",
            "Remove",
            self,
        )
        self.removal_question.ask(
            self.remove_chosen, lambda: setattr(self, "removal_question", None)
        )

    # --- work ----------------------------------------------------------------------------------

    def _start(self, work: EngineFunction, state: str, complaint: str) -> None:
        self._task = task = Task(state, work)
        self._problem.clear()
        self._state.setText(state)
        task.finished.connect(self._on_done)
        task.failed.connect(lambda error: self._on_failed(complaint, error))
        self._show_state()
        task.start()
        self.changed.emit()

    def _on_done(self, result: tuple[str, list[ModelEntry]]) -> None:
        self._task = None
        name, models = result
        self.set_models(models, name)

    def _on_failed(self, complaint: str, error: Exception) -> None:
        self._task = None
        text = str(error)
        if not isinstance(error, UserError):
            reason = (error.strerror if isinstance(error, OSError) else "") or repr(error)
            text = f"{complaint} ({reason})."
        self._problem.setText(text)
        self._on_choice()

    def _on_choice(self) -> None:
        self._show_state()
        self.changed.emit()

    def _show_state(self) -> None:
        self.box.setEnabled(not self.busy)
        self.import_button.setEnabled(not self.busy)
        self.more_button.setVisible(self._can_be_removed() and not self.busy)
        self._state.setVisible(self.busy)
        self._bar.setVisible(self.busy)
        self._problem.setVisible(bool(self.problem) and not self.busy)

    def _can_be_removed(self) -> bool:
        from particleseg_app.models.model_folder import user_model_root

        return self.chosen is not None and self.chosen.folder.parent == user_model_root()


def _last_folder() -> str:
    return str(settings().value(LAST_FOLDER, ""))
