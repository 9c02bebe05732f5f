"""Reads slices in two background threads, with a small cache and reading ahead; no Qt.

One thread answers requests, the latest one of each axis only; the other reads ahead in the
direction the user scrolls. Both read a few neighbouring slices at once where the volume can read
boxes, because a stored block holds many slices and unpacking it is what costs the time.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from particleseg_app.gui.viewers.slice_picture import SlicePicture, SliceRequest, make_picture
from particleseg_app.units import Box, Shape

STORED_BLOCK = 64  # edge of the blocks that scans and labels are stored in
NEIGHBOURS_READ = 8
SLICES_READ_AHEAD = 16
READ_AHEAD_DISTANCE = 40
FAR_STEP = 20  # a longer step is a jump, not scrolling
MAX_BYTES_AT_ONCE = 96 << 20

_log = logging.getLogger(__name__)


class SliceVolume(Protocol):
    """Anything slices can be read from; `read(box)` is used as well where it exists."""

    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def read_slice(self, axis: int, index: int) -> np.ndarray: ...


class GreyStatisticsLike(Protocol):
    def display_range(self) -> tuple[float, float]: ...


class ScanLike(SliceVolume, Protocol):
    @property
    def statistics(self) -> GreyStatisticsLike: ...


Key = tuple[int, int]
Slices = tuple[np.ndarray, np.ndarray | None]


class SliceReader:
    """The threads and their cache. `deliver` and `fail` are called from the reading thread."""

    def __init__(
        self,
        deliver: Callable[[SlicePicture], None],
        fail: Callable[[int, int, str], None],
        cache_bytes: int = 512 << 20,
    ) -> None:
        self._deliver = deliver
        self._fail = fail
        self._cache_bytes = cache_bytes
        self._changed = threading.Condition()
        self._stopping = False
        self._generation = 0
        self._scan: SliceVolume | None = None
        self._labels: SliceVolume | None = None
        self._pending: OrderedDict[int, SliceRequest] = OrderedDict()
        self._cache: OrderedDict[Key, Slices] = OrderedDict()
        self._cached_bytes = 0
        self._reading: dict[str, frozenset[Key]] = {}
        self._wanted_ahead: tuple[int, int, int] | None = None  # axis, index, direction
        self._last_index: dict[int, int] = {}
        self._direction: dict[int, int] = {}  # 1 and -1 while scrolling, 0 after a jump
        self._threads = [
            threading.Thread(target=self._answer_requests, name="slice reader", daemon=True),
            threading.Thread(target=self._read_ahead, name="slice read-ahead", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def set_volumes(self, scan: SliceVolume | None, labels: SliceVolume | None) -> None:
        """Read from these from now on; whatever was asked of others is forgotten."""
        with self._changed:
            self._generation += 1
            self._scan, self._labels = scan, labels
            self._pending.clear()
            self._cache.clear()
            self._cached_bytes = 0
            self._wanted_ahead = None
            self._last_index.clear()
            self._direction.clear()
            self._changed.notify_all()

    def request(self, request: SliceRequest) -> None:
        """Ask for a slice; an older request for the same axis is dropped."""
        with self._changed:
            if self._scan is None or self._stopping:
                return
            self._pending[request.axis] = request
            step = request.index - self._last_index.get(request.axis, request.index)
            if step:
                direction = (step > 0) - (step < 0) if abs(step) <= FAR_STEP else 0
                self._direction[request.axis] = direction
                if direction:
                    self._wanted_ahead = (request.axis, request.index, direction)
            self._last_index[request.axis] = request.index
            self._changed.notify_all()

    def stop(self) -> None:
        """End the threads and wait for them; nothing is delivered afterwards."""
        with self._changed:
            self._stopping = True
            self._generation += 1
            self._pending.clear()
            self._cache.clear()
            self._scan = self._labels = None
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _answer_requests(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                axis, request = self._pending.popitem(last=False)
                generation = self._generation
            try:
                slices = self._slices(generation, axis, request.index)
                if slices is None:
                    continue
                picture = make_picture(request, *slices)
            except Exception as error:  # whatever a damaged file raises, the window goes on
                if generation == self._generation:
                    _log.exception("Slice %d of axis %d could not be read.", request.index, axis)
                    self._fail(axis, request.index, str(error))
                continue
            if generation == self._generation:
                self._deliver(picture)

    def _slices(self, generation: int, axis: int, index: int) -> Slices | None:
        key = (axis, index)
        with self._changed:
            while generation == self._generation:
                if key in self._cache:
                    self._cache.move_to_end(key)
                    return self._cache[key]
                if not any(key in keys for keys in self._reading.values()):
                    break
                self._changed.wait()  # the other thread is just reading it
            if generation != self._generation or self._scan is None:
                return None
            many = NEIGHBOURS_READ if hasattr(self._scan, "read") else 1
            direction = self._direction.get(axis, 0)
            first = {1: index, 0: index - many // 2, -1: index - many + 1}[direction]
            start, stop = self._span(axis, index, first, first + many)
        self._read(generation, "asked", axis, start, stop)
        with self._changed:
            return self._cache.get(key) if generation == self._generation else None

    def _read_ahead(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and self._wanted_ahead is None:
                    self._changed.wait()
                if self._stopping or self._wanted_ahead is None or self._scan is None:
                    if self._stopping:
                        return
                    self._wanted_ahead = None
                    continue
                axis, index, direction = self._wanted_ahead
                self._wanted_ahead = None
                generation = self._generation
                first = self._first_missing(axis, index, direction)
                if first is None:
                    continue
                many = SLICES_READ_AHEAD if hasattr(self._scan, "read") else 4
                far = first + direction * (many - 1)
                start, stop = self._span(axis, first, min(first, far), max(first, far) + 1)
            try:
                self._read(generation, "ahead", axis, start, stop)
            except Exception:  # it will be told when this slice is really asked for
                _log.debug("Reading ahead failed.", exc_info=True)

    def _first_missing(self, axis: int, index: int, direction: int) -> int | None:
        assert self._scan is not None
        busy = frozenset().union(*self._reading.values()) if self._reading else frozenset()
        for step in range(1, READ_AHEAD_DISTANCE + 1):
            place = index + direction * step
            if not 0 <= place < self._scan.shape[axis]:
                return None
            if (axis, place) not in self._cache and (axis, place) not in busy:
                return place
        return None

    def _span(self, axis: int, index: int, start: int, stop: int) -> tuple[int, int]:
        """Cut start…stop to the stored layer of `index`, to the volume and to the memory."""
        assert self._scan is not None
        shape = self._scan.shape
        layer = index // STORED_BLOCK * STORED_BLOCK
        plane = int(np.prod(shape)) // shape[axis]
        itemsize = np.dtype(self._scan.dtype).itemsize + (4 if self._labels is not None else 0)
        most = max(1, min(MAX_BYTES_AT_ONCE, self._cache_bytes // 2) // (plane * itemsize))
        start = max(start, layer, index - most // 2 if start < index else index)
        stop = min(stop, layer + STORED_BLOCK, shape[axis], start + most)
        return start, max(stop, index + 1)

    def _read(self, generation: int, role: str, axis: int, start: int, stop: int) -> None:
        keys = frozenset((axis, index) for index in range(start, stop))
        with self._changed:
            scan, labels = self._scan, self._labels
            if generation != self._generation or scan is None:
                return
            self._reading[role] = keys
        try:
            greys = _read_slices(scan, axis, start, stop)
            label_slices: list[np.ndarray] | list[None]
            if labels is None:
                label_slices = [None] * len(greys)
            else:
                label_slices = _read_slices(labels, axis, start, stop)
            with self._changed:
                if generation == self._generation:
                    for index, grey, label in zip(
                        range(start, stop), greys, label_slices, strict=True
                    ):
                        self._keep((axis, index), (grey, label))
        finally:
            with self._changed:
                self._reading.pop(role, None)
                self._changed.notify_all()

    def _keep(self, key: Key, slices: Slices) -> None:
        old = self._cache.pop(key, None)
        self._cached_bytes += _bytes(slices) - (_bytes(old) if old else 0)
        self._cache[key] = slices
        while self._cached_bytes > self._cache_bytes and len(self._cache) > NEIGHBOURS_READ:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= _bytes(dropped)


def _bytes(slices: Slices) -> int:
    grey, labels = slices
    return grey.nbytes + (labels.nbytes if labels is not None else 0)


def _read_slices(volume: Any, axis: int, start: int, stop: int) -> list[np.ndarray]:
    """Slices start…stop of an axis as contiguous arrays, with one reading where possible."""
    if stop - start == 1 or not hasattr(volume, "read"):
        return [
            np.ascontiguousarray(volume.read_slice(axis, index)) for index in range(start, stop)
        ]
    first, end = [0, 0, 0], list(volume.shape)
    first[axis], end[axis] = start, stop
    box = Box((first[0], first[1], first[2]), (end[0], end[1], end[2]))
    slab = np.moveaxis(volume.read(box), axis, 0)
    return [slab[place].copy() for place in range(stop - start)]
