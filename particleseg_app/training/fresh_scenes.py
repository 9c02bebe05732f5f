"""Simulated scans made while they are trained on, by as many processes as there are cores.

A graphics card learns from a scene faster than one process makes them. Here the scene of a number
is always the same, and which scenes a step draws from follows from its own number: so neither the
count of processes nor an interruption changes a patch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np

from particleseg_app.training.scene_processes import scene_processes

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Stream:
    """An endless row of scenes of 128³ voxels and which of them a step draws from.

    `presets`: chance of each preset. The scenes of a step are `window` following ones; after
    `steps_per_scene` steps they are one further on. Lengths in voxels.
    """

    presets: dict[str, float]
    first_seed: int
    border_thickness: float = 2.0
    window: int = 48
    steps_per_scene: float = 2.0
    edge: int = 128

    def newest(self, step: int) -> int:
        """The highest number of the scenes that `step` draws from."""
        return self.window - 1 + int(step / self.steps_per_scene)

    def scenes(self, step: int) -> range:
        newest = self.newest(step)
        return range(newest - self.window + 1, newest + 1)

    def preset(self, number: int) -> str:
        rng = np.random.default_rng([self.first_seed, number])
        chances = np.array(list(self.presets.values()))
        return str(rng.choice(list(self.presets), p=chances / chances.sum()))


class FreshScenes:
    """A `BatchSource` over a `Stream`; scenes lie in a temporary folder while they are needed."""

    def __init__(self, stream: Stream, seed: int, processes: int | None = None) -> None:
        self._stream = stream
        self._seed = seed
        count = processes or max(1, (os.cpu_count() or 2) - 1)
        self._ahead = 2 * count
        needed = (2 * stream.window + self._ahead) * 4 * stream.edge**3  # bytes
        self._folder = Path(tempfile.mkdtemp(prefix="scenes_", dir=_folder_in_memory(needed)))
        self._pool = scene_processes(count, self._folder)
        self._made: dict[int, Future[None]] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def scene_count(self) -> int:
        """How many scenes were asked for so far."""
        return max(self._made, default=-1) + 1

    def batch(self, step: int, size: int, edge: int) -> Batch:
        """As `PatchSource.batch`; depends on the stream, the seed and the step."""
        stream = self._stream
        wanted = stream.scenes(step)
        with self._lock:
            for number in range(wanted[0], wanted[-1] + self._ahead):
                if number not in self._made:
                    self._made[number] = self._pool.submit(
                        _make_scene, self._folder, stream, number
                    )
            # Steps are asked for a little out of order, so some are kept that have gone by.
            for number in [n for n in self._made if n < wanted[0] - stream.window]:
                self._made.pop(number)
                _scene_path(self._folder, number).unlink(missing_ok=True)
            futures = [self._made[number] for number in wanted]
        for future in futures:
            future.result()
        return self._pool.submit(
            _make_batch, self._folder, list(wanted), self._seed, step, size, edge
        ).result()

    def state(self, step: int) -> list[Any]:
        return []  # a step knows its scenes

    def restore(self, state: list[Any]) -> None:
        pass


def _folder_in_memory(needed: int) -> Path | None:
    """Where files of `needed` bytes lie in memory, on Linux; None: the usual temporary folder."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 2 * needed:
        return memory
    return None


def _scene_path(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.npy"


def _make_scene(folder: Path, stream: Stream, number: int) -> None:
    """Write grey values and targets of one scene as one array (2, z, y, x) of float16."""
    from particleseg_app.training.scene_pool import encoded_target, normalise_scan
    from particleseg_app.training.scenes import simulate_scan

    scan = simulate_scan(stream.preset(number), stream.first_seed + number, (stream.edge,) * 3)
    target = encoded_target(scan.labels, stream.border_thickness)
    both = np.stack([normalise_scan(scan.grey).astype(np.float16), target.astype(np.float16)])
    path = _scene_path(folder, number)
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        np.save(file, both)
    os.replace(part, path)


def _make_batch(
    folder: Path, numbers: list[int], seed: int, step: int, size: int, edge: int
) -> Batch:
    """Patches of scenes that are mapped, so that only what is cut is read."""
    from particleseg_app.training.augmentation import vary_patch

    rng = np.random.default_rng([seed, step])
    greys, targets = [], []
    for number in rng.choice(numbers, size, replace=len(numbers) < size):
        scene = np.load(_scene_path(folder, int(number)), mmap_mode="r")
        window = (slice(None), *(slice(c, c + edge) for c in _corner(rng, scene[1], edge)))
        grey, target = scene[window]
        grey, target = vary_patch(rng, grey, target.astype(np.uint8))
        greys.append(grey)
        targets.append(target)
    return np.stack(greys)[:, None], np.stack(targets)


def _corner(rng: np.random.Generator, target: np.ndarray, edge: int) -> np.ndarray:
    """Patch corner: anywhere or, in half of the cases, the best of some by voxels at contacts."""
    from particleseg_app.training.scene_pool import CONTACT_BIT

    most = np.array(target.shape) - edge
    corners = rng.integers(0, most + 1, (4, 3))
    if rng.random() < 0.5:
        return np.asarray(corners[0])
    coarse = np.asarray(target[::4, ::4, ::4]).astype(np.uint8) & CONTACT_BIT > 0
    counts = [
        coarse[tuple(slice(c // 4, (c + edge) // 4) for c in corner)].sum() for corner in corners
    ]
    return np.asarray(corners[int(np.argmax(counts))])
