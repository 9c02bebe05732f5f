"""A field for one number with its unit, which says beside itself what is wrong with the answer, and
a box for grey values."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import QDoubleSpinBox, QLineEdit, QVBoxLayout, QWidget

from particleseg_app.errors import UserError
from particleseg_app.gui.formats import format_measure, parse_length, parse_number, split_length
from particleseg_app.gui.style import label, row, trim_number_box
from particleseg_app.units import format_number

Check = Callable[[float], object]
MICROMETRES = "µm"


class NumberField(QWidget):
    """`check` raises a `UserError` for a number that is not possible; its text is shown below.

    A field in µm takes other units of length too and says beside itself what they come to.
    """

    changed = Signal()

    def __init__(
        self, unit: str, check: Check | None = None, name: str = "", width: int = 130
    ) -> None:
        super().__init__()
        self._check = check
        self._unit = unit
        self._parse = parse_length if unit == MICROMETRES else parse_number
        self.edit = QLineEdit()
        self.edit.setFixedWidth(width)
        self.edit.setAccessibleName(name)
        self._problem = label("", "error", wrap=True)
        self._problem.hide()
        self._beside = label(unit, "muted")
        line = row(self.edit, self._beside, None)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(line)
        layout.addWidget(self._problem)
        self.setFocusProxy(self.edit)
        self.edit.textChanged.connect(self._on_text)

    def set_check(self, check: Check | None) -> None:
        self._check = check
        self._show_problem()

    def set_value(self, value: float | None, digits: int = 6) -> None:
        self.edit.setText("" if value is None else format_number(value, digits))

    @property
    def empty(self) -> bool:
        return not self.edit.text().strip()

    @property
    def value(self) -> float | None:
        """The number, or None while it is missing or not possible."""
        return None if self.problem else self._parse(self.edit.text())

    @property
    def problem(self) -> str:
        """Why the text is no answer; empty when it is one, and while nothing was entered."""
        if self.empty:
            return ""
        number = self._parse(self.edit.text())
        if number is None:
            text = self.edit.text().strip()
            if self._unit == MICROMETRES:
                return f"“{text}” is not a length. Enter a number of µm, such as 5.5."
            return f"“{text}” is not a number."
        if self._check is not None:
            try:
                self._check(number)
            except UserError as error:
                return f"{error.sentence} {error.remedy}".strip()
        return ""

    def _on_text(self) -> None:
        self._show_problem()
        self.changed.emit()

    def _show_problem(self) -> None:
        problem = self.problem
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._beside.setText(self._text_beside())
        self.edit.setProperty("invalid", bool(problem))
        self.edit.style().unpolish(self.edit)
        self.edit.style().polish(self.edit)

    def _text_beside(self) -> str:
        """The unit, or what a length typed with a unit of its own comes to."""
        value = self.value
        if self._unit == MICROMETRES and value is not None:
            _, factor = split_length(self.edit.text())
            if factor != 1:
                return f"= {value:.6g} µm"
        return self._unit


class GreyBox(QDoubleSpinBox):
    """A box for a grey value, written as elsewhere: with thin spaces between thousands."""

    def __init__(self, name: str) -> None:
        super().__init__()
        trim_number_box(self)
        self.setAccessibleName(name)
        self.setKeyboardTracking(False)

    # Qt's own names from here on.

    def textFromValue(self, value: float) -> str:  # noqa: N802
        return format_measure(value, self.decimals())

    def valueFromText(self, text: str) -> float:  # noqa: N802
        value = parse_number(text)
        return self.value() if value is None else value

    def validate(self, text: str, place: int) -> tuple[QValidator.State, str, int]:
        value = parse_number(text)
        fits = value is not None and self.minimum() <= value <= self.maximum()
        state = QValidator.State.Acceptable if fits else QValidator.State.Intermediate
        return state, text, place
