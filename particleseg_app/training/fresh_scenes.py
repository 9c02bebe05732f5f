"""Simulated scans made while they are trained on, by as many processes as there are cores.

A graphics card learns from a scene faster than one process makes them. Here the scene of a number
is always the same, whichever process makes it.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.training.scene_processes import scene_processes

if TYPE_CHECKING:
    import torch

COARSE = 4  # voxels an edge of the grid on which contacts are counted


@dataclass(frozen=True)
class Stream:
    """An endless row of scenes of `edge`³ voxels and which of them a step draws from.

    `presets`: chance of each preset. `window`: how many following scenes are there at most.
    `steps_per_scene`: after so many steps the oldest goes and the next comes, however long that
    takes to make, and the first step has all of `window`. None: the training begins with `first`
    scenes, and each further one comes when it is made. `critical`: bridges and necks are marked
    (`critical_voxels.py`). `least_contrast_to_noise`: noisier scans are denoised as in a run
    (`shown_scan.py`). Lengths in voxels.
    """

    presets: dict[str, float]
    first_seed: int
    border_thickness: float = 2.0
    window: int = 48
    steps_per_scene: float | None = 2.0
    edge: int = 128
    first: int = 16
    critical: bool = False
    least_contrast_to_noise: float = 0.0

    def scenes(self, step: int) -> range:
        """Numbers of the scenes that `step` draws from, where that is settled beforehand."""
        assert self.steps_per_scene is not None
        oldest = int(step / self.steps_per_scene)
        return range(oldest, oldest + self.window)

    def preset(self, number: int) -> str:
        rng = np.random.default_rng([self.first_seed, number])
        chances = np.array(list(self.presets.values()))
        return str(rng.choice(list(self.presets), p=chances / chances.sum()))


@dataclass(frozen=True)
class FreshScene:
    """A scene ready to be handed to the device that trains; volumes (z, y, x).

    `grey`: float16, normalised. `target`: encoded classes, uint8. `contacts`: bool, where particles
    touch, on a grid of every `COARSE`th voxel.
    """

    grey: torch.Tensor
    target: torch.Tensor
    contacts: np.ndarray


class SceneMaker:
    """Processes that make the scenes of a `Stream` ahead of their use, until `close`.

    They pass through files in a temporary folder, in memory where the system has one for that.
    """

    def __init__(self, stream: Stream, processes: int | None = None, pin: bool = False) -> None:
        """`pin`: scenes lie where a graphics card fetches them by itself."""
        self._stream, self._pin = stream, pin
        count = processes or max(1, usable_cores() - 1)
        self._ahead = 3 * count  # one slow scene must not leave the other processes idle
        needed = self._ahead * 4 * stream.edge**3  # bytes
        self._folder = Path(tempfile.mkdtemp(prefix="scenes_", dir=_folder_in_memory(needed)))
        self._pool = scene_processes(count, self._folder)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="scenes")
        self._asked: dict[int, Future[FreshScene]] = {}
        self._next = 0

    def close(self) -> None:
        """End the processes and remove what they left."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reader.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def begin_at(self, number: int) -> None:
        """Have scenes made from `number` on, and no longer those before it."""
        self._next = max(self._next, number)
        for early in [n for n in self._asked if n < number]:
            self._asked.pop(early).cancel()

    def ready(self, number: int) -> bool:
        """Whether `take` would give that scene at once."""
        return self._future(number).done()

    def take(self, number: int) -> FreshScene:
        """The scene of `number`, once; waits until it is made. Numbers are taken in order."""
        future = self._future(number)
        self._asked.pop(number)
        return future.result()

    def _future(self, number: int) -> Future[FreshScene]:
        for wanted in range(self._next, number + self._ahead + 1):
            made = self._pool.submit(_make_scene, self._folder, self._stream, wanted)
            self._asked[wanted] = self._reader.submit(self._read, wanted, made)
            self._next = wanted + 1
        return self._asked[number]

    def _read(self, number: int, made: Future[None]) -> FreshScene:
        import torch

        made.result()
        path = _scene_path(self._folder, number)
        with np.load(path, allow_pickle=False) as data:
            grey, target = torch.from_numpy(data["grey"]), torch.from_numpy(data["target"])
            contacts = data["contacts"]
        path.unlink()
        if self._pin:
            grey, target = grey.pin_memory(), target.pin_memory()
        return FreshScene(grey, target, contacts)


def _folder_in_memory(needed: int) -> Path | None:
    """Where files of `needed` bytes lie in memory, on Linux; None: the usual temporary folder."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 2 * needed:
        return memory
    return None


def _scene_path(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.npz"


def _make_scene(folder: Path, stream: Stream, number: int) -> None:
    """Write grey values, targets and coarse contacts of one scene."""
    from particleseg_app.training.scene_pool import (
        CONTACT_BIT,
        SceneForm,
        encoded_target,
        shown_to_network,
    )
    from particleseg_app.training.scenes import simulate_scan

    scan = simulate_scan(stream.preset(number), stream.first_seed + number, (stream.edge,) * 3)
    form = SceneForm(least_contrast_to_noise=stream.least_contrast_to_noise)
    grey, labels = shown_to_network(scan.grey, scan.labels, form)
    target = encoded_target(labels, stream.border_thickness, stream.critical)
    path = _scene_path(folder, number)
    with open(path, "wb") as file:
        np.savez(
            file,
            grey=grey.astype(np.float16),
            target=target,
            contacts=target[::COARSE, ::COARSE, ::COARSE] & CONTACT_BIT > 0,
        )
