"""Shares compiled work on one crop among a few threads, slab by slab.

The compiled loops let go of Python's lock, so that threads work side by side. Each voxel belongs
to one slab, so the result does not depend on how many there are. Little work is done in the thread
that asks for it: handing it on may wait milliseconds for Python's lock, which the window holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from particleseg_app.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 4
_FEWEST_VOXELS = 3_000_000  # of a crop, and
_FEWEST_ITEMS = 24  # blocks of a mend, that are worth a handing on


def in_slabs(work: Callable[[int, int], object], count: int, voxels: int, step: int = 1) -> None:
    """Call `work(start, stop)` for slabs that together are 0…`count`, begun at multiples of
    `step`; returns when all are done. `voxels`: of all of them."""
    if voxels < _FEWEST_VOXELS:
        work(0, count)
        return
    edge = -(-count // _threads())
    edge = -(-edge // step) * step
    slabs = [(start, min(start + edge, count)) for start in range(0, count, edge)]
    _share(lambda slab: work(*slab), slabs)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of `work` for each item, in their order."""
    waiting = list(items)
    if len(waiting) < _FEWEST_ITEMS:
        return [work(item) for item in waiting]
    return _share(work, waiting)


def _share(work: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    if _threads() < 2 or len(items) < 2:
        return [work(item) for item in items]
    return list(_pool().map(work, items))


@cache
def _threads() -> int:
    return min(MOST_THREADS, usable_cores())


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), thread_name_prefix="mending")
