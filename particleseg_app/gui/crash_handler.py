"""Unexpected errors: written to the log file, and shown once in one calm dialog."""

from __future__ import annotations

import logging
import platform
import sys
import threading
import traceback
from logging.handlers import RotatingFileHandler
from types import TracebackType

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QDialog, QPlainTextEdit, QVBoxLayout, QWidget

from particleseg_app import __version__
from particleseg_app.gui.icons import icon
from particleseg_app.gui.reveal import reveal_in_file_manager
from particleseg_app.gui.style import button, label, row
from particleseg_app.user_folders import log_file

logger = logging.getLogger("particleseg_app")

LOG_BYTES = 2_000_000


def start_log() -> None:
    """Write warnings and errors of the program to its log file (kept below a few MB)."""
    path = log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=2, encoding="utf-8")
    except OSError:
        return  # A log that cannot be written must not keep the program from starting.
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class CrashHandler(QObject):
    """Takes over `sys.excepthook`; may be reached from any thread."""

    _arrived = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._dialog: CrashDialog | None = None
        self._arrived.connect(self._show, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception

    def report(self, error: BaseException) -> None:
        """Log and show an exception that nobody expected."""
        self._on_exception(type(error), error, error.__traceback__)

    def _on_thread_exception(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            self.report(arguments.exc_value)

    def _on_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        logger.critical("Unexpected error", exc_info=(kind, error, trace))
        details = "".join(traceback.format_exception(kind, error, trace))
        self._arrived.emit(f"{kind.__name__}: {error}".rstrip(": "), details)

    def _show(self, summary: str, details: str) -> None:
        if self._dialog is not None:
            self._dialog.add(details)
            return
        self._dialog = CrashDialog(summary, details, QApplication.activeWindow())
        self._dialog.finished.connect(self._forget)
        self._dialog.open()

    def _forget(self) -> None:
        if self._dialog is not None:
            self._dialog.deleteLater()
        self._dialog = None


class CrashDialog(QDialog):
    def __init__(self, summary: str, details: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Something went wrong")
        self._details = f"{_about_this_computer()}\n\n{details}"
        picture = label()
        picture.setPixmap(icon("warning").pixmap(32, 32))
        title = label("Something went wrong inside the program", "heading", wrap=True)
        text = label(
            "What you were doing may not have finished. Your scans and finished results are safe. "
            "You can go on working; if it happens again, please send the details to whoever "
            "looks after this program.",
            wrap=True,
        )
        brief = label(summary[:300], "muted", wrap=True)
        self._box = QPlainTextEdit(self._details)
        self._box.setReadOnly(True)
        self._box.setMinimumHeight(220)
        self._box.hide()
        self.details_button = button("Show details", self._toggle)
        self.copy_button = button("Copy details", self._copy)
        log_button = button("Show log file", lambda: reveal_in_file_manager(log_file()))
        close = button("Go on", self.accept, primary=True)
        close.setDefault(True)
        texts = QVBoxLayout()
        texts.setSpacing(8)
        texts.addWidget(title)
        texts.addWidget(text)
        texts.addWidget(brief)
        top = row(picture, spacing=16)
        top.setAlignment(picture, Qt.AlignmentFlag.AlignTop)
        top.addLayout(texts, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 20, 20, 16)
        layout.setSpacing(14)
        layout.addLayout(top)
        layout.addWidget(self._box, 1)
        layout.addLayout(row(self.details_button, self.copy_button, log_button, None, close))
        self.setMinimumWidth(600)

    def add(self, details: str) -> None:
        """A further error while the dialog is open joins the details instead of a new dialog."""
        self._details += f"\n\n{details}"
        self._box.setPlainText(self._details)

    def _toggle(self) -> None:
        self._box.setVisible(self._box.isHidden())
        hidden = self._box.isHidden()
        self.details_button.setText("Show details" if hidden else "Hide details")
        self.adjustSize()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._details)
        self.copy_button.setText("Copied")


def _about_this_computer() -> str:
    return f"ParticleSeg {__version__}, Python {platform.python_version()}, {platform.platform()}"
