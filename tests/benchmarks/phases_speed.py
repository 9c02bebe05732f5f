"""Time and memory of phases on a volume of packed particles.

    python tests/benchmarks/phases_speed.py [EDGE]

prints seconds, CPU seconds and peak memory of proposing phases and of counting them for an EDGE³
label volume (default 512) in memory, with a 16-bit scan of two phases, after the compiled loops
were loaded.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import Any

import numpy as np
from particle_table_speed import packed_particles

from particleseg_app.particles.phase_counting import count_phases
from particleseg_app.particles.phase_proposal import propose_phases
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box
from particleseg_app.volumes.grey_counting import GreyCounter


class _Volume:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.count = int(array.max())
        self.statistics: Any = None

    def read(self, box: Box) -> np.ndarray:
        return self.array[box.slices]


def two_phases(labels: np.ndarray) -> _Volume:
    """A noisy scan in which every third particle is bright."""
    random = np.random.default_rng(1)
    scan = _Volume(np.zeros(labels.shape, np.uint16))
    counter = GreyCounter(scan.array.dtype)
    for plane, grey in zip(labels, scan.array, strict=True):  # so that this is not the peak
        level = np.where(plane == 0, 8000, np.where(plane % 3 == 0, 34_000, 26_000))
        grey[:] = (level + random.normal(0, 1500, plane.shape)).clip(0, 65_535)
        counter.add(grey)
    scan.statistics = counter.result()
    return scan


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    labels = _Volume(packed_particles(edge))
    scan = two_phases(labels.array)
    work = (Progress(), CancelToken())
    small = _Volume(labels.array[:64, :64, :64].copy())
    few = two_phases(small.array)
    count_phases(small, few, propose_phases(small, few, *work).phases.thresholds, *work)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    filled = np.count_nonzero(labels.array) / labels.array.size
    print(f"{edge}³, {labels.count} particles, fill {filled:.0%}, load {os.getloadavg()[0]:.0f}")
    print(f"{'step':<8} {'seconds':>8} {'CPU s':>6} {'MiB extra':>10}")
    found: Any = None
    for step in ("propose", "count"):
        wall, cpu = time.perf_counter(), time.process_time()
        if step == "propose":
            found = propose_phases(labels, scan, *work)
        else:
            count_phases(labels, scan, found.phases.thresholds, *work)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{step:<8} {wall:>8.1f} {cpu:>6.1f} {extra:>10.0f}")
    print(f"proposed: {found.count} phases, thresholds {found.phases.thresholds}")


if __name__ == "__main__":
    main()
