"""The list beside the slices: which tool measures, what was measured, and the mean."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.viewers.measuring import Kind, Measurement, MeasuringTool

ROW_HEIGHT = 30
HOW = {
    None: "Choose a tool, then measure a few average particles on the slices.",
    "line": "Drag a line across a particle, from edge to edge.",
    "circle": "Drag across a particle, or click three points on its edge.",
}


class MeasuringPanel(QWidget):
    """Buttons for line and circle, and the measurements with a button to remove each."""

    def __init__(self, tool: MeasuringTool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tool = tool
        self._buttons: dict[str, QPushButton] = {}
        kinds = QHBoxLayout()
        kinds.setSpacing(theme.SPACING)
        kind: Kind
        for kind, text in (("line", "Line"), ("circle", "Circle")):
            button = QPushButton(icon(kind), text)
            button.setCheckable(True)
            button.clicked.connect(lambda on, kind=kind: tool.set_kind(kind if on else None))
            kinds.addWidget(button)
            self._buttons[kind] = button
        kinds.addStretch(1)
        self._how = QLabel()
        self._how.setProperty("role", "muted")
        self._how.setWordWrap(True)
        self._rows = QVBoxLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(0)
        holder = QWidget()
        outer = QVBoxLayout(holder)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addLayout(self._rows)
        outer.addStretch(1)
        self._list = QScrollArea()
        self._list.setWidgetResizable(True)
        self._list.setFrameShape(QScrollArea.Shape.NoFrame)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setWidget(holder)
        self._list.viewport().setAutoFillBackground(False)
        holder.setAutoFillBackground(False)
        self._mean = QLabel()
        self._mean.setStyleSheet("font-weight: 600;")
        self._clear = QPushButton("Clear")
        self._clear.setProperty("quiet", True)
        self._clear.setToolTip("Remove all measurements")
        self._clear.clicked.connect(tool.clear)
        foot = QHBoxLayout()
        foot.addWidget(self._mean, 1)
        foot.addWidget(self._clear)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.SPACING)
        layout.addLayout(kinds)
        layout.addWidget(self._how)
        layout.addWidget(self._list, 100)
        layout.addLayout(foot)
        layout.addStretch(1)
        tool.changed.connect(self._show)
        tool.kind_changed.connect(self._show_kind)
        tool.view.voxel_size_changed.connect(self._show)
        self._show_kind()
        self._show()

    def _show_kind(self) -> None:
        for kind, button in self._buttons.items():
            button.blockSignals(True)
            button.setChecked(kind == self._tool.kind)
            button.blockSignals(False)
        self._how.setText(HOW[self._tool.kind])

    def _show(self) -> None:
        while (item := self._rows.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        for place, measurement in enumerate(self._tool.measurements):
            self._rows.addWidget(_Row(self._tool, place, measurement))
        mean = self._tool.mean_diameter_text
        count = len(self._tool.measurements)
        self._mean.setText(f"Mean of {count}: {mean}" if count > 1 else "")
        self._clear.setVisible(count > 0)
        self._list.setVisible(count > 0)
        # No empty space between a short list and the mean below it.
        self._list.setMaximumHeight(count * ROW_HEIGHT)


class _Row(QWidget):
    """One measurement: a button that goes there, and one that removes it."""

    def __init__(self, tool: MeasuringTool, place: int, measurement: Measurement) -> None:
        super().__init__()
        self._tool = tool
        self._place = place
        self.setFixedHeight(ROW_HEIGHT)
        plane = {0: "xy", 1: "xz", 2: "yz"}[measurement.axis]
        text = f"{place + 1}   {tool.text_of(measurement)}"
        show = QPushButton(icon(measurement.kind), text)
        show.setProperty("quiet", True)
        show.setStyleSheet("text-align: left; padding: 3px 6px;")
        show.setToolTip(f"Show it: {plane} slice {measurement.index + 1}")
        show.clicked.connect(lambda: tool.show_measurement(place))
        remove = QToolButton()
        remove.setIcon(icon("close"))
        remove.setAutoRaise(True)
        remove.setToolTip("Remove this measurement")
        remove.setAccessibleName(f"Remove measurement {place + 1}")
        remove.clicked.connect(lambda: tool.remove(place))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(show, 1)
        layout.addWidget(remove)
        self.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Enter:
            self._tool.emphasise(self._place)
        elif event.type() == QEvent.Type.Leave:
            self._tool.emphasise(None)
        return super().eventFilter(watched, event)
