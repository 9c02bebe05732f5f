"""The first page: drop a scan, or go on with a recent project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from particleseg_app.gui.drop_zone import DropZone
from particleseg_app.gui.reveal import file_manager_words
from particleseg_app.gui.style import label, tool_button

COLUMN_WIDTH = 780
ROW_HEIGHT = 52
ROWS_SHOWN = 5
ZONE_HEIGHT = 560  # at most: on a large screen the zone would be a pillar


class Recent(Protocol):
    """What the list shows of a project that was open lately."""

    @property
    def folder(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def opened_at(self) -> str: ...
    @property
    def exists(self) -> bool: ...


class StartPage(QWidget):
    folder_wanted = Signal()
    file_wanted = Signal()
    project_wanted = Signal()
    recent_opened = Signal(object)  # Path
    recent_removed = Signal(object)  # Path
    recent_revealed = Signal(object)  # Path

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.drop_zone = DropZone()
        self.drop_zone.setMaximumHeight(ZONE_HEIGHT)
        self.drop_zone.folder_wanted.connect(self.folder_wanted)
        self.drop_zone.file_wanted.connect(self.file_wanted)
        self.drop_zone.project_wanted.connect(self.project_wanted)
        self._recent_title = label("Recent projects", "heading")
        self._list = QFrame()
        self._list.setProperty("role", "card")
        self._rows = QVBoxLayout(self._list)
        self._rows.setContentsMargins(4, 4, 4, 4)
        self._rows.setSpacing(0)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.viewport().setObjectName("recentView")
        self._scroll.setWidget(self._list)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._scroll.setStyleSheet("QScrollArea, #recentView {background: none}")

        column = QWidget()
        column.setMaximumWidth(COLUMN_WIDTH)
        inner = QVBoxLayout(column)
        inner.setContentsMargins(24, 40, 24, 24)
        inner.setSpacing(6)
        inner.addStretch(2)
        inner.addWidget(label("Particles from micro-CT scans", "title"))
        inner.addWidget(
            label("Find, separate and measure every particle of a scan, up to a table.", "muted")
        )
        inner.addSpacing(16)
        inner.addWidget(self.drop_zone, 1000)
        inner.addSpacing(20)
        inner.addWidget(self._recent_title)
        inner.addSpacing(2)
        inner.addWidget(self._scroll)
        inner.addStretch(3)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addStretch(1)
        layout.addWidget(column, 1000)
        layout.addStretch(1)
        self.set_recent([])

    def set_recent(self, projects: Sequence[Recent]) -> None:
        """Show the projects that were open lately, the last one first."""
        while (item := self._rows.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()  # it may be drawn once more before it goes
                widget.deleteLater()
        for project in projects:
            line = _RecentRow(project)
            line.opened.connect(self.recent_opened)
            line.removed.connect(self.recent_removed)
            line.revealed.connect(self.recent_revealed)
            self._rows.addWidget(line)
        shown = min(len(projects), ROWS_SHOWN)
        self._scroll.setFixedHeight(shown * ROW_HEIGHT + 10)
        self._recent_title.setVisible(bool(projects))
        self._scroll.setVisible(bool(projects))


class _RecentRow(QFrame):
    opened = Signal(object)
    removed = Signal(object)
    revealed = Signal(object)

    def __init__(self, project: Recent) -> None:
        super().__init__()
        self._folder = project.folder
        self._exists = project.exists
        self.setFixedHeight(ROW_HEIGHT)
        self.setObjectName("recentRow")
        self.setStyleSheet(
            "#recentRow {border: none; border-radius: 6px}"
            "#recentRow:hover, #recentRow:focus {background: palette(button)}"
        )
        name = label(project.name)
        name.setStyleSheet("font-weight: 600")
        where = label(_short_path(project.folder), "muted")
        where.setToolTip(str(project.folder))
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(name)
        texts.addWidget(where)
        when = label(_when(project.opened_at) if project.exists else "not found", "muted")
        reveal = tool_button(
            "reveal", file_manager_words(), lambda: self.revealed.emit(self._folder)
        )
        remove = tool_button(
            "close",
            "Take off this list (the project itself stays)",
            lambda: self.removed.emit(self._folder),
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(texts, 1)
        layout.addWidget(when)
        layout.addSpacing(8)
        layout.addWidget(reveal)
        layout.addWidget(remove)
        if project.exists:
            self.setCursor(Qt.CursorShape.PointingHandCursor)
            self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.setAccessibleName(f"Open {project.name}")
        else:
            name.setEnabled(False)
            reveal.setEnabled(False)
            self.setToolTip("The folder was moved or deleted, or its drive is not connected.")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        left = event.button() == Qt.MouseButton.LeftButton
        if left and self._exists and self.rect().contains(event.position().toPoint()):
            self.opened.emit(self._folder)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self._exists:
            self.opened.emit(self._folder)
        else:
            super().keyPressEvent(event)


def _short_path(path: Path) -> str:
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except ValueError:
        return str(path)


def _when(moment: str) -> str:
    """A moment (ISO 8601) as people say it: today, yesterday, 5 days ago, 3 May 2026."""
    try:
        then = datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    then = then.astimezone()
    days = (datetime.now().astimezone().date() - then.date()).days
    if days <= 0:
        return f"today, {then:%H:%M}"
    if days == 1:
        return "yesterday"
    return f"{days} days ago" if days < 14 else f"{then.day} {then:%B %Y}"
