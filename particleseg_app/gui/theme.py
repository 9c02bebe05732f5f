"""How the program looks: colours for light and dark, spacing, and one modest style sheet.

Widgets that paint themselves read `current()` while painting and repaint when
`notifier.changed` is emitted. Style sheet hooks, set with `widget.setProperty(...)`:

- ``role`` of a QLabel: ``title``, ``heading``, ``muted``, ``warning``, ``error``, ``success``;
- ``role`` of a QFrame: ``card`` (panel with a thin border), ``bar`` (header strip of a view);
- ``primary`` of a QPushButton: the one button that goes on;
- ``quiet`` of a QPushButton or QToolButton: no frame until the mouse is over it.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QWidget

SPACING = 8
MARGIN = 16
RADIUS = 5


@dataclass(frozen=True)
class Colours:
    """The colours of one theme as ``#rrggbb``. The canvas of images is dark in both themes."""

    dark: bool
    background: str
    panel: str
    raised: str
    border: str
    text: str
    muted: str
    accent: str
    accent_text: str
    selection: str
    warning: str
    warning_background: str
    error: str
    error_background: str
    success: str
    canvas: str = "#121518"
    canvas_text: str = "#e8ecef"
    canvas_muted: str = "#98a2ab"
    canvas_shade: str = "#000000"
    measure: str = "#ffd54a"
    axis_z: str = "#5b9cf0"
    axis_y: str = "#79c267"
    axis_x: str = "#ef7b6c"

    @property
    def axes(self) -> tuple[str, str, str]:
        """Colours of the axes in the order (z, y, x)."""
        return self.axis_z, self.axis_y, self.axis_x


LIGHT = Colours(
    dark=False,
    background="#f3f5f7",
    panel="#ffffff",
    raised="#e9edf1",
    border="#cfd6dd",
    text="#1c2329",
    muted="#5a6671",
    accent="#0b6bb8",
    accent_text="#ffffff",
    selection="#d3e6f6",
    warning="#8a5300",
    warning_background="#fdf1dc",
    error="#b3261e",
    error_background="#fbe6e4",
    success="#1f7a3d",
)

DARK = Colours(
    dark=True,
    background="#1d2125",
    panel="#262b30",
    raised="#31373d",
    border="#3c444b",
    text="#e6eaed",
    muted="#9fa9b2",
    accent="#4aa3e8",
    accent_text="#0c1218",
    selection="#26496a",
    warning="#f0b75e",
    warning_background="#3b3020",
    error="#ff8a80",
    error_background="#43282a",
    success="#6fcf8b",
)


class Notifier(QObject):
    """Tells widgets that paint themselves that the colours are others now."""

    changed = Signal()


notifier = Notifier()


class _State:
    """The one theme of the process."""

    colours: Colours = LIGHT
    follows_system: bool = False
    listening: bool = False


_state = _State()


def current() -> Colours:
    """Colours of the theme in use."""
    return _state.colours


def apply_theme(app: QApplication, dark: bool | None = None) -> None:
    """Give the whole program its look; `dark` None follows the system, now and later."""
    _state.follows_system = dark is None
    hints = app.styleHints()
    if dark is None:
        dark = hints.colorScheme() == Qt.ColorScheme.Dark
        if not _state.listening:
            _state.listening = True
            hints.colorSchemeChanged.connect(lambda _scheme: _follow_system(app))
    colours = DARK if dark else LIGHT
    sheet = _style_sheet(colours)
    if app.styleSheet() == sheet:
        return  # every widget there is would be gone through for nothing
    _state.colours = colours
    app.setStyle("Fusion")
    app.setPalette(_palette(colours))
    app.setStyleSheet(sheet)
    notifier.changed.emit()


def _follow_system(app: QApplication) -> None:
    if _state.follows_system:
        apply_theme(app, None)


def set_role(widget: QWidget, role: str) -> None:
    """Give a widget a role of the style sheet, also after it was shown."""
    if widget.property("role") == role:
        return
    widget.setProperty("role", role)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def colour(value: str, opacity: float = 1.0) -> QColor:
    """A QColor of ``#rrggbb`` with an opacity from 0 to 1."""
    result = QColor(value)
    result.setAlphaF(opacity)
    return result


