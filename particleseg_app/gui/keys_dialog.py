"""Every key of the window on one page."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from particleseg_app.gui.review.tool_panel import TOOLS
from particleseg_app.gui.style import button, label, row
from particleseg_app.gui.viewers.slices_help import HELP

Keys = tuple[tuple[str, str], ...]

IN_SLICES: Keys = (*HELP, ("+ and –", "zoom"))
IN_LISTS: Keys = (
    ("Ctrl + C", "copy the marked rows of the table"),
    ("F2", "rename the scan or run chosen"),
    ("Delete", "remove the scan or run chosen"),
)
IN_REVIEW: Keys = (
    ("Enter or A", "do what is proposed"),
    ("R", "right as it is"),
    ("N, P", "next, previous case"),
    ("Ctrl + Z", "undo"),
    ("Ctrl + Shift + Z", "redo"),
    ("Esc", "drop the drawing, the tool, go back"),
)


class KeysDialog(QDialog):
    """The keys of the window's `actions`, and those of slices, lists and review."""

    def __init__(self, actions: Iterable[QAction], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        tools: Keys = tuple((spec.key, spec.text.lower()) for spec in TOOLS)
        columns = (
            (("Program", keys_of(actions)),),
            (("Slices", IN_SLICES), ("Table and project", IN_LISTS)),
            (("Review", IN_REVIEW), ("Mending tools", tools)),
        )
        beside = QHBoxLayout()
        beside.setSpacing(36)
        for groups in columns:
            column = QVBoxLayout()
            column.setSpacing(8)
            for title, keys in groups:
                column.addWidget(label(title, "heading"))
                column.addLayout(_table(keys))
                column.addSpacing(12)
            column.addStretch(1)
            beside.addLayout(column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 18)
        layout.addLayout(beside)
        layout.addLayout(row(None, button("Close", self.accept, primary=True)))


def keys_of(actions: Iterable[QAction]) -> Keys:
    """The keys of actions as people write them, and what they do: Ctrl + O."""
    shown = []
    for action in actions:
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        text = action.text().rstrip("…")
        shown.append((keys.replace("+", " + "), text[0].lower() + text[1:]))
    return tuple(shown)


def _table(keys: Keys) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(5)
    grid.setColumnStretch(1, 1)
    for number, (key, effect) in enumerate(keys):
        name = label(key)
        name.setStyleSheet("font-weight: 600")
        for column, text in enumerate((name, label(effect, "muted"))):
            grid.addWidget(text, number, column, Qt.AlignmentFlag.AlignTop)
    return grid
