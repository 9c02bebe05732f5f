"""A combo box for long names: fills its row, and shortens with dots what does not fit."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import (
    QComboBox,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
)

from particleseg_app.gui.style import plain_tip

WIDEST_POPUP = 640


class WideBox(QComboBox):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._explanation = ""
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(18)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def fit_popup(self) -> None:
        """Let the opened list show its texts in full, however wide the box itself is."""
        self.view().setMinimumWidth(min(self.view().sizeHintForColumn(0) + 36, WIDEST_POPUP))

    def explain(self, text: str) -> None:
        """What a hover says of the choice, after its name where that is shortened."""
        self._explanation = text
        self.setToolTip(plain_tip(text))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self,
        )
        text, end = self.currentText(), Qt.TextElideMode.ElideRight
        option.currentText = self.fontMetrics().elidedText(text, end, field.width() - 4)
        parts = [text if option.currentText != text else "", self._explanation]
        self.setToolTip(plain_tip("\n\n".join(part for part in parts if part)))
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
