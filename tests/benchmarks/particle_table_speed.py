"""Time and memory of the particle table on a volume of packed particles.

    python tests/benchmarks/particle_table_speed.py [EDGE]

prints seconds, CPU seconds and peak memory for an EDGE³ label volume (default 512) in memory,
with a 16-bit scan, after the compiled loops were loaded.
"""

from __future__ import annotations

import resource
import sys
import time
from types import SimpleNamespace

import numpy as np

from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box


class _Volume:
    field_of_view = None  # all of it is seen

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.count = int(array.max())
        self.statistics = SimpleNamespace(mean=float(array.mean()))

    def read(self, box: Box) -> np.ndarray:
        return self.array[box.slices]


def packed_particles(edge: int, spacing: int = 58, seed: int = 0) -> np.ndarray:
    """Touching balls of varied size on a shaken lattice, uint32 (edge, edge, edge)."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((edge, edge, edge), np.uint32)
    count = 0
    for z in range(spacing // 2, edge, spacing):
        for y in range(spacing // 2, edge, spacing):
            for x in range(spacing // 2, edge, spacing):
                count += 1
                radius = rng.uniform(0.4, 0.62) * spacing
                centre = np.array([z, y, x]) + rng.uniform(-4, 4, 3)
                low = np.maximum(0, np.floor(centre - radius)).astype(int)
                high = np.minimum(edge, np.ceil(centre + radius) + 1).astype(int)
                where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
                grid = np.ogrid[where]
                distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
                box = labels[where]
                box[(distance <= radius**2) & (box == 0)] = count
    return labels


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    labels = packed_particles(edge)
    scan = np.random.default_rng(1).integers(0, 2**16, labels.shape, dtype=np.uint16)
    small = _Volume(labels[:16, :16, :16].copy())
    measure_particles(small, _Volume(scan[:16, :16, :16]), 1.0, Progress(), CancelToken())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    volume, greys = _Volume(labels), _Volume(scan)
    for name, source in (("without a scan", None), ("with a scan", greys)):
        wall, cpu = time.perf_counter(), time.process_time()
        table = measure_particles(volume, source, 1.0, Progress(), CancelToken())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"{edge}³, {len(table)} particles, fill {np.count_nonzero(labels) / labels.size:.0%}, "
            f"{name}: {wall:.2f} s, {cpu:.2f} CPU s, {extra:.0f} MiB extra"
        )


if __name__ == "__main__":
    main()
