"""The pieces of work of a run over blocks: one small file per finished piece, several threads."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.durable_files import disk_is_full, remove_part_files
from particleseg_app.errors import RunError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, pieces_at_once
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.block_file import read_block_file, write_block_file
from particleseg_app.segmentation.block_grid import BlockGrid
from particleseg_app.segmentation.workers import ThreadWorkers, Workers
from particleseg_app.units import Box, Shape

# What a thread holds at its peak, per voxel of a block (states, queue, labels twice, classes).
_BYTES_PER_VOXEL = 24
_SUFFIX = ".block"


class ClassesVolume(Protocol):
    """Border-core classes on disk at the working scale, axes (z, y, x)."""

    @property
    def shape(self) -> Shape: ...

    def read(self, box: Box) -> np.ndarray:
        """uint8 classes of `box`: 0 background, 1 core, from 2 on border (`core_unions`)."""
        ...


@dataclass
class BlockWork:
    """Where the pieces of one conversion lie, and how they are made.

    `workers` are None for the threads of this process. A copy of it works in the processes of a
    cluster, with locks of its own.
    """

    classes: ClassesVolume
    grid: BlockGrid
    folder: Path
    progress: Progress
    cancel: CancelToken
    workers: Workers | None = None
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES
    _reading: threading.Lock = field(default_factory=threading.Lock)
    # A file is not replaced while it is being read (Windows refuses that), per block number.
    _locks: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(64))
    )

    def read_classes(self, box: Box) -> np.ndarray:
        with self._reading:
            return self.classes.read(box)

    def path(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}_{number:07d}{_SUFFIX}"

    def has(self, kind: str, number: int) -> bool:
        return self.path(kind, number).exists()

    def write(self, kind: str, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        try:
            with self._locks[number % len(self._locks)]:
                write_block_file(self.path(kind, number), arrays)
        except OSError as error:
            if not disk_is_full(error):
                raise
            raise RunError(
                f"There is no space left in {self.folder}.",
                "Free some space and start the run again; it goes on where it stopped.",
            ) from error

    def read(self, kind: str, number: int, *names: str) -> dict[str, np.ndarray]:
        with self._locks[number % len(self._locks)]:
            return read_block_file(self.path(kind, number), *names)

    def missing(self, kind: str) -> list[int]:
        return [number for number in range(len(self.grid)) if not self.has(kind, number)]

    def each(
        self,
        stage: str,
        numbers: Sequence[int],
        do: Callable[[int], Any],
        *,
        here: bool = False,
    ) -> list[Any]:
        """Call `do` for each block number, many at once; show the finished ones as progress.

        The results of `do`, which are returned in the order of `numbers`, must not depend on the
        order of the calls, and `do` must leave nothing but files and its result, since it may run
        in another process. With `here` it runs in threads of this process in any case.
        """
        self.progress.start(stage, total=len(numbers), unit="blocks")
        results: dict[int, Any] = {}

        def done(number: int, result: Any) -> tuple[()]:
            results[number] = result
            self.progress.advance()
            return ()

        workers = None if here else self.workers
        if workers is None:
            workers = ThreadWorkers(usable_cores())
        if numbers:
            workers.each(do, numbers, self.cancel, done, at_once=self.most_at_once)
        return [results[number] for number in numbers]

    def most_at_once(self) -> int:
        """How many blocks fit the limit, and the memory that is free where this is called."""
        voxels = math.prod(n + 4 for n in self.grid.block_shape)
        return pieces_at_once(self.memory_limit_bytes, voxels * _BYTES_PER_VOXEL)

    def remove_pieces(self) -> None:
        """Remove every piece, finished or half-written."""
        remove_part_files(self.folder)
        for path in self.folder.glob(f"*{_SUFFIX}"):
            path.unlink()


def joined(count: int, pairs: np.ndarray) -> tuple[int, np.ndarray]:
    """Groups of the items 0…`count`-1 that `pairs` (n, 2) link: their number, the group of each."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    groups, group = connected_components(links, directed=False)
    return int(groups), group
