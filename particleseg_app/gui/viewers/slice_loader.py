"""The bridge between the slice views and the threads that read: requests in, pictures out."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from particleseg_app.gui.viewers.slice_picture import SlicePicture, SliceRequest
from particleseg_app.gui.viewers.slice_reader import SliceReader, SliceVolume


class SliceLoader(QObject):
    """Loads slices in the background; the latest request of each axis wins.

    Signals (delivered in the thread this object lives in): `loaded` with a `SlicePicture`,
    `failed` with axis, index and what was wrong.
    """

    loaded = Signal(object)
    failed = Signal(int, int, str)

    def __init__(self, parent: QObject | None = None, cache_bytes: int = 512 << 20) -> None:
        super().__init__(parent)
        self._reader = SliceReader(self._deliver, self._tell_failure, cache_bytes)
        # A plain object, so that the threads end even when only the widget's parent goes.
        self.destroyed.connect(self._reader.stop)

    def set_volumes(self, scan: SliceVolume | None, labels: SliceVolume | None) -> None:
        """Read from these from now on. Both have the same shape (z, y, x)."""
        self._reader.set_volumes(scan, labels)

    def request(self, request: SliceRequest) -> None:
        """Ask for a slice; returns at once."""
        self._reader.request(request)

    def stop(self) -> None:
        """End the reading threads; nothing can be loaded afterwards."""
        self._reader.stop()

    @property
    def running(self) -> bool:
        return self._reader.running

    def _deliver(self, picture: SlicePicture) -> None:
        try:
            self.loaded.emit(picture)
        except RuntimeError:  # the window went while the slice was being read
            pass

    def _tell_failure(self, axis: int, index: int, reason: str) -> None:
        try:
            self.failed.emit(axis, index, reason)
        except RuntimeError:
            pass
