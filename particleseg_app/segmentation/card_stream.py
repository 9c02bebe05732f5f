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

from particleseg_app.progress import Progress

if TYPE_CHECKING:
    import torch

# Batches of tiles a card is given before it has finished the first of them: enough to keep it busy,
# few enough that the progress shown is true and a cancelled run ends soon.
BATCHES_AHEAD = 2


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
