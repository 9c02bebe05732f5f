"""Batches of augmented slices from the simulated scenes that the default model learns from."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from particleseg_app.errors import InvalidValueError
from particleseg_app.training.augmentation import Randomness, random_grey_values
from particleseg_app.training.scene_pool import TrainingScene, load_scene

HELD_BACK_ONE_IN = 40  # scenes that choose the class offsets and are never trained on
SLAB = 16  # neighbouring slices that are augmented together, of which some are taken


def held_back(path: Path) -> bool:
    """Whether a scene of the pool is kept out of the training; depends on its name alone."""
    return zlib.crc32(path.name.encode()) % HELD_BACK_ONE_IN == 0


class SliceSource:
    """Slices along all three axes, since a simulated scene has no preferred direction of viewing.

    The batch of step n depends on the seed, n and the scenes known by then.
    """

    def __init__(self, folder: Path, border_thickness: float, seed: int, most_scenes: int) -> None:
        self._folder, self._border, self._seed = folder, border_thickness, seed
        self._most = most_scenes
        self._scenes: dict[str, TrainingScene] = {}
        self.look_for_scenes(8)
        if not self._scenes:
            raise InvalidValueError(
                f"{folder} holds no training scenes.", "Simulate scans into it first."
            )

    @property
    def scene_count(self) -> int:
        return len(self._scenes)

    def look_for_scenes(self, most_new: int) -> None:
        """Load up to `most_new` scenes that are not loaded yet, in mixed order."""
        for path in sorted(self._folder.glob("*.npz"), key=lambda p: zlib.crc32(p.name.encode())):
            if most_new <= 0 or len(self._scenes) >= self._most:
                return
            if path.stem not in self._scenes and not held_back(path):
                self._scenes[path.stem] = load_scene(path, self._border)
                most_new -= 1

    def batch(self, step: int, slabs: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
        """`slices` slices from each of `slabs` slabs: grey (n, 1, y, x), target (n, y, x)."""
        if step % 10 == 0:
            self.look_for_scenes(4)
        rng = np.random.default_rng([self._seed, step])
        names = sorted(self._scenes)
        greys, targets = [], []
        for _ in range(slabs):
            scene = self._scenes[names[int(rng.integers(len(names)))]]
            axis = int(rng.integers(3))
            first = self._first_slice(rng, scene, axis)
            grey = np.moveaxis(scene.grey, axis, 0)[first : first + SLAB]
            target = np.moveaxis(scene.target, axis, 0)[first : first + SLAB]
            random = Randomness.of([self._seed, step, len(greys)], "cpu")
            grey = random_grey_values(random, torch.from_numpy(grey)).numpy()
            for index in rng.choice(SLAB, slices, replace=False):
                flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None)
                              for _ in range(2))  # fmt: skip
                swap = rng.random() < 0.5
                for volume, kept in ((grey, greys), (target, targets)):
                    plane = volume[index][flips]
                    kept.append(np.ascontiguousarray(plane.T if swap else plane))
        return np.stack(greys)[:, None], np.stack(targets)

    def _first_slice(self, rng: np.random.Generator, scene: TrainingScene, axis: int) -> int:
        """As in 3D: a third of the slabs around a contact, others at a particle, or anywhere."""
        most = scene.grey.shape[axis] - SLAB
        draw = rng.random()
        points = scene.contact_points if draw < 0.35 else scene.particle_points
        if draw > 0.75 or len(points) == 0:
            return int(rng.integers(most + 1))
        position = int(points[int(rng.integers(len(points)))][axis])
        return int(np.clip(position - rng.integers(SLAB), 0, most))
