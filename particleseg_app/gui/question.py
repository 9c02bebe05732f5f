"""A question with two answers, asked before something that the user might regret."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QVBoxLayout, QWidget

from particleseg_app.gui.style import button, label, row

_WIDTH = 460


class Question(QDialog):
    """`title` asks, `text` says what follows. Enter gives the answer that is emphasised: to keep
    everything as it is, or with `harmless` to agree. Esc always keeps it."""

    def __init__(
        self,
        title: str,
        text: str,
        agree: str,
        parent: QWidget,
        keep: str = "Cancel",
        harmless: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("ParticleSeg")
        self.title, self.text = label(title, "heading", wrap=True), label(text, wrap=True)
        for words in (self.title, self.text):
            words.setTextFormat(Qt.TextFormat.PlainText)  # names in it may hold anything
        self.text.setVisible(bool(text))
        self.agree_button = button(agree, self.accept, primary=harmless)
        self.keep_button = button(keep, self.reject, primary=not harmless)
        default = self.agree_button if harmless else self.keep_button
        default.setDefault(True)
        default.setFocus()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 22, 24, 18)
        layout.setSpacing(10)
        layout.addWidget(self.title)
        layout.addWidget(self.text)
        layout.addStretch(1)
        layout.addSpacing(8)
        layout.addLayout(row(None, self.keep_button, self.agree_button))
        self.setFixedWidth(_WIDTH)

    def ask(self, agreed: Callable[[], object], ended: Callable[[], object]) -> None:
        """Open it and go on; `ended` is called with either answer, then `agreed` with yes."""

        def on_answer(answer: int) -> None:
            ended()
            if answer == QDialog.DialogCode.Accepted:
                agreed()
            self.deleteLater()

        self.finished.connect(on_answer)
        self.open()
