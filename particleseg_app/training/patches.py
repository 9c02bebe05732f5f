"""Training patches drawn from a pool of scenes that may still be growing."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.training.scene_pool import SIMULATED, SceneForm, TrainingScene, load_scene


class BatchSource(Protocol):
    """Where a training takes its batches from.

    `prefetched`: may be asked from several threads, for steps ahead, and gives arrays; else it is
    asked for one step after the other and gives tensors on the device that trains. Grey values are
    float16, targets encoded in uint8. `state` is what the batches before `step` were drawn from,
    for a checkpoint; `restore` makes a new source go on from there.
    """

    @property
    def prefetched(self) -> bool: ...

    @property
    def scene_count(self) -> int: ...

    def batch(self, step: int, size: int, edge: int) -> tuple[Any, Any]: ...

    def state(self, step: int) -> list[Any]: ...

    def restore(self, state: list[Any]) -> None: ...


class HeldBackPatches(Protocol):
    """Labelled patches that take no part in the training."""

    def plain_patch(self, index: int, edge: int) -> tuple[np.ndarray, np.ndarray]: ...


class PatchSource:
    """Batches of patches as they were cut; new scenes in the folder are taken up now and then.

    The batch of step n depends only on the seed, n and the scenes known at that time.
    """

    LOOK_EVERY = 25  # steps between looks for new scenes
    prefetched = True

    def __init__(
        self,
        folder: Path,
        border_thickness: float,
        seed: int,
        most_scenes: int = 400,
        form: SceneForm = SIMULATED,
        edge: int = 0,
    ) -> None:
        """`edge`: of the patches; scenes that are shorter go on as their mirror image."""
        self._edge = edge
        self._folder = folder
        self._border = border_thickness
        self._seed = seed
        self._most = most_scenes
        self._form = form
        self._scenes: dict[str, TrainingScene] = {}
        self._taken: list[tuple[int, list[str]]] = []  # at which look, and which scenes
        self._lock = threading.Lock()
        self.look_for_scenes(10)
        self._taken.append((-self.LOOK_EVERY, sorted(self._scenes)))
        self._looked = -self.LOOK_EVERY
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
                self._scenes[path.stem] = self._load(path)
                most_new -= 1

    def _load(self, path: Path) -> TrainingScene:
        return load_scene(path, self._border, self._form, self._edge)

    def _known(self, step: int) -> list[str]:
        """Names of the scenes that step draws from, whichever thread asks first."""
        look = step - step % self.LOOK_EVERY
        with self._lock:
            # Every look that is due, so that it does not matter which step comes first.
            for at in range(self._looked + self.LOOK_EVERY, look + 1, self.LOOK_EVERY):
                before = set(self._scenes)
                self.look_for_scenes(6)
                if new := sorted(set(self._scenes) - before):
                    self._taken.append((at, new))
                self._looked = at
            return sorted(name for at, names in self._taken if at <= look for name in names)

    def state(self, step: int) -> list[Any]:
        looked = (step - 1) // self.LOOK_EVERY * self.LOOK_EVERY  # by the steps before
        return [*([at, list(names)] for at, names in self._taken if at < step), [looked, []]]

    def restore(self, state: list[Any]) -> None:
        """Take up the scenes a training had before it stopped; those that are gone stay away."""
        wanted = {name for _, names in state for name in names}
        for name in sorted(wanted - set(self._scenes)):
            path = self._folder / f"{name}.npz"
            if path.exists():
                self._scenes[name] = self._load(path)
        self._scenes = {name: self._scenes[name] for name in wanted if name in self._scenes}
        self._taken = [(int(at), [n for n in names if n in self._scenes]) for at, names in state]
        self._looked = self._taken[-1][0]

    def batch(self, step: int, size: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
        """Greys (size, 1, edge³) float16 and encoded targets (size, edge³) uint8 of one step."""
        names = self._known(step)
        rng = np.random.default_rng([self._seed, step])
        greys, targets = [], []
        for _ in range(size):
            scene = self._scenes[names[int(rng.integers(len(names)))]]
            grey, target = self._patch(rng, scene, edge)
            greys.append(grey)
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
        """Grey and encoded target (edge³) cut from a scene."""
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

    prefetched = True

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

    def state(self, step: int) -> list[Any]:
        return [source.state(step) for source in self._sources]

    def restore(self, state: list[Any]) -> None:
        for source, own in zip(self._sources, state, strict=True):
            source.restore(own)


class MixedHeldBack:
    """Held-back patches of several sources, in turn."""

    def __init__(self, sources: Sequence[HeldBackPatches]) -> None:
        self._sources = sources

    def plain_patch(self, index: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
        source = self._sources[index % len(self._sources)]
        return source.plain_patch(index // len(self._sources), edge)
