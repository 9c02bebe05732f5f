"""The bar over the 3D view: what is shown, cutting it open, and showing all of it again."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QToolButton

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.viewers.slice_cell import ViewBar

PARTICLES, SCAN, BOTH = "particles", "scan", "both"
MODES = ((PARTICLES, "Particles"), (SCAN, "Scan"), (BOTH, "Both"))


class Particles3DBar(ViewBar):
    """Signals: `mode_chosen`, `reset_wanted`; `cut` is the button that cuts the scene open."""

    mode_chosen = Signal(str)
    reset_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("3D", narrow=330)
        self.layout_.setSpacing(theme.SPACING // 4)
        self._group = QButtonGroup(self)
        self._modes: dict[str, QToolButton] = {}
        self.add_stretch()
        for mode, text in MODES:
            button = QToolButton()
            button.setText(text)
            button.setStyleSheet("padding: 3px 5px;")
            button.setMinimumWidth(button.fontMetrics().horizontalAdvance(text) + 14)
            button.setCheckable(True)
            button.setAutoRaise(True)
            button.clicked.connect(lambda _on=False, mode=mode: self.mode_chosen.emit(mode))
            self._group.addButton(button)
            self._modes[mode] = button
            self.add(button)
        self.cut = self._icon_button("cut", "Cut the particles open")
        self.cut.setCheckable(True)
        self._reset = self._icon_button("fit", "Show the whole scan again")
        self._reset.clicked.connect(lambda _on=False: self.reset_wanted.emit())

    def show_state(self, mode: str | None, *, ready: bool, particles: bool, scan: bool) -> None:
        """Show the mode (None: nothing is shown), and enable what there is something for."""
        for name, button in self._modes.items():
            needs_particles, needs_scan = name != SCAN, name != PARTICLES
            possible = (particles or not needs_particles) and (scan or not needs_scan)
            button.setEnabled(ready and possible)
            button.setChecked(name == mode)
        self._reset.setEnabled(ready)
        self.cut.setEnabled(ready and particles and mode != SCAN)

    def _icon_button(self, name: str, text: str) -> QToolButton:
        button = QToolButton()
        button.setIcon(icon(name))
        button.setAutoRaise(True)
        button.setToolTip(text)
        button.setAccessibleName(text)
        self.add(button)
        return button
