"""The page of an open project: its runs on the left, the views, and the particles on the right."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from particleseg_app.gui.panels.particle_table import ParticleTablePanel
from particleseg_app.gui.panels.project_panel import ProjectPanel
from particleseg_app.gui.panels.size_distribution import SizeDistributionPanel
from particleseg_app.gui.settings import settings
from particleseg_app.gui.shown import Shown
from particleseg_app.gui.style import label, line
from particleseg_app.gui.tasks import Task
from particleseg_app.gui.viewers import HistogramWindow, OrthosliceView
from particleseg_app.gui.viewers.appearance import ParticleAppearance, expected_errors
from particleseg_app.gui.viewers.appearance_bar import AppearanceBar
from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.touching import touching_particles
from particleseg_app.particles.places import boxes_of, place_of
from particleseg_app.units import Box

if TYPE_CHECKING:
    from particleseg_app.gui.viewers.particles_3d import Particles3DView

logger = logging.getLogger(__name__)

LEFT_WIDTH, RIGHT_WIDTH, NARROWEST_RIGHT = 290, 420, 330


class ProjectPage(QWidget):
    """Links the views: a particle chosen in one of them is shown in all."""

    particle_selected = Signal(object)  # label or None

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.projects = ProjectPanel()
        self.greys = HistogramWindow()
        self.slices = OrthosliceView()
        self.table = ParticleTablePanel()
        self.sizes = SizeDistributionPanel()
        self.particles_3d: Particles3DView | None = None
        self.selected: int | None = None
        self._shown: Shown | None = None
        self._no_3d = False
        self._arranged = False
        self._rows_known = False  # of the right column, from another day
        self._by_hand = False  # the columns, by the user, now or another day
        self._mended_boxes: list[Box] = []
        self.appearance = ParticleAppearance(self)
        self.appearance.changed.connect(self._take_look)
        self.appearance_bar = AppearanceBar(self.appearance, self)

        self._grey_box = QWidget()
        greys = QVBoxLayout(self._grey_box)
        greys.setContentsMargins(12, 10, 12, 12)
        greys.addWidget(label("Grey values", "heading"))
        self._grey_box.setStyleSheet(
            "QPushButton {padding: 4px 6px} QAbstractScrollArea {background: transparent}"
        )
        greys.addWidget(self.greys, 1)
        left = QFrame()
        left.setProperty("role", "bar")
        left_layout = QVBoxLayout(left)
        left_layout.setContentsMargins(0, 0, 0, 0)
        left_layout.setSpacing(0)
        left_layout.addWidget(self.projects, 1)
        left_layout.addWidget(line())
        left_layout.addWidget(self._grey_box)
        self._grey_box.setFixedHeight(230)
        left.setMinimumWidth(270)

        self._centre = QStackedWidget()
        empty = QWidget()
        empty_layout = QVBoxLayout(empty)
        self._empty_title = label("", "heading")
        self._empty_text = label("", "muted")
        for text in (self._empty_title, self._empty_text):
            text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        empty_layout.addStretch(1)
        empty_layout.addWidget(self._empty_title)
        empty_layout.addWidget(self._empty_text)
        empty_layout.addStretch(1)
        self._centre.addWidget(empty)
        self._centre.addWidget(self.slices)

        right = QFrame()
        right.setProperty("role", "bar")
        self._side = right
        right_layout = QVBoxLayout(right)
        right_layout.setContentsMargins(0, 0, 0, 0)
        self.right = QSplitter(Qt.Orientation.Vertical)
        right_layout.addWidget(self.right)
        self.right.addWidget(self.sizes)
        self.right.addWidget(self.table)
        self.right.setSizes([380, 380])
        self.right.setChildrenCollapsible(False)
        right.setMinimumWidth(NARROWEST_RIGHT)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        for part in (left, self._centre, right):
            self.splitter.addWidget(part)
        for place, stretch in enumerate((0, 3, 1)):
            self.splitter.setStretchFactor(place, stretch)
            self.splitter.setCollapsible(place, False)
        self.splitter.setSizes([LEFT_WIDTH, 600, RIGHT_WIDTH])
        self.splitter.splitterMoved.connect(lambda _place, _number: self._on_moved_by_hand())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.splitter)

        self.greys.window_changed.connect(self.slices.set_window)
        self.slices.label_clicked.connect(self._on_label_clicked)
        self.table.particle_chosen.connect(self._on_row_chosen)
        self.table.shown_changed.connect(self.sizes.set_shown)
        self.table.shown_changed.connect(self.appearance.set_in_table)
        self.table.marked_changed.connect(self._show_chosen)
        self.particle_selected.connect(lambda _particle: self._show_chosen())
        self.appearance_bar.hide_wanted.connect(self.hide_chosen)
        self.appearance_bar.isolate_wanted.connect(self.isolate_chosen)
        self.show_nothing()

    # --- what is shown -------------------------------------------------------------------------

    def show_nothing(self, title: str = "", text: str = "") -> None:
        self._take(None)
        self.appearance.set_table(None)
        self.slices.clear()
        if self.particles_3d is not None:
            self.particles_3d.clear()
        self.table.set_table(None)
        self.sizes.set_table(None)
        self._empty_title.setText(title)
        self._empty_text.setText(text)
        self._centre.setCurrentIndex(0)
        self._side.hide()
        self._grey_box.hide()
        self.select(None)

    def show_scan(self, shown: Shown) -> None:
        """Show a scan, and the particles of a run where `shown` has them."""
        before = self._shown
        same_scan = before is not None and before.entry.id == shown.entry.id
        place = self.slices.position if same_scan else None
        window = self.slices.window_range if same_scan else None
        self._take(shown)
        self.appearance.set_table(shown.table)
        self.selected = None
        self._centre.setCurrentIndex(1)
        self.slices.set_scan(shown.scan, shown.voxel_size_um)
        self._grey_box.show()
        self.greys.set_statistics(shown.scan.statistics)
        if window is not None:
            self.slices.set_window(*window)
            self.greys.set_window(*window)
        if place is not None:
            self.slices.go_to(*place)
        self.slices.set_labels(shown.labels)
        self._side.setVisible(shown.table is not None)
        if shown.table is not None and not self._arranged:
            self._arrange()
        self._set_table(shown)
        self._show_3d(shown)
        self.select(None)
        self._read_scores()

    def show_mended(self, shown: Shown) -> None:
        """Show labels and table after mends; the views keep their place."""
        if self._shown is None or self._shown.scan is not shown.scan:
            return
        changed, self._mended_boxes = self._mended_boxes, []
        self._take(shown)
        selected = self.selected
        self.appearance.set_table(shown.table, mended=True)
        self.slices.set_labels(shown.labels)
        self._set_table(shown)
        if self.particles_3d is not None:
            self.particles_3d.set_labels(shown.labels, shown.table, changed=changed)
        self._read_scores()
        known = selected is not None and self.table.model.row_of_label(selected) is not None
        self.select(selected if known else None)

    def _set_table(self, shown: Shown) -> None:
        """Show a table and the sizes of those of its particles that pass the filter."""
        self.table.set_table(shown.table)
        self.sizes.set_table(shown.table)
        if shown.table is not None:
            self.sizes.set_shown(self.table.model.shown_labels())

    def chosen_particles(self) -> tuple[int, ...]:
        """The particles marked in the table, or the one selected elsewhere."""
        marked = self.table.marked_labels()
        return marked or (() if self.selected is None else (self.selected,))

    def _take(self, shown: Shown | None) -> None:
        """Remember what is shown, and listen to where its labels are mended."""
        before = None if self._shown is None else self._shown.review
        self._shown = shown
        now = None if shown is None else shown.review
        if before is not now:
            self._mended_boxes = []
            if before is not None:
                before.journal.remove_listener(self._on_mend)
            if now is not None:
                now.journal.add_listener(self._on_mend)

    def _on_mend(self, box: Box, _labels: object) -> None:
        self._mended_boxes.append(box)  # in the thread that mends

    # --- how particles look --------------------------------------------------------------------

    def hide_chosen(self) -> None:
        """Hide the particles chosen, in every view."""
        particles = self.chosen_particles()
        self.select(None)
        self.appearance.hide(particles)

    def isolate_chosen(self) -> Task | None:
        """Show only the particles chosen and those that touch them, as soon as these are found."""
        shown, particles = self._shown, set(self.chosen_particles())
        if shown is None or shown.labels is None or shown.table is None or not particles:
            return None
        labels, review = shown.labels, shown.review
        boxes = boxes_of(shown.table[shown.table["label"].isin(particles)])
        task = Task(
            "Looking for neighbours",
            lambda _progress, cancel: touching_particles(labels, particles, boxes.values(), cancel),
        )

        def isolate(neighbours: set[int]) -> None:
            if self._shown is not None and self._shown.review is review:
                self.appearance.isolate(particles | neighbours)

        task.finished.connect(isolate)
        return task.start()

    def _take_look(self, look: LabelLook) -> None:
        self.slices.set_look(look)
        if self.particles_3d is not None:
            self.particles_3d.set_look(look)

    def _show_chosen(self) -> None:
        self.appearance_bar.show_selection(len(self.chosen_particles()))

    def _read_scores(self) -> None:
        """Read the review queue's scores, where there is one, in the background."""
        review = None if self._shown is None else self._shown.review
        if review is None or not review.paths.cases.exists():
            self.appearance.set_scores({})
            return
        path = review.paths.cases
        task = Task("Reading the review scores", lambda _progress, _cancel: expected_errors(path))

        def take(scores: dict[int, float]) -> None:
            if self._shown is not None and self._shown.review is review:
                self.appearance.set_scores(scores)

        task.finished.connect(take)
        task.start()

    # --- layout --------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Share out the window the first time that particles are shown."""
        self._arranged = True
        self._arrange_columns()
        if not self._rows_known:
            upper = min(440, int(0.46 * self.height()))
            self.right.setSizes([upper, self.height() - upper])

    def _arrange_columns(self) -> None:
        """The pictures get the most; in a narrow window the table gives way."""
        width = self.width()
        right = min(720, max(RIGHT_WIDTH, int(0.28 * width)))
        right = max(NARROWEST_RIGHT, min(right, int(0.43 * (width - LEFT_WIDTH))))
        self.splitter.setSizes([LEFT_WIDTH, width - LEFT_WIDTH - right, right])

    def _on_moved_by_hand(self) -> None:
        self._by_hand = True

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if self._arranged and not self._by_hand:
            self._arrange_columns()

    def set_voxel_size(self, voxel_size_um: float | None) -> None:
        """Give lengths in µm from now on."""
        self.slices.set_voxel_size(voxel_size_um)
        if self.particles_3d is not None:
            self.particles_3d.set_voxel_size(voxel_size_um)

    def _show_3d(self, shown: Shown) -> None:
        if self.particles_3d is None and not self._no_3d:
            self.particles_3d = self._make_3d()
        if self.particles_3d is not None:
            self.particles_3d.set_scan(shown.scan, shown.voxel_size_um)
            self.particles_3d.set_labels(shown.labels, shown.table)

    def _make_3d(self) -> Particles3DView | None:
        """The 3D view, or None where it cannot be built; everything else works without it."""
        try:
            from particleseg_app.gui.viewers.particles_3d import Particles3DView

            view = Particles3DView()
        except Exception:
            logger.exception("The 3D view is not available.")
            self._no_3d = True
            return None
        view.label_clicked.connect(self._on_label_clicked_3d)
        view.scale_shown.connect(self.slices.set_scale_elsewhere)
        view.set_look(self.appearance.look)
        self.greys.window_changed.connect(view.set_window)
        self.slices.set_fourth_widget(view)
        return view

    # --- selection -----------------------------------------------------------------------------

    def select(self, particle: int | None) -> None:
        """Mark one particle, or none, in every view."""
        self.selected = particle
        self.slices.select_label(particle)
        self.table.select_label(particle)
        self.sizes.select_label(particle)
        if self.particles_3d is not None:
            self.particles_3d.select_label(particle)
        self.particle_selected.emit(particle)

    def go_to(self, particle: int) -> None:
        """Bring a particle into the middle of the slices."""
        shown = self._shown
        if shown is None or shown.table is None:
            return
        voxel_size = shown.voxel_size_um or 1.0
        place = place_of(shown.table, particle, voxel_size)
        if place is not None:
            size = place.size
            if shown.run is not None:
                # A speck is shown among its neighbours, not filling the view.
                typical = float(shown.run.settings["particle_diameter_um"]) / voxel_size
                size = max(size, typical)
            self.slices.go_to(*place.centre, size)

    def _on_label_clicked(self, particle: int) -> None:
        self.select(particle or None)

    def _on_label_clicked_3d(self, particle: int) -> None:
        self.select(particle or None)
        if particle:
            self.go_to(particle)

    def _on_row_chosen(self, particle: int) -> None:
        self.select(particle)
        self.go_to(particle)

    # --- remembered ----------------------------------------------------------------------------

    def save_layout(self) -> None:
        store = settings()
        if self._by_hand:
            store.setValue("layout/splitter", self.splitter.saveState())
        if self._arranged:
            store.setValue("layout/right", self.right.saveState())
        store.setValue("plot/weighting", self.sizes.weighting)

    def restore_layout(self) -> None:
        store = settings()
        columns, rows = store.value("layout/splitter"), store.value("layout/right")
        if columns is not None:
            self._by_hand = self._arranged = self.splitter.restoreState(columns)
        if rows is not None:
            self._rows_known = self.right.restoreState(rows)
        self.sizes.set_weighting(str(store.value("plot/weighting", "volume")))

    def stop(self) -> None:
        """End the views' own threads; before the program ends."""
        self.show_nothing()
        self.slices.stop()
        if self.particles_3d is not None:
            self.particles_3d.stop()