def _palette(c: Colours) -> QPalette:
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: c.background,
        QPalette.ColorRole.WindowText: c.text,
        QPalette.ColorRole.Base: c.panel,
        QPalette.ColorRole.AlternateBase: c.background,
        QPalette.ColorRole.Text: c.text,
        QPalette.ColorRole.PlaceholderText: c.muted,
        QPalette.ColorRole.Button: c.raised,
        QPalette.ColorRole.ButtonText: c.text,
        QPalette.ColorRole.BrightText: c.error,
        QPalette.ColorRole.ToolTipBase: c.panel,
        QPalette.ColorRole.ToolTipText: c.text,
        QPalette.ColorRole.Highlight: c.accent,
        QPalette.ColorRole.HighlightedText: c.accent_text,
        QPalette.ColorRole.Accent: c.accent,
        QPalette.ColorRole.Link: c.accent,
        QPalette.ColorRole.LinkVisited: c.accent,
        QPalette.ColorRole.Mid: c.border,
        QPalette.ColorRole.Light: c.panel if not c.dark else c.border,
        QPalette.ColorRole.Dark: c.border,
    }
    for role, value in roles.items():
        palette.setColor(role, QColor(value))
    disabled = QPalette.ColorGroup.Disabled
    faint = QColor(c.muted)
    faint.setAlphaF(0.65)
    for role in (
        QPalette.ColorRole.WindowText,
        QPalette.ColorRole.Text,
        QPalette.ColorRole.ButtonText,
    ):
        palette.setColor(disabled, role, faint)
    palette.setColor(disabled, QPalette.ColorRole.Highlight, QColor(c.border))
    return palette


