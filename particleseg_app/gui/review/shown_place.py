"""The particles under review and the crop around them, read in the background."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.review.neighbourhood import BoxVolume, Neighbourhood, box_to_show
from particleseg_app.gui.review.read_ahead import NeighbourhoodReader, Place
from particleseg_app.units import Box


class ShownPlace(QObject):
    """What is looked at: `particles` in `box`, and their `neighbourhood` once it has been read."""

    ready = Signal()  # the neighbourhood that was not there yet
    failed = Signal(object)

    def __init__(
        self, scan: BoxVolume, labels: BoxVolume, margin: int, parent: QObject | None = None
    ) -> None:
        """`margin`: voxels around a box that are shown with it."""
        super().__init__(parent)
        self.particles: tuple[int, ...] = ()
        self.box: Box | None = None
        self.neighbourhood: Neighbourhood | None = None
        self._looked_for: tuple[Neighbourhood | None, tuple[int, ...], bool] = (None, (), False)
        self._shape = labels.shape
        self._margin = margin
        self._reader = NeighbourhoodReader(scan, labels, self)
        self._reader.ready.connect(self._on_read)
        self._reader.failed.connect(lambda _place, error: self.failed.emit(error))

    def choose(self, particles: tuple[int, ...], box: Box) -> None:
        """From now on these are looked at; `look` gets what is to be shown of them."""
        if box != self.box:
            self.neighbourhood = None  # so that nobody draws the old place anew
        self.particles, self.box = particles, box

    def look(self, ahead: Iterable[Box]) -> bool:
        """Whether the place has been read already; it is read first, then those `ahead`."""
        assert self.box is not None
        place = (self.box, self._margin)
        places: list[Place] = [place, *((box, self._margin) for box in ahead)]
        found = self._reader.get(place)
        self._reader.want(list(dict.fromkeys(places)))
        self.neighbourhood = found
        return found is not None

    def particle_at(self, voxel: tuple[int, int, int]) -> int:
        """The particle at a voxel of the neighbourhood; 0 for none."""
        if self.neighbourhood is None:
            return 0
        labels = self.neighbourhood.labels
        inside = all(0 <= v < n for v, n in zip(voxel, labels.shape, strict=True))
        return int(labels[voxel]) if inside else 0

    @property
    def gone(self) -> bool:
        """Whether there are particles to look at, but none of them is there any more."""
        found, particles = self.neighbourhood, self.particles
        if found is None or not particles:
            return False
        if self._looked_for[:2] != (found, particles):  # a look through a large crop takes a while
            self._looked_for = found, particles, not found.holds(particles)
        return self._looked_for[2]

    def forget(self, box: Box) -> None:
        """Labels in a box have changed: what was read of it is out of date."""
        self._reader.forget(box)

    def sees(self, box: Box) -> bool:
        """Whether any of a box is, or will be when it has been read, in what is shown."""
        if self.box is None:
            return False
        shown = box_to_show(self.box, self._shape, self._margin)
        return shown.intersection(box).size > 0

    def stop(self) -> None:
        self._reader.stop()

    def wait(self, seconds: float | None = None) -> bool:
        return self._reader.wait(seconds)

    def _on_read(self, place: Place, found: Neighbourhood) -> None:
        if self.box is not None and place == (self.box, self._margin):
            self.neighbourhood = found
            self.ready.emit()
