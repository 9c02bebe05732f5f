"""The tools that mend a particle by hand: which one is chosen, its choices, apply or cancel."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.formats import format_count
from particleseg_app.gui.icons import icon
from particleseg_app.gui.read_only import READ_ONLY
from particleseg_app.gui.style import Card, button, label, row
from particleseg_app.units import format_micrometres


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the user sees it. `at_once`: its preview needs no drawing."""

    name: str
    text: str
    icon: str
    key: str
    hint: str
    at_once: bool = False
    amount: str = ""  # what the slider sets; empty: no slider
    hint_of_several: str = ""  # where it says something else of several particles; {n}: how many

    def hint_of(self, particles: int) -> str:
        """The hint where so many particles are mended together."""
        if particles < 2 or not self.hint_of_several:
            return self.hint
        return self.hint_of_several.format(n=format_count(particles))


TOOLS = (
    ToolSpec("split", "Split", "split", "S",
             "Click once in each part. Drag to draw the border between them, if it matters where."),
    ToolSpec("join", "Join", "join", "J", "Click the particles that belong to this one.",
             hint_of_several="All {n} become one. Click others that belong to them."),
    ToolSpec("paint", "Paint", "paint", "B",
             "Drag to add voxels. Only background is painted over.", amount="Brush"),
    ToolSpec("erase", "Erase", "erase", "E", "Drag to take voxels away.", amount="Brush"),
    ToolSpec("holes", "Fill holes", "holes", "F", "Holes inside the particle are filled.", True,
             hint_of_several="Holes inside all {n} are filled."),
    ToolSpec("smooth", "Smooth", "smooth", "M",
             "Rough surfaces are evened out; neighbours stay as they are.", True, "Strength"),
    ToolSpec("grow", "Fit to edge", "grow", "G",
             "The surface moves to the grey-value edge, at most this far.", True, "Distance",
             "The surfaces of all {n} move to the grey-value edge, at most this far."),
    ToolSpec("delete", "Delete", "delete", "Del", "The particle becomes background.", True,
             hint_of_several="All {n} become background."),
)  # fmt: skip
SPECS = {spec.name: spec for spec in TOOLS}
COLUMNS = 4
LARGEST_AMOUNT = {"Brush": 40, "Strength": 6, "Distance": 12}
FIRST_AMOUNT = {"Brush": 4, "Strength": 2, "Distance": 3}


