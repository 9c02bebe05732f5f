"""What mouse and keys do in the slices, for a place that nothing else is in."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QSizePolicy

from particleseg_app.gui import theme

HELP = (
    ("Scroll", "other slices"),
    ("Ctrl + scroll", "zoom"),
    ("Click or drag", "move the cross-hair"),
    ("Right drag", "move the picture"),
    ("Double click", "bring to the middle"),
    ("Page keys", "other slices"),
    ("Arrow keys", "move the cross-hair"),
    ("Home", "show the whole scan"),
)


def slices_help() -> QFrame:
    """A quiet table of what mouse and keys do."""
    frame = QFrame()
    frame.setProperty("role", "bar")
    rows = QGridLayout()
    rows.setHorizontalSpacing(2 * theme.SPACING)
    rows.setVerticalSpacing(theme.SPACING // 2)
    for row, (what, effect) in enumerate(HELP):
        name = QLabel(what)
        name.setStyleSheet("font-weight: 600;")
        meaning = QLabel(effect)
        meaning.setProperty("role", "muted")
        rows.addWidget(name, row, 0)
        rows.addWidget(meaning, row, 1)
    layout = QGridLayout(frame)
    layout.addLayout(rows, 1, 1)
    for side in (0, 2):
        layout.setRowStretch(side, 1)
        layout.setColumnStretch(side, 1)
    frame.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
    return frame
