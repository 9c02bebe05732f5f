"""What goes on beside the network on a graphics card: a stream of its own, and marks to wait for.

A card does what one stream holds in the order it was given. Reading the next chunk and closing the
one before therefore have streams of their own: else their transfers would wait for all that the
network still has to do, and the network for them. On a processor there is nothing to order, and
nothing here does anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.progress import Progress

if TYPE_CHECKING:
    import torch

# Batches of tiles a card is given before it has finished the first of them: enough to keep it busy,
# few enough that the progress shown is true and a cancelled run ends soon.
BATCHES_AHEAD = 2
# Bytes of the buffer between a card and the program's memory.
COPIED_AT_ONCE = 32 * 1024**2


class CardStream:
    """A stream beside the one that the network uses; `work` is done in it."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextmanager
    def work(self, after: torch.cuda.Event | None = None) -> Iterator[None]:
        """What is done inside comes after the mark `after`, and is done when the block is left."""
        import torch

        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            if after is not None:
                self._stream.wait_event(after)
            yield
        self._stream.synchronize()


def mark(device: torch.device) -> torch.cuda.Event | None:
    """A mark behind all that the device was given so far by this thread; None on a processor."""
    import torch

    if device.type != "cuda":
        return None
    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event


def used_here(values: torch.Tensor) -> None:
    """Say that the stream of this thread uses what was made in another one.

    Else its memory could be given to the next chunk while the network still reads it.
    """
    import torch

    if values.is_cuda:
        values.record_stream(torch.cuda.current_stream(values.device))


class HostCopies:
    """Copies from a card to the program's memory, through one buffer that stays where it is.

    A card writes into such memory by itself while it computes; any other it hands over piece by
    piece, together with the program. The buffer is used again for every copy, by one thread at a
    time, so that however much is copied it takes no more of the memory that cannot be moved.
    Where there is none of it, copies go without.
    """

    def __init__(self, buffer: torch.Tensor | None = None) -> None:
        # uint8; made when it is first needed.
        self._buffer = buffer
        self._without = False

    def array(self, values: torch.Tensor) -> np.ndarray:
        """The same values in the program's memory: what is there already is not copied."""
        values = values.contiguous()
        if not values.is_cuda:
            array: np.ndarray = values.numpy()
            return array
        buffer = self._pinned()
        return values.cpu().numpy() if buffer is None else self._through(buffer, values)

    def _pinned(self) -> torch.Tensor | None:
        import torch

        if self._buffer is None and not self._without:
            try:
                self._buffer = torch.empty(COPIED_AT_ONCE, dtype=torch.uint8, pin_memory=True)
            except RuntimeError:
                self._without = True
        return self._buffer

    def _through(self, buffer: torch.Tensor, values: torch.Tensor) -> np.ndarray:
        import torch

        answer = torch.empty(values.shape, dtype=values.dtype)
        source, target = (one.view(-1).view(torch.uint8) for one in (values, answer))
        for first in range(0, len(source), len(buffer)):
            part = source[first : first + len(buffer)]
            arrived = buffer[: len(part)]
            arrived.copy_(part, non_blocking=True)
            event = mark(values.device)
            if event is not None:
                event.synchronize()
            target[first : first + len(part)] = arrived
        array: np.ndarray = answer.numpy()
        return array


class Pace:
    """Lets a card run a few batches behind the program, and tells the progress what is done."""

    def __init__(self, device: torch.device, progress: Progress) -> None:
        self._device = device
        self._progress = progress
        self._given: deque[tuple[torch.cuda.Event | None, int]] = deque()

    def given(self, tiles: int) -> None:
        """The device was given a batch; waits while it is too far behind."""
        self._given.append((mark(self._device), tiles))
        while self._given and (self._given[0][0] is None or len(self._given) > BATCHES_AHEAD):
            event, done = self._given.popleft()
            if event is not None:
                event.synchronize()
            self._progress.advance(done)

    def end(self) -> None:
        """Count the last batches, which the device is about to finish."""
        self._progress.advance(sum(tiles for _, tiles in self._given))
        self._given.clear()
