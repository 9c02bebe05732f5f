"""Simulated scans of a training: made while it runs, some of them held back from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training.patches import PatchSource
from particleseg_app.training.scene_pool import SceneForm, fill_pool, read_scene
from particleseg_app.training.training_plan import SEEDS_APART, TrainingPlan

FIRST_SCENES = 4  # simulated before the training begins; the others while it runs
MOST_HELD_BACK = 6
# Far from the seeds behind the default model, its figures and the bundled sample.
FIRST_SEED, SEED_GROUPS = 2_000_000, 3000
MEMORY_SHARE = 0.25  # of the free memory, for the scenes that are trained on


class SimulatedScans:
    """A context in which the pool of scans goes on being filled.

    `source` draws training patches; `held_back` patches of scans with other seeds, or None.
    """

    def __init__(
        self,
        work: Path,
        plan: TrainingPlan,
        form: SceneForm,
        border_thickness: float,
        edge: int,
        progress: Progress,
        cancel: CancelToken,
        processes: int = 1,
    ) -> None:
        """`processes`: how many make scans at once, while the training goes on and before it."""
        self._plan, self._form = plan, form
        self._processes = processes
        self._folder = work / f"scenes_{plan.preset}_{plan.seed}"
        self._held_back_folder = work / f"{self._folder.name}_held_back"
        self._seed = FIRST_SEED + plan.seed % SEED_GROUPS * SEEDS_APART
        self.held_back_count = held_back_scans(plan)
        self._make(self._folder, self._seed, min(FIRST_SCENES, plan.simulated), progress, cancel)
        self.source = PatchSource(
            self._folder, border_thickness, plan.seed, self._most_scenes(), form, edge
        )
        self.held_back: PatchSource | None = None
        if self.held_back_count:
            first = self._seed + SEEDS_APART // 2
            self._make(self._held_back_folder, first, self.held_back_count, progress, cancel)
            self.held_back = PatchSource(
                self._held_back_folder, border_thickness, plan.seed, MOST_HELD_BACK, form, edge=edge
            )
        self._enough = CancelToken()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scenes")
        self._filling: Future[None] | None = None

    def __enter__(self) -> Self:
        self._filling = self._pool.submit(
            self._make, self._folder, self._seed, self._plan.simulated, None, self._enough
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._enough.cancel()
        self._pool.shutdown(wait=True)
        assert self._filling is not None
        try:
            self._filling.result()
        except Cancelled:
            pass

    def held_back_volumes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Normalised grey and labels of each held-back scan at working scale."""
        for path in sorted(self._held_back_folder.glob("*.npz")):
            yield read_scene(path, self._form)

    def _make(
        self,
        folder: Path,
        first_seed: int,
        count: int,
        progress: Progress | None,
        cancel: CancelToken,
    ) -> None:
        plan = self._plan
        fill_pool(
            folder, first_seed, count, plan.preset, plan.scene_shape, progress, cancel,
            self._processes,
        )  # fmt: skip

    def _most_scenes(self) -> int:
        import psutil

        voxels = math.prod(self._plan.scene_shape) * self._form.scale_factor**3
        held = 3 * voxels  # bytes: float16 grey values and a byte of target
        return max(4, min(400, int(MEMORY_SHARE * psutil.virtual_memory().available / held)))


def held_back_scans(plan: TrainingPlan) -> int:
    """How many simulated scans are made for validation only."""
    if plan.simulated <= 0 or plan.held_back <= 0:
        return 0
    return max(1, min(MOST_HELD_BACK, round(plan.held_back * plan.simulated)))
