"""How long a step of a training takes, and how much of it goes into getting its batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class StepClock:
    """Milliseconds that each part of the steps took, on the device that trains.

    A graphics card works behind the program, which only tells it what to do next. There a part
    lasts from when the card could have begun with it to when it was done with it, so that the time
    in which it had nothing to do counts to the part that it waited for.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._moments: dict[str, list[tuple[Any, Any]]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens inside is a part of one step; does not wait for the device."""
        began = self._now()
        yield
        self._moments.setdefault(name, []).append((began, self._now()))

    def means(self) -> dict[str, float]:
        """Mean of each part since this was asked last; waits until the device is done with it."""
        moments, self._moments = self._moments, {}
        return {
            name: sum(_milliseconds(*pair) for pair in pairs) / len(pairs)
            for name, pairs in moments.items()
        }

    def _now(self) -> Any:
        import torch

        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


def _milliseconds(began: Any, ended: Any) -> float:
    if isinstance(began, float):
        return 1000 * (ended - began)
    ended.synchronize()
    return float(began.elapsed_time(ended))