def _style_sheet(c: Colours) -> str:
    return f"""
QToolTip {{ background: {c.panel}; color: {c.text}; border: 1px solid {c.border};
    padding: 4px 6px; }}
QLabel[role="title"] {{ font-size: 18pt; font-weight: 600; }}
QLabel[role="heading"] {{ font-size: 12pt; font-weight: 600; }}
QLabel[role="muted"] {{ color: {c.muted}; }}
QLabel[role="warning"] {{ color: {c.warning}; background: {c.warning_background};
    border-radius: {RADIUS}px; padding: 6px 10px; }}
QLabel[role="error"] {{ color: {c.error}; background: {c.error_background};
    border-radius: {RADIUS}px; padding: 6px 10px; }}
QLabel[role="success"] {{ color: {c.success}; }}
QFrame[role="card"] {{ background: {c.panel}; border: 1px solid {c.border};
    border-radius: {RADIUS + 2}px; }}
QFrame[role="bar"] {{ background: {c.panel}; border: none; }}

QPushButton {{ background: {c.raised}; color: {c.text}; border: 1px solid {c.border};
    border-radius: {RADIUS}px; padding: 5px 14px; min-height: 18px; }}
QPushButton:hover {{ border-color: {c.accent}; }}
QPushButton:focus {{ border-color: {c.accent}; }}
QPushButton:pressed {{ background: {c.border}; }}
QPushButton:checked {{ background: {c.selection}; border-color: {c.accent}; }}
QPushButton:disabled {{ color: {c.muted}; background: {c.background}; }}
QPushButton[primary="true"] {{ background: {c.accent}; color: {c.accent_text};
    border-color: {c.accent}; font-weight: 600; }}
QPushButton[primary="true"]:hover, QPushButton[primary="true"]:focus {{
    border: 1px solid {c.text}; }}
QPushButton[primary="true"]:disabled {{ background: {c.raised}; color: {c.muted};
    border-color: {c.border}; }}
QPushButton[quiet="true"] {{ background: transparent; border-color: transparent; }}
QPushButton[quiet="true"]:hover, QPushButton[quiet="true"]:focus {{
    border-color: {c.border}; background: {c.raised}; }}
QPushButton[quiet="true"]:checked {{ background: {c.selection}; border-color: {c.accent}; }}
QToolButton {{ background: transparent; border: 1px solid transparent;
    border-radius: {RADIUS}px; padding: 3px 6px; color: {c.text}; }}
QToolButton:hover, QToolButton:focus {{ background: {c.raised}; border-color: {c.border}; }}
QToolButton:checked {{ background: {c.selection}; border-color: {c.accent}; }}
QToolButton:disabled {{ color: {c.muted}; }}

QLineEdit, QPlainTextEdit {{ background: {c.panel}; border: 1px solid {c.border};
    border-radius: {RADIUS}px; padding: 4px 6px; selection-background-color: {c.accent};
    selection-color: {c.accent_text}; }}
QLineEdit {{ min-height: 20px; }}
QLineEdit:focus, QPlainTextEdit:focus {{ border-color: {c.accent}; }}
QLineEdit[invalid="true"] {{ border-color: {c.error}; }}

QAbstractSpinBox, QComboBox {{ min-height: 26px; }}

QTableView, QListView, QTreeView {{ background: {c.panel}; border: 1px solid {c.border};
    alternate-background-color: {c.background}; gridline-color: {c.border};
    selection-background-color: {c.selection}; selection-color: {c.text}; outline: 0; }}
QHeaderView {{ background: {c.raised}; }}
QHeaderView::section {{ background: {c.raised}; color: {c.text}; border: none;
    border-right: 1px solid {c.border}; border-bottom: 1px solid {c.border};
    padding: 5px 8px; font-weight: 600; }}
QTableCornerButton::section {{ background: {c.raised}; border: none; }}

QProgressBar {{ background: {c.raised}; border: none; border-radius: 4px; height: 8px;
    color: {c.text}; text-align: center; }}
QProgressBar::chunk {{ background: {c.accent}; border-radius: 4px; }}

QSlider::groove:horizontal {{ height: 4px; background: {c.border}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {c.accent}; border-radius: 2px; }}
QSlider::handle:horizontal {{ background: {c.panel}; border: 2px solid {c.accent};
    width: 10px; height: 10px; margin: -5px 0; border-radius: 7px; }}
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus {{
    background: {c.accent}; }}
QSlider::sub-page:horizontal:disabled {{ background: {c.border}; }}
QSlider::handle:horizontal:disabled {{ border-color: {c.border}; }}

QTabWidget::pane {{ border: none; border-top: 1px solid {c.border}; }}
QTabBar::tab {{ background: transparent; color: {c.muted}; padding: 7px 14px;
    border: none; border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {c.text}; border-bottom-color: {c.accent}; }}
QTabBar::tab:hover {{ color: {c.text}; }}

QSplitter::handle {{ background: {c.border}; }}
QSplitter::handle:horizontal {{ width: 1px; }}
QSplitter::handle:vertical {{ height: 1px; }}
QScrollBar:vertical {{ background: transparent; width: 12px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: 12px; margin: 0; }}
QScrollBar::handle {{ background: {c.border}; border-radius: 4px; margin: 2px; }}
QScrollBar::handle:vertical {{ min-height: 28px; }}
QScrollBar::handle:horizontal {{ min-width: 28px; }}
QScrollBar::handle:hover {{ background: {c.muted}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}

QMenuBar {{ background: {c.background}; }}
QMenuBar::item {{ padding: 4px 10px; background: transparent; }}
QMenuBar::item:selected {{ background: {c.raised}; border-radius: {RADIUS}px; }}
QMenu {{ background: {c.panel}; border: 1px solid {c.border}; padding: 4px; }}
QMenu::item {{ padding: 5px 24px 5px 14px; border-radius: {RADIUS}px; }}
QMenu::item:selected {{ background: {c.selection}; color: {c.text}; }}
QMenu::item:disabled {{ color: {c.muted}; }}
QMenu::separator {{ height: 1px; background: {c.border}; margin: 4px 8px; }}
QStatusBar {{ background: {c.background}; color: {c.muted}; }}
QStatusBar::item {{ border: none; }}
"""
