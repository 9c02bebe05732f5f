"""The column on the right of the review: the case, or the end of them, and the tools."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from particleseg_app.gui.review.case_card import CaseCard
from particleseg_app.gui.review.end_card import EndCard
from particleseg_app.gui.review.tool_panel import ToolPanel
from particleseg_app.gui.style import button, label

SIDE_WIDTH = 372
# A key and what it does stay on one line.
KEYS = " · ".join(
    text.replace(" ", "\u00a0")
    for text in ("Enter accept", "R right as it is", "N next", "P previous", "Ctrl+Z undo")
)


class SideColumn(QFrame):
    """Scrolls where the window is low; the cards keep clear of the scroll bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        self.card = CaseCard()
        self.end_card = EndCard()
        self.end_card.hide()
        self.tools = ToolPanel()
        self.keys_text = label(KEYS, "muted", wrap=True)
        self.patch_button = button("Save as training patch…", quiet=True)
        self.patch_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.patch_button.setToolTip(
            "Keep what is shown, with its labels, for training a model of your own"
        )
        self.patch_text = label("", "success", wrap=True)
        self.patch_text.hide()
        inside = QWidget()
        inside_layout = QVBoxLayout(inside)
        inside_layout.setContentsMargins(10, 10, 10, 10)
        inside_layout.setSpacing(10)
        for widget in (
            self.card, self.end_card, self.tools, self.keys_text, self.patch_button,
            self.patch_text,
        ):  # fmt: skip
            inside_layout.addWidget(widget)
        inside_layout.addStretch(1)
        self.scroll_area = scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the pictures keep the keyboard
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        scroll.setStyleSheet(
            "QScrollArea, QScrollArea > QWidget > QWidget {background: transparent}"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        self.setMinimumWidth(SIDE_WIDTH + scroll.verticalScrollBar().sizeHint().width())
