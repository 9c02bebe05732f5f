"""A project that is open for reading only: why, in words, and the quiet line that says so."""

from __future__ import annotations

from datetime import datetime

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from particleseg_app.errors import ProjectError
from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.question import Question
from particleseg_app.gui.style import button, label, line
from particleseg_app.projects import LockHolder, ProjectLockedError

READ_ONLY = "The project is open for reading only, so it cannot be changed."


def who_has_it_open(holder: LockHolder | None, name: str) -> str:
    """Who has a project open, where and since when: “anna has Sand open on lab-pc-3 since
    26 November, 12:03”. `name`: what to call the project."""
    if holder is None:
        return f"Another program has {name} open"
    where = "in another window on this computer" if holder.here else f"on {holder.host}"
    try:
        since = f" since {datetime.fromisoformat(holder.time).strftime('%d %B, %H:%M').lstrip('0')}"
    except ValueError:
        since = ""
    return f"{holder.user} has {name} open {where}{since}"


def why_read_only(error: ProjectError) -> str:
    """Why a project was opened for reading only, in a sentence."""
    if isinstance(error, ProjectLockedError):
        return f"Open for reading only: {who_has_it_open(error.holder, 'it')}."
    return "Open for reading only: the project’s folder cannot be written to."


def read_only_question(name: str, error: ProjectError, parent: QWidget) -> Question:
    """Another program has the project called `name` open: look at it nevertheless?"""
    holder = error.holder if isinstance(error, ProjectLockedError) else None
    return Question(
        "Open the project for reading only?",
        f"{who_has_it_open(holder, f'“{name}”')}."
        + (f" {error.remedy}" if holder is not None and not holder.here else ""),
        "Open for reading only",
        parent,
        harmless=True,
    )


class ReadOnlyLine(QFrame):
    """Stands above the page as long as a project is open for reading only."""

    changes_wanted = Signal()  # to open the project for changes

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "bar")
        self._picture = QLabel()
        self._text = label("", "muted")
        self._text.setTextFormat(Qt.TextFormat.PlainText)  # a lock file may hold anything
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.changes_button = button("Open for changes", self.changes_wanted.emit, quiet=True)
        self.changes_button.setToolTip("Try again whether the project can be changed now")
        inside = QHBoxLayout()
        inside.setContentsMargins(16, 4, 12, 4)
        inside.setSpacing(8)
        inside.addWidget(self._picture)
        inside.addWidget(self._text, 1)
        inside.addWidget(self.changes_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(inside)
        layout.addWidget(line())
        theme.notifier.changed.connect(self._colour)
        self._colour()
        self.hide()

    @property
    def text(self) -> str:
        """What is shown now, empty while nothing is."""
        return "" if self.isHidden() else self._text.text()

    def show_reason(self, reason: str) -> None:
        """Show why the project cannot be changed; empty where it can be."""
        self._text.setText(reason)
        self.setVisible(bool(reason))

    def _colour(self) -> None:
        self._picture.setPixmap(icon("lock", theme.current().muted).pixmap(16, 16))
