"""Border-core classes into particles: processor time of a voxel by stage, small volumes and large.

    python -m tests.benchmarks.border_core_size [--shapes 256,256,256 1024,1256,1256] [--times 5]

The classes are those of the scan of `tests.benchmarks.memory`, read from the box that repeats, so
that the largest volume needs no more memory than the smallest and no scan on disk. All shapes but
the last are done `--times` times before and after the last one, since on a machine with other work
a figure changes by a tenth from one minute to the next. Prints the median of each stage and, in
brackets, the smallest and the largest figure.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.core_unions import union_rule_of
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.units import Box, Shape
from tests.benchmarks.measuring import StageClock, machine
from tests.benchmarks.memory import repeated_box

GROWTH = ("Growing particles", "Growing particles across blocks")
_WARM_SHAPE = (150, 150, 150)
_STAGE_WIDTH, _COLUMN_WIDTH = 36, 26


class RepeatedClasses:
    """A volume of that shape made of one box again and again."""

    def __init__(self, box: np.ndarray, shape: Shape) -> None:
        self._box, self._shape = box, shape

    @property
    def shape(self) -> Shape:
        return self._shape

    def read(self, box: Box) -> np.ndarray:
        z, y, x = (
            np.arange(start, stop) % size
            for start, stop, size in zip(box.start, box.stop, self._box.shape, strict=True)
        )
        return self._box.take(z, 0).take(y, 1).take(x, 2)


def nanoseconds(box: np.ndarray, shape: Shape, folder: Path) -> dict[str, float]:
    """Of processor time a voxel, by stage."""
    clock = StageClock()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        particles_from_classes(
            RepeatedClasses(box, shape),
            shape,
            1.0,
            Path(name) / "work",
            Path(name) / "labels.h5",
            0.005,
            clock,
            CancelToken(),
            union_rule=union_rule_of(find_model("default")),
        )
    stages = {stage: 1e9 * cpu / math.prod(shape) for stage, (_, cpu, _) in clock.seconds().items()}
    growth = sum(stages.get(stage, 0.0) for stage in GROWTH)
    return stages | {"growth as a whole": growth, "all": sum(stages.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["256,256,256", "1024,1256,1256"])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's own)")
    options = parser.parse_args()
    shapes: list[Shape] = [tuple(int(n) for n in text.split(",")) for text in options.shapes]
    box = repeated_box((1 << 20, 1 << 20, 1 << 20))
    nanoseconds(box, _WARM_SHAPE, options.folder)  # what is compiled or loaded once
    found: dict[Shape, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    *small, last = shapes
    loads = []
    for shape in [*small * options.times, last, *small * options.times]:
        loads.append(machine())
        for stage, spent in nanoseconds(box, shape, options.folder).items():
            found[shape][stage].append(spent)
    print(f"first: {loads[0]}; last: {loads[-1]}; processor time, ns a voxel\n")
    print(f"{'':{_STAGE_WIDTH}}" + "".join(f"{_title(shape):>{_COLUMN_WIDTH}}" for shape in found))
    for stage in dict.fromkeys(stage for one in found.values() for stage in one):
        cells = (_cell(one[stage]) for one in found.values())
        print(f"{stage:{_STAGE_WIDTH}}" + "".join(f"{cell:>{_COLUMN_WIDTH}}" for cell in cells))


def _title(shape: Shape) -> str:
    return " × ".join(map(str, shape))


def _cell(spent: list[float]) -> str:
    if not spent:
        return "–"
    if len(spent) == 1:
        return f"{spent[0]:.2f}"
    return f"{statistics.median(spent):.2f} ({min(spent):.2f}–{max(spent):.2f})"


if __name__ == "__main__":
    main()
