"""Shares compiled work on one crop among a few threads, slab by slab.

The compiled loops let go of Python's lock, so that threads work side by side. Each voxel belongs
to one slab, so the result does not depend on how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 4
_SMALLEST = 16  # layers of a slab; less is not worth a thread


def in_slabs(work: Callable[[int, int], object], count: int, step: int = 1) -> None:
    """Call `work(start, stop)` for slabs that together are 0…`count`, begun at multiples of
    `step`; returns when all are done."""
    threads = _threads()
    edge = max(_SMALLEST, -(-count // threads))
    edge = -(-edge // step) * step
    slabs = [(start, min(start + edge, count)) for start in range(0, count, edge)]
    in_threads(lambda slab: work(*slab), slabs)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of `work` for each item, in their order."""
    waiting = list(items)
    if len(waiting) < 2 or _threads() < 2:
        return [work(item) for item in waiting]
    return list(_pool().map(work, waiting))


@cache
def _threads() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return max(1, min(MOST_THREADS, cores))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), thread_name_prefix="mending")
