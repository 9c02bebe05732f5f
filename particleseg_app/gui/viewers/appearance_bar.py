"""The controls of how particles look: what they are coloured by, and what is hidden."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from particleseg_app.gui.formats import format_count, plural
from particleseg_app.gui.icons import icon
from particleseg_app.gui.viewers.appearance import ParticleAppearance

COMBO_WIDTH = 172


class AppearanceBar(QWidget):
    """Signals: `hide_wanted` and `isolate_wanted` of the particles chosen, and `phases_wanted`."""

    hide_wanted = Signal()
    isolate_wanted = Signal()
    phases_wanted = Signal()

    def __init__(self, appearance: ParticleAppearance, keys_in: QWidget) -> None:
        """The keys H, I and Shift+H work while the focus is in `keys_in`."""
        super().__init__()
        self._appearance = appearance
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.choice = QComboBox()
        self.choice.setFixedWidth(COMBO_WIDTH)
        self.choice.setMaxVisibleItems(24)
        self.choice.setAccessibleName("Colour particles by")
        self.choice.setToolTip("What the colours of the particles stand for")
        self.choice.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.choice.activated.connect(self._choose)
        self.hide_action = self._action("Hide", "H", keys_in)
        self.hide_action.triggered.connect(lambda _on=False: self.hide_wanted.emit())
        self.isolate_action = self._action("Isolate with its neighbours", "I", keys_in)
        self.isolate_action.triggered.connect(lambda _on=False: self.isolate_wanted.emit())
        self.show_all_action = self._action("Show hidden particles", "Shift+H", keys_in)
        self.show_all_action.triggered.connect(lambda _on=False: appearance.show_all())
        self.only_table_action = QAction("Only those in the table", self)
        self.only_table_action.setCheckable(True)
        self.only_table_action.setToolTip("Hide the particles that the table’s filter leaves out")
        self.only_table_action.toggled.connect(appearance.set_only_in_table)
        self.menu = QMenu(self)
        self.menu.addActions([self.hide_action, self.isolate_action, self.show_all_action])
        self.menu.addSeparator()
        self.menu.addAction(self.only_table_action)
        self.button = QToolButton()
        self.button.setIcon(icon("eye"))
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setAutoRaise(True)
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setMenu(self.menu)
        self.button.setStyleSheet("QToolButton::menu-indicator {image: none}")
        self.button.setAccessibleName("Hide and show particles")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 4, 0)
        layout.setSpacing(6)
        layout.addWidget(self.button)
        text = QLabel("Colour by")
        text.setProperty("role", "muted")
        layout.addWidget(text)
        layout.addWidget(self.choice)
        self.phases_button = QToolButton()
        self.phases_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.phases_button.setAutoRaise(True)
        layout.addWidget(self.phases_button)
        appearance.choices_changed.connect(self._show_choices)
        appearance.changed.connect(lambda _look: self._show_state())
        self._show_choices()
        self.show_selection(0)

    def show_selection(self, particles: int) -> None:
        """How many particles are chosen, which can be hidden or isolated."""
        self.hide_action.setEnabled(particles > 0)
        self.isolate_action.setEnabled(particles > 0)
        what = "this particle" if particles < 2 else f"these {format_count(particles)} particles"
        self.hide_action.setText(f"Hide {what}")
        self.isolate_action.setText(
            f"Show only {what} and {'its' if particles < 2 else 'their'} neighbours"
        )

    def _action(self, text: str, key: str, keys_in: QWidget) -> QAction:
        action = QAction(text, self)
        action.setShortcut(QKeySequence(key))
        action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys_in.addAction(action)
        return action

    def _show_choices(self) -> None:
        self.choice.clear()
        group = ""
        for choice in self._appearance.choices():
            if choice.group != group:
                group = choice.group
                self.choice.insertSeparator(self.choice.count())
            self.choice.addItem(choice.title, choice.key)
            tip = Qt.ItemDataRole.ToolTipRole
            self.choice.setItemData(self.choice.count() - 1, choice.missing or None, tip)
        # The list may be wider than the box, so that long titles can be read.
        metrics = self.choice.fontMetrics()
        titles = [self.choice.itemText(row) for row in range(self.choice.count())]
        widest = max(metrics.horizontalAdvance(title) for title in titles)
        self.choice.view().setMinimumWidth(widest + 40)
        self._show_state()

    def _show_state(self) -> None:
        appearance = self._appearance
        self.choice.setCurrentIndex(self.choice.findData(appearance.coloured_by))
        hidden = appearance.hidden_count
        self.show_all_action.setEnabled(hidden > 0 or appearance.only_in_table)
        self.only_table_action.setChecked(appearance.only_in_table)
        self.button.setText(f"{format_count(hidden)} hidden" if hidden else "")
        self.button.setToolTip(
            f"{plural(hidden, 'particle')} hidden. Shift+H shows them again."
            if hidden
            else "Hide and isolate particles"
        )

    def _choose(self, row: int) -> None:
        key = self.choice.itemData(row)
        missing = {choice.key for choice in self._appearance.choices() if choice.missing}
        if key in missing:
            self._show_state()  # the colours stay what they are until there is something to show
            self.phases_wanted.emit()
        elif key is not None:
            self._appearance.colour_by(str(key))
