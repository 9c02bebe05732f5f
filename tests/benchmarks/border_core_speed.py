"""Seconds and memory of turning border-core classes into particles, block by block and in memory.

    python -m tests.benchmarks.border_core_speed [--size 256] [--block 256] [--no-oracle]

Makes its own packed particles. Memory is the process's peak above its level before the step, from
the system's own count (so it holds for threads and native code too).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from scipy import ndimage
from scipy.spatial import cKDTree

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.border_core import (
    border_core_to_particles,
    labels_to_border_core,
)
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.labels import open_labels


def packed_particles(size: int, spacing: int = 36, seed: int = 0) -> np.ndarray:
    """Touching irregular particles: cells around jittered points, cut by a smooth random field."""
    rng = np.random.default_rng(seed)
    axis = np.arange(spacing // 2, size, spacing)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    tree = cKDTree(points + rng.uniform(-spacing / 3, spacing / 3, points.shape))
    labels = np.zeros((size, size, size), np.uint32)
    field = ndimage.zoom(rng.standard_normal((size // 8,) * 3), 8, order=1)
    plane = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)
    for z in range(size):
        where = np.concatenate([np.full((size, size, 1), z), plane], -1)
        distance, nearest = tree.query(where)
        labels[z] = np.where(distance + 3 * field[z] < 0.62 * spacing, nearest + 1, 0)
    return labels


class InMemory:
    def __init__(self, classes: np.ndarray) -> None:
        self.classes = classes

    @property
    def shape(self) -> Shape:
        z, y, x = self.classes.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        return self.classes[box.slices]


class StageClock(Progress):
    """Progress that remembers how long each stage took."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[tuple[str, float, int]] = []

    def start(self, stage: str, total: int = 0, unit: str = "", done: int = 0) -> None:
        self.stages.append((stage, time.perf_counter(), total))
        super().start(stage, total, unit, done)

    def seconds(self) -> dict[str, tuple[float, int]]:
        ends = [start for _, start, _ in self.stages[1:]] + [time.perf_counter()]
        result: dict[str, tuple[float, int]] = {}
        for (stage, start, total), end in zip(self.stages, ends, strict=True):
            seconds, blocks = result.get(stage, (0.0, 0))
            result[stage] = (seconds + end - start, blocks + total)
        return result


def measured(step: Callable[[], object]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak extra MiB of `step`."""
    process, done, peak = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        step()
    finally:
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        done.set()
        watcher.join()
    return wall, cpu, max(0, peak[0] - before) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--block", type=int, default=256)
    parser.add_argument("--border", type=float, default=4)
    parser.add_argument("--no-oracle", action="store_true")
    choice = parser.parse_args()

    labels = packed_particles(choice.size)
    classes = labels_to_border_core(labels, choice.border)
    del labels
    block = (choice.block,) * 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def convert(classes: np.ndarray, progress: Progress) -> None:
            particles_from_classes(
                InMemory(classes),
                classes.shape,
                1.0,
                folder / "work",
                folder / "labels.h5",
                0.005,
                progress,
                CancelToken(),
                block_shape=block,
            )

        convert(classes[:16, :16, :16], Progress())  # compiles the kernels
        clock = StageClock()
        wall, cpu, memory = measured(lambda: convert(classes, clock))
        with open_labels(folder / "labels.h5") as volume:
            print(
                f"{choice.size}³ voxels, {np.mean(classes > 0):.0%} filled, "
                f"{np.mean(classes == 2):.0%} border, {volume.count} particles, "
                f"blocks of {choice.block}³, {psutil.cpu_count()} cores, "
                f"load {psutil.getloadavg()[0]:.1f}\n"
            )
    print(f"{'':42}{'wall s':>8}{'CPU s':>8}{'MiB':>8}")
    print(f"{'block by block on disk':42}{wall:8.2f}{cpu:8.2f}{memory:8.0f}")
    for stage, (seconds, count) in clock.seconds().items():
        print(f"{f'  {stage} ({count} blocks)':42}{seconds:8.2f}")
    if not choice.no_oracle:
        wall, cpu, memory = measured(lambda: border_core_to_particles(classes))
        print(f"{'in memory (plain reference)':42}{wall:8.2f}{cpu:8.2f}{memory:8.0f}")


if __name__ == "__main__":
    main()
