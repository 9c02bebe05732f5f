"""Batches made in other threads while the present one is trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from particleseg_app.training.patches import BatchSource

Batch = tuple[Any, Any]  # grey values and encoded targets, arrays or tensors


class Prefetcher:
    """Prepares the batches of the next `ahead` steps; with 0 each is made when it is asked for.

    `prepare` takes a step and its batch and gives what `get` is to return.
    """

    def __init__(
        self,
        source: BatchSource,
        sizes: tuple[tuple[int, int], ...],
        ahead: int = 1,
        prepare: Callable[[int, Any, Any], Batch] | None = None,
    ) -> None:
        """`sizes`: (patches, edge), taken in turn."""
        self._source = source
        self._sizes = sizes
        self._ahead = ahead
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(max(1, ahead), thread_name_prefix="patches")
        self._ready: dict[int, Future[Batch]] = {}

    def _make(self, step: int) -> Batch:
        size, edge = self._sizes[step % len(self._sizes)]
        batch = self._source.batch(step, size, edge)
        return batch if self._prepare is None else self._prepare(step, *batch)

    def get(self, step: int) -> Batch:
        """The batch of `step`; raises what making it raised."""
        if self._ahead == 0:
            return self._make(step)
        self._ready = {n: batch for n, batch in self._ready.items() if n >= step}
        for wanted in range(step, step + self._ahead + 1):
            if wanted not in self._ready:
                self._ready[wanted] = self._pool.submit(self._make, wanted)
        return self._ready[step].result()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def pinned(step: int, grey: Any, target: Any) -> Batch:
    """Arrays as tensors that a graphics card fetches by itself, while the processor goes on."""
    import torch

    return torch.from_numpy(grey).pin_memory(), torch.from_numpy(target).pin_memory()
