"""Small building blocks that every page uses: labels by role, cards, buttons, rows."""

from __future__ import annotations

import html
from collections.abc import Callable

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon, resources_folder


def label(text: str = "", role: str = "", wrap: bool = False) -> QLabel:
    """A text of one of the theme's roles (title, heading, muted, warning, error, success)."""
    result = QLabel(text)
    result.setTextFormat(Qt.TextFormat.PlainText)  # names may hold anything
    if role:
        result.setProperty("role", role)
    if wrap:
        result.setWordWrap(True)
        # A wrapped label asks for the height its text needs at the width it gets.
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        result.setSizePolicy(policy)
    result.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
    return result


class OneLine(QLabel):
    """A text on one line that shortens itself in the middle where it finds no room, as a long name
    may; all of it is its tooltip."""

    def __init__(self, text: str = "", role: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        if role:
            self.setProperty("role", role)
        self._whole = ""
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802
        self._whole = text
        self.setAccessibleName(text)
        self.updateGeometry()
        self._fit()

    def sizeHint(self) -> QSize:  # noqa: N802
        margins = self.contentsMargins()
        width = self.fontMetrics().horizontalAdvance(self._whole) + 2
        return QSize(width + margins.left() + margins.right(), super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(60, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def _fit(self) -> None:
        room = self.contentsRect().width()
        middle = Qt.TextElideMode.ElideMiddle
        shown = self.fontMetrics().elidedText(self._whole, middle, max(room, 20))
        super().setText(shown)
        self.setToolTip(plain_tip(self._whole) if shown != self._whole else "")


def plain_tip(text: str) -> str:
    """A text from a file as a tooltip, which would otherwise show pictures and links in it."""
    if not text:
        return ""
    return f"<p>{html.escape(text)}</p>".replace("\n\n", "</p><p>").replace("\n", "<br>")


def button(
    text: str,
    clicked: Callable[[], object] | None = None,
    *,
    icon_name: str = "",
    primary: bool = False,
    quiet: bool = False,
) -> QPushButton:
    result = QPushButton(text)
    if icon_name:
        result.setIcon(icon(icon_name))
    if primary:
        result.setProperty("primary", True)
    if quiet:
        result.setProperty("quiet", True)
    if clicked is not None:
        result.clicked.connect(lambda _checked=False: clicked())
    return result


def tool_button(
    icon_name: str, tip: str, clicked: Callable[[], object] | None = None
) -> QToolButton:
    """A small frameless button with an icon; `tip` is its name for screen readers too."""
    result = QToolButton()
    result.setIcon(icon(icon_name))
    result.setToolTip(tip)
    result.setAccessibleName(tip)
    result.setAutoRaise(True)
    if clicked is not None:
        result.clicked.connect(lambda _checked=False: clicked())
    return result


def controls_style() -> str:
    """Style sheet of a window for what the theme leaves to Qt: tick boxes and radio buttons."""
    colours = theme.current()
    mark = "check-on-light" if colours.dark else "check-on-dark"
    picture = (resources_folder() / "icons" / f"{mark}.svg").as_posix()
    ground = "dark" if colours.dark else "light"
    chevron = (resources_folder() / "icons" / f"chevron-on-{ground}.svg").as_posix()
    return f"""
QCheckBox, QRadioButton {{ spacing: 8px; background: transparent; }}
QCheckBox::indicator, QRadioButton::indicator {{ width: 14px; height: 14px;
    border: 1px solid {colours.muted}; background: {colours.panel}; }}
QCheckBox::indicator {{ border-radius: 3px; }}
QRadioButton::indicator {{ border-radius: 8px; }}
QCheckBox::indicator:hover, QRadioButton::indicator:hover,
QCheckBox::indicator:focus, QRadioButton::indicator:focus {{ border-color: {colours.accent}; }}
QCheckBox::indicator:checked {{ background: {colours.accent}; border-color: {colours.accent};
    image: url("{picture}"); }}
QRadioButton::indicator:checked {{ border: 5px solid {colours.accent};
    width: 6px; height: 6px; background: {colours.accent_text}; }}
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled {{
    border-color: {colours.border}; background: {colours.raised}; }}
QComboBox {{ background: {colours.panel}; color: {colours.text};
    border: 1px solid {colours.border}; border-radius: 5px; padding: 2px 8px; }}
QAbstractSpinBox {{ background: {colours.panel}; color: {colours.text};
    border: 1px solid {colours.border}; border-radius: 5px; padding: 1px 4px;
    min-height: 23px; }}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{
    subcontrol-origin: border; width: 0; border: none; }}
QAbstractSpinBox:focus {{ border-color: {colours.accent}; }}
QAbstractSpinBox:disabled {{ color: {colours.muted}; }}
QAbstractSpinBox QLineEdit {{ background: transparent; border: none; padding: 0;
    min-height: 0; }}
QComboBox:hover, QComboBox:focus {{ border-color: {colours.accent}; }}
QComboBox:disabled {{ background: {colours.raised}; color: {colours.muted}; }}
QComboBox::drop-down {{ border: none; width: 24px; }}
QComboBox::down-arrow {{ image: url("{chevron}"); width: 12px; height: 12px; }}
QComboBox QAbstractItemView {{ background: {colours.panel}; border: 1px solid {colours.border};
    selection-background-color: {colours.selection}; selection-color: {colours.text}; }}
"""


def trim_number_box(box: QAbstractSpinBox) -> None:
    """Make a box for a number look like the fields for text: without arrows, with their margins."""
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.lineEdit().setTextMargins(5, 0, 5, 0)


class Card(QFrame):
    """A panel with a thin border; widgets go into `body`."""

    def __init__(self, title: str = "", spacing: int = 8, margin: int = 16) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(margin, margin - 2, margin, margin)
        self.body.setSpacing(spacing)
        if title:
            self.body.addWidget(label(title, "heading"))


def row(*widgets: QWidget | int | None, spacing: int = 8) -> QHBoxLayout:
    """Widgets beside each other; None is a stretch, a number a gap in pixels."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for widget in widgets:
        if widget is None:
            layout.addStretch(1)
        elif isinstance(widget, int):
            layout.addSpacing(widget)
        else:
            layout.addWidget(widget)
    return layout


def line() -> QFrame:
    """A thin line between parts of a panel."""
    result = QFrame()
    result.setFixedHeight(1)
    result.setStyleSheet("background: palette(mid); border: none;")
    return result
