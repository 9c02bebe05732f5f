"""Training patches drawn from a pool of scenes that may still be growing."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.training.augmentation import random_grey_values, random_orientation
from particleseg_app.training.scene_pool import TrainingScene, load_scene


class BatchSource(Protocol):
    """Where a training takes its batches from."""

    @property
    def scene_count(self) -> int: ...

    def batch(self, step: int, size: int, edge: int) -> tuple[np.ndarray, np.ndarray]: ...


class PatchSource:
    """Batches of augmented patches; new scenes in the folder are taken up now and then.

    The batch of step n depends only on the seed, n and the scenes known at that time.
    """

    LOOK_EVERY = 25  # steps between looks for new scenes

    def __init__(
        self, folder: Path, border_thickness: float, seed: int, most_scenes: int = 400
    ) -> None:
        self._folder = folder
        self._border = border_thickness
        self._seed = seed
        self._most = most_scenes
        self._scenes: dict[str, TrainingScene] = {}
        self.look_for_scenes(10)
        if not self._scenes:
            raise InvalidValueError(
                f"{folder} holds no training scenes.", "Simulate scans into it first."
            )

    @property
    def scene_count(self) -> int:
        return len(self._scenes)

    def look_for_scenes(self, most_new: int = 10_000) -> None:
        """Load up to `most_new` scenes that have appeared in the folder."""
        # In mixed order, because neighbouring seeds may have been made with one setting.
        for path in sorted(self._folder.glob("*.npz"), key=lambda p: zlib.crc32(p.name.encode())):
            if most_new <= 0 or len(self._scenes) >= self._most:
                return
            if path.stem not in self._scenes:
                self._scenes[path.stem] = load_scene(path, self._border)
                most_new -= 1

    def batch(self, step: int, size: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
        """Greys (size, 1, edge³) float32 and encoded targets (size, edge³) uint8 of one step."""
        if step % self.LOOK_EVERY == 0:
            self.look_for_scenes(6)
        rng = np.random.default_rng([self._seed, step])
        names = sorted(self._scenes)
        greys, targets = [], []
        for _ in range(size):
            scene = self._scenes[names[int(rng.integers(len(names)))]]
            grey, target = random_orientation(rng, *self._patch(rng, scene, edge))
            greys.append(random_grey_values(rng, grey))
            targets.append(target)
        return np.stack(greys)[:, None], np.stack(targets)

    def plain_patch(self, index: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
        """Patch number `index` without augmentation: grey (1, 1, edge³), target (edge³)."""
        rng = np.random.default_rng([self._seed, index])
        names = sorted(self._scenes)
        scene = self._scenes[names[index % len(names)]]
        corner = rng.integers(0, np.array(scene.grey.shape) - edge + 1)
        window = tuple(slice(c, c + edge) for c in corner)
        return scene.grey[window].astype(np.float32)[None, None], scene.target[window]

    def _patch(
        self, rng: np.random.Generator, scene: TrainingScene, edge: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Grey and encoded target (edge³) cut from a scene, before they are turned and changed."""
        window = self._window(rng, scene, edge)
        return scene.grey[window], scene.target[window]

    def _window(
        self, rng: np.random.Generator, scene: TrainingScene, edge: int
    ) -> tuple[slice, ...]:
        return tuple(slice(c, c + edge) for c in self._corner(rng, scene, edge))

    def _corner(self, rng: np.random.Generator, scene: TrainingScene, edge: int) -> np.ndarray:
        """Patch corner: anywhere, around a particle voxel, or around a contact."""
        most = np.array(scene.grey.shape) - edge
        draw = rng.random()
        points = scene.contact_points if draw < 0.35 else scene.particle_points
        if draw > 0.75 or len(points) == 0:
            return rng.integers(0, most + 1)
        point = points[int(rng.integers(len(points)))].astype(int)
        return np.clip(point - rng.integers(edge // 4, 3 * edge // 4, 3), 0, most)


class MixedSource:
    """Patches of two sources in one batch; on average `share` of them from the second."""

    def __init__(self, first: BatchSource, second: BatchSource, share: float, seed: int) -> None:
        self._sources = (first, second)
        self._share = share
        self._seed = seed

    @property
    def scene_count(self) -> int:
        return sum(source.scene_count for source in self._sources)

    def batch(self, step: int, size: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
        """As `PatchSource.batch`; depends on the seed, the step and the two sources."""
        rng = np.random.default_rng([self._seed, step, 1])
        of_second = int((rng.random(size) < self._share).sum())
        parts = [
            source.batch(step, count, edge)
            for source, count in zip(self._sources, (size - of_second, of_second), strict=True)
            if count
        ]
        greys, targets = zip(*parts, strict=True)
        return np.concatenate(greys), np.concatenate(targets)


class Prefetcher:
    """Prepares the batch of the next step in a thread while the present one is trained on."""

    def __init__(self, source: BatchSource, sizes: tuple[tuple[int, int], ...]) -> None:
        self._source = source
        self._sizes = sizes
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="patches")
        self._ready: dict[int, object] = {}

    def _make(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        size, edge = self._sizes[step % len(self._sizes)]
        return self._source.batch(step, size, edge)

    def get(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        waiting = self._ready.pop(step, None) or self._pool.submit(self._make, step)
        self._ready = {step + 1: self._pool.submit(self._make, step + 1)}
        return waiting.result()  # type: ignore[attr-defined]

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
