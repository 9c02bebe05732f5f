"""What denoising a scan costs: per voxel, by threads, and in a run.

    python -m tests.benchmarks.denoising_speed

Prints one table. A part of 128³ voxels is denoised with its margin, as a run reads a scan; the last
row is a whole run on a noisy scan with and without.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.denoised_scan import PART_EDGE
from particleseg_app.segmentation.noise import measure_noise
from particleseg_app.segmentation.total_variation import HALO, denoised
from tests.benchmarks.accuracy_checks import NOISY_DIAMETER, noisy
from tests.benchmarks.accuracy_methods import Workplace
from tests.independent_scans import LabelledScan

REPEATS = 3
# The noisy scene, mirrored to this many times its length along each axis.
TIMES = 2


class _Volume:
    def __init__(self, grey: np.ndarray) -> None:
        self.grey = grey
        self.shape = grey.shape

    def read(self, box):
        return self.grey[box.slices]


def main() -> None:
    case = noisy(1.5, 0.6)
    edge = PART_EDGE + 2 * HALO
    part = np.random.default_rng(0).normal(1000, 100, (edge,) * 3).astype(np.float32)
    print("| | |\n|---|---|")
    for threads in sorted({1, os.cpu_count() or 1}):
        seconds = min(_seconds(lambda n=threads: denoised(part, 100.0, n)) for _ in range(REPEATS))
        print(
            f"| a voxel of a part of {PART_EDGE}³ with its margin, {threads} thread"
            f"{'s' if threads > 1 else ''} | {1e9 * seconds / PART_EDGE**3:.0f} ns |"
        )
    large = np.pad(case.grey, [(0, (TIMES - 1) * n) for n in case.grey.shape], mode="symmetric")
    volume = _Volume(large)
    seconds = min(
        _seconds(lambda: measure_noise(volume, NOISY_DIAMETER, 1.3, CancelToken()))
        for _ in range(REPEATS)
    )
    print(
        f"| measuring the noise of {' × '.join(map(str, large.shape))} voxels | {seconds:.2f} s |"
    )
    for denoise in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            nothing = np.zeros(large.shape, np.uint32)
            scan = LabelledScan("noisy", large, nothing, NOISY_DIAMETER)
            place = Workplace(scan, Path(folder))
            settings = place.settings(denoise=denoise)
            seconds = _seconds(lambda p=place, s=settings: p.labels(s))
        word = "denoised" if denoise else "as it is"
        print(f"| a whole run of that scan, default model, {word} | {seconds:.1f} s |", flush=True)


def _seconds(do) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
