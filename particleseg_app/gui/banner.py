"""What the program has to say, calmly: a strip above the content with a sentence and a remedy."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from particleseg_app.errors import UserError
from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.style import button, label, tool_button

SUCCESS_MS = 12_000


class Banner(QWidget):
    """One message at a time; errors stay until closed, good news leaves by itself."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame = QFrame()
        self._frame.setObjectName("banner")
        self._kind = "info"
        self._picture = QLabel()
        self._sentence = label("", wrap=True)
        self._sentence.setStyleSheet("font-weight: 600")
        self._remedy = label("", wrap=True)
        for text in (self._sentence, self._remedy):
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._action: Callable[[], object] | None = None
        self.action_button = button("", self._run_action)
        self.close_button = tool_button("close", "Close this message", self.hide)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._sentence)
        texts.addWidget(self._remedy)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(8, 8, 8, 8)
        outer.addWidget(self._frame)
        layout = QHBoxLayout(self._frame)
        layout.setContentsMargins(14, 10, 10, 10)
        layout.setSpacing(12)
        layout.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(texts, 1)
        layout.addWidget(self.action_button, 0, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.hide)
        theme.notifier.changed.connect(self._colour)
        self.hide()

    @property
    def text(self) -> str:
        """What is shown now, empty while nothing is."""
        return "" if self.isHidden() else f"{self._sentence.text()} {self._remedy.text()}".strip()

    def show_error(
        self,
        error: UserError,
        action_text: str = "",
        action: Callable[[], object] | None = None,
    ) -> None:
        self._show("error", error.sentence, error.remedy, action_text, action)

    def show_success(
        self,
        sentence: str,
        detail: str = "",
        action_text: str = "",
        action: Callable[[], object] | None = None,
    ) -> None:
        self._show("success", sentence, detail, action_text, action)
        self._timer.start(SUCCESS_MS)

    def show_info(
        self,
        sentence: str,
        detail: str = "",
        action_text: str = "",
        action: Callable[[], object] | None = None,
    ) -> None:
        self._show("info", sentence, detail, action_text, action)

    def _show(
        self,
        kind: str,
        sentence: str,
        detail: str,
        action_text: str = "",
        action: Callable[[], object] | None = None,
    ) -> None:
        self._timer.stop()
        self._kind = kind
        self._sentence.setText(sentence)
        self._remedy.setText(detail)
        self._remedy.setVisible(bool(detail))
        self._action = action
        self.action_button.setText(action_text)
        self.action_button.setVisible(action is not None)
        self._colour()
        self.show()

    def _run_action(self) -> None:
        action = self._action
        self.hide()
        if action is not None:
            action()

    def _colour(self) -> None:
        colours = theme.current()
        front, back, name = {
            "error": (colours.error, colours.error_background, "warning"),
            "success": (colours.success, colours.panel, "done"),
            "info": (colours.accent, colours.panel, "info"),
        }[self._kind]
        self._picture.setPixmap(icon(name, front).pixmap(20, 20))
        self._frame.setStyleSheet(
            f"#banner {{background: {back}; border: 1px solid {front}; border-radius: 7px}}"
        )