class ToolPanel(Card):
    """Tells `tool_wanted` (a name, or None to put the tool away), `amount_changed`, and whether
    the preview is to be applied or dropped."""

    tool_wanted = Signal(object)
    amount_changed = Signal(str, int)  # tool, voxels
    choice_changed = Signal()  # how to split
    apply_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Mend by hand", margin=14)
        self._voxel_size_um: float | None = None
        self._amounts = dict(FIRST_AMOUNT)
        self._chosen: str | None = None
        self._particles = 1  # how many are mended
        self.buttons: dict[str, QToolButton] = {}
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, spec in enumerate(TOOLS):
            tool = QToolButton()
            tool.setText(spec.text)
            tool.setIcon(icon(spec.icon))
            tool.setIconSize(QSize(20, 20))
            tool.setCheckable(True)
            tool.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            tool.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            tool.clicked.connect(lambda on, name=spec.name: self._on_clicked(name, on))
            self._group.addButton(tool)
            self.buttons[spec.name] = tool
            grid.addWidget(tool, number // COLUMNS, number % COLUMNS)
        for column in range(COLUMNS):
            grid.setColumnStretch(column, 1)
        self._hint = label("", "muted", wrap=True)
        self._amount_name = label("")
        self._amount_text = label("", "muted")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.slider.valueChanged.connect(self._on_slider)
        self._amount = QWidget()
        self._amount.setLayout(row(self._amount_name, self.slider, self._amount_text))
        self.by_grey = QCheckBox("Along dark seams, not at the narrowest place")
        self.by_grey.setToolTip("Split where the grey values are nearest to the background")
        self.by_grey.toggled.connect(lambda _on: self.choice_changed.emit())
        self.as_new = QCheckBox("As a new particle")
        self.as_new.setToolTip("What is painted next becomes a particle of its own")
        for box in (self.by_grey, self.as_new):
            box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._remark = label("", "warning", wrap=True)
        self.apply_button = button("Apply", self.apply_wanted.emit, primary=True)
        self.cancel_button = button("Cancel", self.cancel_wanted.emit)
        self.apply_button.setToolTip("Enter")
        self.cancel_button.setToolTip("Esc")
        for answer in (self.apply_button, self.cancel_button):
            answer.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._answers = QWidget()
        self._answers.setLayout(row(self.apply_button, self.cancel_button, None))
        below = QVBoxLayout()
        below.setSpacing(8)
        for widget in (
            self._hint, self.by_grey, self.as_new, self._amount, self._remark, self._answers,
        ):  # fmt: skip
            below.addWidget(widget)
        self.body.addLayout(grid)
        self.body.addLayout(below)
        self.set_available(1, True)
        self.show_tool(None)

    @property
    def chosen(self) -> str | None:
        return self._chosen

    def amount(self, tool: str) -> int:
        """The tool's amount in voxels (or steps, for smoothing)."""
        return self._amounts.get(SPECS[tool].amount, 0)

    def set_voxel_size(self, voxel_size_um: float | None) -> None:
        self._voxel_size_um = voxel_size_um
        self._show_amount()

    def set_available(self, particles: int, writable: bool, place: bool = True) -> None:
        """How many particles are to be mended, whether there is a place to paint a new one, and
        whether one may."""
        self._particles = particles
        for name, tool in self.buttons.items():
            tool.setEnabled(writable and (particles > 0 or (place and name == "paint")))
            hint = f"{SPECS[name].hint_of(particles)} ({SPECS[name].key})"
            tool.setToolTip(hint if writable else READ_ONLY)
        if not particles:
            self.as_new.setChecked(True)
        self.as_new.setEnabled(particles > 0)
        self._show_hint()

    def show_tool(self, name: str | None) -> None:
        """Show this tool as chosen, without telling anybody."""
        self._chosen = name
        for other, tool in self.buttons.items():
            tool.setChecked(other == name)
        spec = SPECS[name] if name is not None else None
        self._show_hint()
        self.by_grey.setVisible(name == "split")
        self.as_new.setVisible(name == "paint")
        self._amount.setVisible(spec is not None and bool(spec.amount))
        if spec is not None and spec.amount:
            self._amount_name.setText(spec.amount)
            self.slider.blockSignals(True)
            self.slider.setRange(1, LARGEST_AMOUNT[spec.amount])
            self.slider.setValue(self._amounts[spec.amount])
            self.slider.blockSignals(False)
            self.slider.setAccessibleName(f"{spec.amount} of {spec.text}")
            self._show_amount()
        self.show_preview(False)
        self.show_remark("")

    def show_preview(self, there: bool) -> None:
        """Whether a preview can be applied now."""
        painting = self._chosen in ("paint", "erase")
        self._answers.setVisible(self._chosen is not None)
        self.apply_button.setVisible(not painting)
        self.apply_button.setEnabled(there)
        self.cancel_button.setText("Done" if painting else "Cancel")

    def show_remark(self, text: str) -> None:
        """Why there is nothing to apply; empty when there is."""
        self._remark.setText(text)
        self._remark.setVisible(bool(text))

    def _on_clicked(self, name: str, on: bool) -> None:
        self.tool_wanted.emit(name if on else None)

    def _on_slider(self, value: int) -> None:
        if self._chosen is not None and SPECS[self._chosen].amount:
            self._amounts[SPECS[self._chosen].amount] = value
            self._show_amount()
            self.amount_changed.emit(self._chosen, value)

    def _show_hint(self) -> None:
        spec = SPECS[self._chosen] if self._chosen is not None else None
        self._hint.setText(spec.hint_of(self._particles) if spec is not None else "")
        self._hint.setVisible(spec is not None)

    def _show_amount(self) -> None:
        if self._chosen is None or not SPECS[self._chosen].amount:
            return
        kind = SPECS[self._chosen].amount
        value = self._amounts[kind]
        if kind == "Strength":
            text = f"{value}"
        elif self._voxel_size_um is None:
            text = f"{value} voxels"
        else:
            across = 2 * value if kind == "Brush" else value
            text = format_micrometres(across * self._voxel_size_um)
        self._amount_text.setText(text)
