"""Reads the neighbourhoods of the next cases in the background, so that stepping never waits."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.review.neighbourhood import BoxVolume, Neighbourhood, read_neighbourhood
from particleseg_app.units import Box

logger = logging.getLogger(__name__)

KEPT_BYTES = 1 << 30
Place = tuple[Box, int]  # box of the case, margin in voxels


class NeighbourhoodReader(QObject):
    """One thread that reads the places asked for, in their order, and keeps the latest ones.

    `ready` is emitted with the place and its `Neighbourhood`, `failed` with the place and the
    error, both in the window's thread.
    """

    ready = Signal(object, object)
    failed = Signal(object, object)

    def __init__(self, scan: BoxVolume, labels: BoxVolume, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._scan, self._labels = scan, labels
        self._changed = threading.Condition()
        self._wanted: list[Place] = []
        self._announce: Place | None = None
        self._kept: OrderedDict[Place, Neighbourhood] = OrderedDict()
        self._generation = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="review read-ahead", daemon=True)
        self._thread.start()

    def get(self, place: Place) -> Neighbourhood | None:
        """What is there already; None if it is still to be read."""
        with self._changed:
            found = self._kept.get(place)
            if found is not None:
                self._kept.move_to_end(place)
            return found

    def want(self, places: Sequence[Place]) -> None:
        """Read these, the first one first; what was wanted before and is not among them is not."""
        with self._changed:
            self._wanted = [place for place in places if place not in self._kept]
            self._announce = places[0] if places else None
            self._changed.notify_all()

    def forget(self, touched: Box) -> None:
        """Labels changed in `touched`: what was read of it must be read again."""
        with self._changed:
            self._generation += 1
            for place, found in list(self._kept.items()):
                if found.box.intersection(touched).size > 0:
                    del self._kept[place]

    def stop(self) -> None:
        """Have the thread end; nothing is delivered afterwards. See `wait`."""
        with self._changed:
            self._stopping = True
            self._wanted.clear()
            self._kept.clear()
            self._changed.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the thread has ended, at most so long; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                place = self._wanted.pop(0)
                generation = self._generation
            try:
                found = read_neighbourhood(self._scan, self._labels, *place)
            except Exception as error:  # whatever a drive that went away raises
                logger.exception("A case could not be read.")
                self._tell(self.failed, place, error)
                continue
            with self._changed:
                if generation != self._generation:  # read before a mend: read it once more
                    self._wanted.insert(0, place)
                    continue
                self._keep(place, found)
                announce = place == self._announce
            if announce:
                self._tell(self.ready, place, found)

    def _keep(self, place: Place, found: Neighbourhood) -> None:
        self._kept[place] = found
        size = sum(n.grey.nbytes + n.labels.nbytes for n in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 2:
            _, dropped = self._kept.popitem(last=False)
            size -= dropped.grey.nbytes + dropped.labels.nbytes

    def _tell(self, signal: object, place: Place, what: object) -> None:
        try:
            if not self._stopping:
                signal.emit(place, what)  # type: ignore[attr-defined]
        except RuntimeError:  # the window went in the meantime
            pass
