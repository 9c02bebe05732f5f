"""One cell of the four: a slice view under a thin bar with its name, place, slider and size."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.formats import THIN_SPACE, format_count
from particleseg_app.gui.icons import icon
from particleseg_app.gui.viewers.slice_geometry import AXIS_NAMES, Plane, SliceCamera
from particleseg_app.gui.viewers.slice_view import SliceView

BAR_HEIGHT = 30
NARROW = 150
SLIDER_WIDTH = 40
BESIDE_PLACE = 110  # name, button and gaps of the bar


def place_text(value_um: float) -> str:
    """A place along an axis in µm, with no more decimals than matter: 450 µm, 13.2 µm."""
    decimals = 0 if abs(value_um) >= 100 else 1 if abs(value_um) >= 10 else 2
    text = f"{value_um:,.{decimals}f}".replace(",", THIN_SPACE)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


class ViewBar(QFrame):
    """The thin bar over a view: name, a stretch for widgets, and a button for full size."""

    size_toggled = Signal(bool)

    def __init__(self, name: str, colour: str = "", narrow: int = NARROW) -> None:
        """`narrow` is the width below which the name gives way to the other widgets."""
        super().__init__()
        self._narrow = narrow
        self.setProperty("role", "bar")
        self.setFixedHeight(BAR_HEIGHT)
        # A narrow window squeezes the bar; the bar must not keep the view wide.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.layout_ = QHBoxLayout(self)
        self.layout_.setContentsMargins(theme.SPACING, 0, 2, 0)
        self.layout_.setSpacing(theme.SPACING)
        self.name = QLabel(name)
        self.name.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.name.setStyleSheet("font-weight: 600;")
        if colour:
            mark = QFrame()
            mark.setFixedSize(4, 14)
            mark.setStyleSheet(f"background: {colour}; border: none; border-radius: 2px;")
            self.layout_.addWidget(mark)
        self.layout_.addWidget(self.name)
        self.size_button = QToolButton()
        self.size_button.setCheckable(True)
        self.size_button.setAutoRaise(True)
        self.size_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.size_button.toggled.connect(self._toggled)
        self._toggled(False)
        self.layout_.addWidget(self.size_button)

    def add(self, widget: QWidget, stretch: int = 0) -> None:
        """Put a widget before the button for full size."""
        self.layout_.insertWidget(self.layout_.count() - 1, widget, stretch)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.name.setVisible(self.width() > self._narrow)

    def add_stretch(self) -> None:
        self.layout_.insertStretch(self.layout_.count() - 1, 1)

    def _toggled(self, large: bool) -> None:
        self.size_button.setIcon(icon("restore" if large else "maximise"))
        text = "Show all four views" if large else "Enlarge this view"
        self.size_button.setToolTip(text)
        self.size_button.setAccessibleName(text)
        self.size_toggled.emit(large)


class SliceCell(QWidget):
    """A slice view with its bar. `index_wanted` says which slice the slider asks for."""

    index_wanted = Signal(int, int)  # axis, index

    def __init__(self, plane: Plane, camera: SliceCamera) -> None:
        super().__init__()
        self.plane = plane
        self._shown: tuple[int, int, int, float | None] | None = None
        self.view = SliceView(plane, camera)
        self.bar = ViewBar(plane.name, theme.current().axes[plane.axis])
        self.place = QLabel()
        self.place.setProperty("role", "muted")
        # Digits of changing width must not push the slider about.
        self.place.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider.setMinimumWidth(SLIDER_WIDTH)
        self.slider.setMaximumWidth(260)
        self.slider.setAccessibleName(f"{plane.name} slice number")
        self.slider.valueChanged.connect(lambda value: self.index_wanted.emit(plane.axis, value))
        self.bar.add(self.place)
        self.bar.add_stretch()
        self.bar.add(self.slider, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.bar)
        layout.addWidget(self.view, 1)
        self.set_place(None, 0, None)

    def set_place(
        self,
        count: int | None,
        index: int,
        voxel_size_um: float | None,
        first: int = 0,
        whole: int | None = None,
    ) -> None:
        """Say which of `count` slices is shown; None while there is no scan.

        The slices of a piece of a scan are told as those of the `whole`, of which the piece
        begins with slice `first`.
        """
        self.slider.setEnabled(count is not None and count > 1)
        if count is None:
            self._shown = None
            self.place.setText("")
            self.place.setFixedWidth(0)
            return
        if self.slider.maximum() != count - 1:
            self.slider.blockSignals(True)
            self.slider.setRange(0, count - 1)
            self.slider.blockSignals(False)
        if self.slider.value() != index:
            self.slider.blockSignals(True)
            self.slider.setValue(index)
            self.slider.blockSignals(False)
        self._shown = (first + index, first + count - 1, whole or count, voxel_size_um)
        self._write_place()

    def _write_place(self) -> None:
        """Write as much of the place as there is room for; the tool tip has all of it."""
        if self._shown is None:
            return
        index, last, count, size = self._shown
        metrics = self.place.fontMetrics()
        room = self.width() - BESIDE_PLACE
        self.slider.setVisible(room > 60)
        room -= SLIDER_WIDTH if room > 60 else 0
        text = width = None
        for write in (self._text, self._short_text, self._shortest_text):
            text = write(index, count, size)
            # The room of the widest number, so that the slider does not move about.
            width = max(metrics.horizontalAdvance(t) for t in (text, write(last, count, size)))
            if width <= room:
                break
        self.place.setText(text or "")
        self.place.setFixedWidth((width or 0) + 2)
        self.place.setToolTip(self._text(index, count, size))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._write_place()

    def _short_text(self, index: int, count: int, _size: float | None) -> str:
        return f"slice {format_count(index + 1)} of {format_count(count)}"

    def _shortest_text(self, index: int, count: int, _size: float | None) -> str:
        return f"{format_count(index + 1)} / {format_count(count)}"

    def _text(self, index: int, count: int, voxel_size_um: float | None) -> str:
        text = self._short_text(index, count, None)
        if voxel_size_um is not None:
            name = AXIS_NAMES[self.plane.axis]
            text += f" · {name} {place_text((index + 0.5) * voxel_size_um)} µm"
        return text
