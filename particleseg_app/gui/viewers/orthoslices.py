"""Three linked slices of a scan with its particles, and a free fourth cell."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSize, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.colour_legend import ColourLegend
from particleseg_app.gui.viewers.four_cells import FourCells
from particleseg_app.gui.viewers.label_look import ColourScale, LabelLook
from particleseg_app.gui.viewers.pointed import NOTHING_POINTED, Pointed, describe
from particleseg_app.gui.viewers.slice_cell import SliceCell
from particleseg_app.gui.viewers.slice_feed import SliceFeed
from particleseg_app.gui.viewers.slice_geometry import PLANES, XY, Plane, SliceCamera
from particleseg_app.gui.viewers.slice_reader import ScanLike, SliceVolume
from particleseg_app.gui.viewers.slice_view import SliceTool, SliceView
from particleseg_app.gui.viewers.slices_help import slices_help
from particleseg_app.units import Shape

PARTICLE_SHARE = 0.25  # of the view that a particle one goes to takes at least
HINTS = (
    "Scroll: slices · Ctrl + scroll: zoom · Right drag: move the picture · "
    "Home: show the whole scan"
)


class OrthosliceView(QWidget):
    """Linked xy, xz and yz slices of one scan.

    Signals: `position_changed` with the voxel (z, y, x) of the cross-hair, `label_clicked` with
    the particle clicked on (0 for background, which also clears the selection), `hovered` with a
    `Pointed`. Call `stop` before the program ends.
    """

    position_changed = Signal(tuple)
    label_clicked = Signal(int)
    hovered = Signal(dict)
    voxel_size_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._camera = SliceCamera(self)
        self._scan: ScanLike | None = None
        self._labels: SliceVolume | None = None
        self._voxel_size_um: float | None = None
        self._position = (0, 0, 0)
        self._opacity, self._contours = 0.45, False
        self._origin: Shape = (0, 0, 0)
        self._whole: Shape = (0, 0, 0)
        self._cells = {plane: SliceCell(plane, self._camera) for plane in PLANES}
        self._feed = SliceFeed({plane: cell.view for plane, cell in self._cells.items()}, self)
        self.loader = self._feed.loader
        self._scale_elsewhere = False
        self._legends = {p: ColourLegend(cell.view) for p, cell in self._cells.items()}
        self._build()
        theme.notifier.changed.connect(self.update)

    def _build(self) -> None:
        self._four = FourCells(self._cells, slices_help())
        self._four.rearranged.connect(self._fit_later)
        self._four.rearranged.connect(self._show_legend_later)
        self._pointed_text = QLabel()
        self._hints = QLabel(HINTS)
        self._hints.setProperty("role", "muted")
        self._hints.setMinimumWidth(1)  # so that the text never widens the views
        footer = QHBoxLayout()
        footer.setContentsMargins(theme.SPACING, 3, theme.SPACING, 3)
        footer.addWidget(self._pointed_text)
        footer.addStretch(1)
        footer.addWidget(self._hints)
        self._footer = QWidget()
        self._footer.setLayout(footer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._four, 1)
        layout.addWidget(self._footer)
        self.setFocusProxy(self._cells[XY].view)
        for cell in self._cells.values():
            view = cell.view
            view.set_overlay_look(self._opacity, self._contours)
            view.cross_moved.connect(lambda z, y, x: self._set_position((z, y, x)))
            view.scrolled.connect(self._step)
            view.clicked.connect(self._clicked)
            view.pointed.connect(lambda voxel, view=view: self._pointed(view, voxel))
            view.centre_wanted.connect(self._centre_on)
            view.fit_wanted.connect(self.show_all)
            view.picture_wanted.connect(lambda plane=cell.plane: self._feed.ask(plane))
            cell.index_wanted.connect(self._go_to_index)

    # --- what is shown -------------------------------------------------------------------------

    def set_scan(
        self,
        scan: ScanLike,
        voxel_size_um: float | None,
        origin: Shape = (0, 0, 0),
        whole: Shape | None = None,
    ) -> None:
        """Show a scan from its middle, without particles, in its own grey window.

        A piece of a scan begins at voxel `origin` (z, y, x) of the `whole` one; places are told
        as those of the whole.
        """
        self._origin, self._whole = origin, whole or scan.shape
        self._scan, self._labels = scan, None
        self._feed.selected = 0
        self._voxel_size_um = voxel_size_um
        self._feed.window = scan.statistics.display_range()
        self._feed.set_volumes(scan, None)
        shape = scan.shape
        self._position = (shape[0] // 2, shape[1] // 2, shape[2] // 2)
        for cell in self._cells.values():
            cell.view.voxel_size_um = voxel_size_um
            cell.view.show_picture(None)
            cell.view.set_position(self._position)
        self._camera.shape = shape
        self.show_all()
        self._tell_position()
        self._feed.ask_all()
        self.voxel_size_changed.emit()

    def set_voxel_size(self, voxel_size_um: float | None) -> None:
        """Give lengths in µm from now on (in voxels for None); the picture stays as it is."""
        self._voxel_size_um = voxel_size_um
        for cell in self._cells.values():
            cell.view.voxel_size_um = voxel_size_um
        self.draw_again()
        self._show_places()
        self.voxel_size_changed.emit()

    def set_labels(self, labels: SliceVolume | None, look: LabelLook | None = None) -> None:
        """Show the particles of a label volume over the scan, or none; with another `look`."""
        if look is not None:
            self._feed.look = look
        if self._scan is None:
            if labels is not None:
                raise ValueError("labels need a scan to lie over")
            return
        if labels is not None and tuple(labels.shape) != tuple(self._scan.shape):
            raise ValueError(f"labels of {labels.shape} do not fit a scan of {self._scan.shape}")
        self._labels = labels
        self._feed.selected = 0
        self._show_legend()
        self._feed.set_volumes(self._scan, labels)
        self._feed.ask_all()

    def clear(self) -> None:
        """Show nothing; the scan and labels are not read any more."""
        self._scan = self._labels = None
        self._feed.selected = 0
        self._feed.set_volumes(None, None)
        self._show_legend()
        for cell in self._cells.values():
            cell.view.show_picture(None)
            cell.set_place(None, 0, None)
        self._say(NOTHING_POINTED)

    def set_window(self, low: float, high: float) -> None:
        """Grey values shown black and white."""
        if high > low and (low, high) != self._feed.window:
            self._feed.window = (float(low), float(high))
            self._feed.ask_all()

    def set_overlay_opacity(self, opacity: float) -> None:
        """How strongly particles are coloured, 0 (not at all) to 1."""
        self._opacity = min(1.0, max(0.0, opacity))
        self._show_overlay_look()

    def set_overlay_mode(self, mode: str) -> None:
        """``fill`` colours whole particles, ``contours`` only their rims."""
        if mode not in ("fill", "contours"):
            raise ValueError(f"unknown overlay mode {mode!r}")
        self._contours = mode == "contours"
        self._show_overlay_look()

    def set_look(self, look: LabelLook) -> None:
        """Colours of the particles, and which of them are shown."""
        if look is not self._feed.look:
            self._feed.look = look
            self._show_legend()
            self._feed.ask_all()

    def set_scale_elsewhere(self, shown: bool) -> None:
        """Tell whether the widget in the free cell says what the colours along a scale mean."""
        self._scale_elsewhere = shown
        self._show_legend()

    def set_footer_visible(self, visible: bool) -> None:
        """Show or hide the line below the views (hide it when a status bar shows `hovered`)."""
        self._footer.setVisible(visible)

    def set_tool(self, tool: SliceTool | None) -> None:
        """Let a tool take the left mouse button and draw over the slices."""
        for cell in self._cells.values():
            cell.view.tool = tool
        self.draw_again()

    def draw_again(self) -> None:
        """Have what lies over the slices drawn anew."""
        for cell in self._cells.values():
            cell.view.viewport().update()

    def set_fourth_widget(self, widget: QWidget | None) -> None:
        """Put a widget into the free cell; it may carry a `ViewBar` named `bar`."""
        self._four.set_fourth(widget)

    def stop(self) -> None:
        """End the reading threads; the view shows nothing new afterwards."""
        self.clear()
        self.loader.stop()

    # --- where it looks ------------------------------------------------------------------------

    @property
    def position(self) -> tuple[int, int, int]:
        """Voxel (z, y, x) of the cross-hair."""
        return self._position

    @property
    def voxel_size_um(self) -> float | None:
        return self._voxel_size_um

    @property
    def window_range(self) -> tuple[float, float]:
        return self._feed.window

    def view(self, plane_name: str) -> SliceView:
        """The slice view named ``xy``, ``xz`` or ``yz``."""
        return next(c.view for p, c in self._cells.items() if p.name == plane_name)

    def go_to(self, z: float, y: float, x: float, size_voxels: float | None = None) -> None:
        """Put the cross-hair on a voxel and bring it into view.

        With `size_voxels`, the size of what is there, the zoom changes if that would be shown
        very small or would not fit.
        """
        self._set_position((round(z), round(y), round(x)))
        z_, y_, x_ = (p + 0.5 for p in self._position)
        zoom = None
        if size_voxels:
            shortest = min(min(size) for size in self._view_sizes().values())
            best = PARTICLE_SHARE * max(shortest, 100) / size_voxels
            if not best / 2 <= self._camera.zoom <= 3 * best:
                zoom = best
        hidden = any(
            not cell.view.rect()
            .adjusted(20, 20, -20, -20)
            .contains(cell.view.pixel_at((z_, y_, x_)).toPoint())
            for cell in self._cells.values()
        )
        if hidden or zoom is not None:
            self._camera.look_at((z_, y_, x_), zoom)

    def select_label(self, label: int | None) -> None:
        """Outline one particle, or none."""
        if (label or 0) != self._feed.selected:
            self._feed.selected = label or 0
            self._feed.ask_all()

    def show_all(self) -> None:
        """Zoom so that the whole scan is seen in every view."""
        self._camera.fit(self._camera.shape, self._view_sizes())

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(900, 640)

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._hints.setVisible(self.width() > 900)
        self._fit_later()
        self._show_legend_later()

    def showEvent(self, event: Any) -> None:  # noqa: N802
        super().showEvent(event)
        self._fit_later()
        self._show_legend_later()

    def _show_legend_later(self) -> None:
        QTimer.singleShot(0, self, self._show_legend)  # when the cells have their sizes

    def _show_legend(self) -> None:
        """Say what the colours mean in the first slice that is seen: of classes always, along a
        scale unless the free cell says so."""
        left = None if self._labels is None else self._feed.look.colouring.scale
        if isinstance(left, ColourScale) and self._scale_elsewhere and self._four.fourth_seen:
            left = None
        for plane, legend in self._legends.items():
            view = self._cells[plane].view
            seen = not self._cells[plane].isHidden()
            legend.set_scale(left if seen else None)
            legend.move(max(0, view.width() - legend.width() - 8), 8)
            left = None if seen else left

    def _fit_later(self) -> None:
        if self._camera.fits_view:  # the cells get their sizes only after this event
            QTimer.singleShot(0, self, self._fit_if_untouched)

    def _fit_if_untouched(self) -> None:
        if self._camera.fits_view:
            self.show_all()

    def _view_sizes(self) -> dict[Plane, tuple[int, int]]:
        cells = {p: c for p, c in self._cells.items() if not c.isHidden()} or self._cells
        return {
            plane: (cell.view.viewport().width(), cell.view.viewport().height())
            for plane, cell in cells.items()
        }

    def _set_position(self, position: tuple[int, int, int]) -> None:
        if self._scan is None:
            return
        shape = self._scan.shape
        z, y, x = (min(n - 1, max(0, p)) for p, n in zip(position, shape, strict=True))
        if (z, y, x) == self._position:
            return
        before, self._position = self._position, (z, y, x)
        for plane, cell in self._cells.items():
            cell.view.set_position(self._position)
            if before[plane.axis] != self._position[plane.axis]:
                self._feed.ask(plane)
        self._tell_position()

    def _step(self, axis: int, steps: int) -> None:
        position = list(self._position)
        position[axis] += steps
        self._set_position((position[0], position[1], position[2]))

    def _go_to_index(self, axis: int, index: int) -> None:
        self._step(axis, index - self._position[axis])

    def _centre_on(self, z: int, y: int, x: int) -> None:
        self._set_position((z, y, x))
        self._camera.look_at((z + 0.5, y + 0.5, x + 0.5))

    def _tell_position(self) -> None:
        self._show_places()
        self.position_changed.emit(self._position)

    def _show_places(self) -> None:
        if self._scan is None:
            return
        for plane, cell in self._cells.items():
            axis = plane.axis
            cell.set_place(
                self._scan.shape[axis],
                self._position[axis],
                self._voxel_size_um,
                self._origin[axis],
                self._whole[axis],
            )

    def _show_overlay_look(self) -> None:
        for cell in self._cells.values():
            cell.view.set_overlay_look(self._opacity, self._contours)

    # --- mouse ---------------------------------------------------------------------------------

    def _clicked(self, z: int, y: int, x: int) -> None:
        label = self._label_at((z, y, x))
        self.select_label(label or None)
        self.label_clicked.emit(label)

    def _label_at(self, voxel: tuple[int, int, int]) -> int:
        for cell in self._cells.values():
            if cell.view.isVisible():
                grey, label = _values_at(cell.view, voxel)
                if grey is not None:
                    return label
        return 0

    def _pointed(self, view: SliceView, voxel: tuple[int, int, int] | None) -> None:
        if voxel is None:
            self._say(NOTHING_POINTED)
            return
        grey, label = _values_at(view, voxel)
        has_labels = self._labels is not None
        self._say(describe(voxel, grey, label, self._voxel_size_um, has_labels, self._origin))

    def _say(self, pointed: Pointed) -> None:
        self._pointed_text.setText(pointed["text"])
        self.hovered.emit(dict(pointed))


def _values_at(view: SliceView, voxel: tuple[int, int, int]) -> tuple[float | None, int]:
    """Grey value and label that a view shows at a voxel; None where it shows another slice."""
    picture = view.picture
    if picture is None or picture.index != voxel[picture.axis]:
        return None, 0
    row, column = (v for axis, v in enumerate(voxel) if axis != picture.axis)
    return picture.values_at(row, column)
