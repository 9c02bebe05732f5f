"""The pictures of one case: three slices and 3D of its neighbourhood, with the proposed change."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from particleseg_app.gui.review.drawing_tool import DrawingTool
from particleseg_app.gui.review.focus_look import focus_look
from particleseg_app.gui.review.mending_work import Changes, shown_with
from particleseg_app.gui.review.neighbourhood import CropLabels, CropScan, Neighbourhood
from particleseg_app.gui.viewers import OrthosliceView
from particleseg_app.gui.viewers.clear_view import clearest_direction
from particleseg_app.gui.viewers.label_look import LabelColouring, LabelLook
from particleseg_app.units import Shape

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.particles_3d import Particles3DView
    from particleseg_app.gui.viewers.slice_reader import GreyStatisticsLike

logger = logging.getLogger(__name__)

Point = tuple[float, float, float]


class CaseView(QWidget):
    """Shows a `Neighbourhood`; `drawing` takes the left button while a tool is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.slices = OrthosliceView()
        self.drawing = DrawingTool(self.slices)
        self.drawing.changed.connect(self._show_markers)
        self.particles_3d: Particles3DView | None = None
        self.shown: Neighbourhood | None = None
        self._no_3d = False
        self._in_3d: np.ndarray | None = None  # grey values of the place that the 3D view shows
        self._statistics: GreyStatisticsLike | None = None
        self._voxel_size_um: float | None = None
        self._window = (0.0, 1.0)
        self._whole: Shape | None = None
        self._look = LabelLook.plain()
        self.by_class: LabelColouring | None = None  # of the results, where that is what they show
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slices)

    def set_scan(
        self,
        statistics: GreyStatisticsLike,
        voxel_size_um: float | None,
        window: tuple[float, float] | None,
        shape: Shape,
    ) -> None:
        """Of which scan, of `shape`, the neighbourhoods are; `window` is shown black and white."""
        self._whole = shape
        self._statistics, self._voxel_size_um = statistics, voxel_size_um
        self._window = window or statistics.display_range()
        self._make_3d()

    def clear(self) -> None:
        """Show nothing."""
        self.shown = None
        self.drawing.set_mode(None)
        self.drawing.show_change(None, None)
        self.slices.clear()
        self._in_3d = None
        if self.particles_3d is not None:
            self.particles_3d.clear()

    def stop(self) -> None:
        """End the threads; before the program ends."""
        self.slices.stop()
        if self.particles_3d is not None:
            self.particles_3d.stop()

    def show_place(
        self, found: Neighbourhood, particles: Sequence[int], centre: Point | None
    ) -> None:
        """Show a place of the scan; at another one the cross-hair goes to `centre`.

        `centre` (z, y, x) in voxels of the whole scan; None for the middle of the particles.
        """
        if self._statistics is None:
            return
        before, self.shown = self.shown, found
        if before is None or before.box != found.box:
            self.drawing.show_change(None, None)
            self.slices.set_scan(
                CropScan(found.grey, self._statistics),
                self._voxel_size_um,
                found.box.start,
                self._whole,
            )
            self.slices.set_window(*self._window)
            self._show_labels(found, particles)
            looked_at = _middle(found, particles) if centre is None else centre
            z, y, x = (c - a for c, a in zip(looked_at, found.box.start, strict=True))
            self.slices.go_to(z, y, x)
        else:
            self._show_labels(found, particles)
        self._show_3d(found, particles)

    def show_changes(
        self, found: Neighbourhood | None, changes: Changes | None, particles: Sequence[int]
    ) -> None:
        """Show the place as it would be after `changes`, with what is cut or joined drawn."""
        if found is None or self.shown is not found:
            return
        after = shown_with(found, changes)
        self._show_labels(after, particles)
        if changes is None:
            self.drawing.show_change(None, None)
        else:
            self.drawing.show_change(found.labels, after.labels)
        self._show_3d(after, particles)

    def _show_labels(self, found: Neighbourhood, particles: Sequence[int]) -> None:
        """Show labels with the particles asked about coloured, and what a preview makes of them."""
        base = self.shown
        made: set[int] = set()
        if base is not None and base is not found:
            changed = found.labels != base.labels
            made = set(np.unique(found.labels[changed]).tolist()) - {0}
        highest = int(found.labels.max(initial=0))
        self._look = focus_look(particles, made, highest, self.by_class)
        self.slices.set_labels(CropLabels(found.labels), self._look)

    def _show_markers(self) -> None:
        if self.particles_3d is not None:
            self.particles_3d.set_markers(self.drawing.markers)

    def _on_point_in_3d(self, _label: int, point: Point) -> None:
        """A click on a particle in 3D: a marker, a particle to join, or a place to look at."""
        z, y, x = point
        self.slices.go_to(z - 0.5, y - 0.5, x - 0.5)
        if self.drawing.mode == "split":
            self.drawing.set_marker(point)
        elif self.drawing.mode == "pick":
            self.drawing.picked.emit(point)

    def _show_3d(self, found: Neighbourhood, particles: Sequence[int]) -> None:
        view, base = self.particles_3d, self.shown
        if view is None or self._statistics is None:
            return
        wanted = set(particles)
        if base is not None and base is not found:
            # Whatever the preview makes of the particles belongs to the picture, too.
            changed = (base.only(wanted) > 0) | (found.labels != base.labels)
            wanted |= set(np.unique(found.labels[changed]).tolist()) - {0}
        beside = found.touching(wanted)
        if base is not None and base is not found:
            beside |= base.touching(particles)  # a particle that goes leaves its neighbours
        drawn = found.only(wanted | beside)
        if self._in_3d is None or self._in_3d is not found.grey:
            self._in_3d = found.grey
            view.look_from(clearest_direction(drawn, wanted))
            view.set_scan(CropScan(found.grey, self._statistics), self._voxel_size_um)
        view.set_look(self._look)
        view.set_labels(CropLabels(drawn))

    def _make_3d(self) -> None:
        if self.particles_3d is not None or self._no_3d:
            return
        try:
            from particleseg_app.gui.viewers.particles_3d import Particles3DView

            self.particles_3d = Particles3DView()
        except Exception:
            logger.exception("The 3D view is not available.")
            self._no_3d = True
            return
        self.particles_3d.highlights_clicked = False
        self.particles_3d.point_clicked.connect(self._on_point_in_3d)
        self.slices.set_fourth_widget(self.particles_3d)


def _middle(found: Neighbourhood, particles: Sequence[int]) -> Point:
    """The middle (z, y, x) of some particles, in voxels of the whole scan."""
    voxels = np.argwhere(np.isin(found.labels, list(particles)))
    middle = voxels.mean(axis=0) if len(voxels) else np.array(found.labels.shape) / 2
    z, y, x = (float(m) + a for m, a in zip(middle, found.box.start, strict=True))
    return z, y, x
