"""In which scans a sample tube is found, how long that takes, and what it costs in true particles.

    python -m tests.benchmarks.sample_tube

Every case of the accuracy benchmark (made and kept in its cache), and the real scans beside the
repository. Only `thick tube` and the real sand have a tube.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import tifffile

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.tube_wall import TubeWall, find_tube
from tests.benchmarks.accuracy_cases import CASES
from tests.independent_scans.real import data_folder
from tests.segmentation.tube_scans import GreyArray

# Particle diameters in voxels; of the soil and the packing by eye.
REAL = {"sand_in_tube_16bit": 224 / 13.15, "soil_8bit": 13.0, "grain_packing_binary.tif": 28.0}


def scans() -> Iterator[tuple[str, np.ndarray, np.ndarray | None, float]]:
    """Name, grey values, labels if there are any, particle diameter in voxels."""
    for make in CASES.values():
        case = make()
        if case is not None:
            yield case.name, case.grey, case.labels, case.diameter_voxels
    for name, diameter in REAL.items():
        path = data_folder() / name
        if path.exists():
            files = sorted(path.iterdir()) if path.is_dir() else []
            slices = [tifffile.imread(file) for file in files]
            yield name, np.stack(slices) if files else tifffile.imread(path), None, diameter


def lost_particles(tube: TubeWall, labels: np.ndarray) -> int:
    """How many true particles lie outside the tube's inner wall by more than half."""
    depth, height, width = labels.shape
    outside = np.zeros(int(labels.max()) + 1, np.int64)
    x = np.arange(width)
    for z in range(depth):
        begin, end = tube.inside(z, np.arange(height), width)
        beyond = (x < begin[:, None]) | (x >= end[:, None])
        outside += np.bincount(labels[z][beyond], minlength=outside.size)
    return int((2 * outside > np.bincount(labels.ravel(), minlength=outside.size))[1:].sum())


def main() -> None:
    print("| scan | shape | inner diameter, voxels | true particles outside | s | processor s |")
    print("|---|---|---|---|---|---|")
    for name, grey, labels, diameter in scans():
        wall, processor = time.perf_counter(), time.process_time()
        tube = find_tube(GreyArray(grey), diameter, Progress(), CancelToken())
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        width = "no tube" if tube is None else f"{tube.inner_width(grey.shape[0]):.1f}"
        outside = "" if tube is None or labels is None else str(lost_particles(tube, labels))
        shape = " × ".join(str(n) for n in grey.shape)
        print(f"| {name} | {shape} | {width} | {outside} | {wall:.2f} | {processor:.2f} |")


if __name__ == "__main__":
    main()
