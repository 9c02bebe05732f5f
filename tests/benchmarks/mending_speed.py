"""How long each mending tool takes for a large particle, from the preview to the disk.

    python tests/benchmarks/mending_speed.py [DIAMETER] [--repeat N] [--only WORD] [--fastest]

Makes a pair of touching, rough balls that fill a box of about DIAMETER voxels (200 by default) as
one particle in a volume of four times its size, and times every tool: *preview* reads the crop
and computes the change, *apply* returns when the change is on the disk, *undo* likewise. Medians,
or with `--fastest` the fastest of the repeats, which other work on the machine disturbs least; CPU
seconds beside wall seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MENDING_CACHE_BYTES, MendedLabels
from particleseg_app.review.mending import Changes, Mending
from particleseg_app.units import Box
from particleseg_app.volumes import LabelWriter, open_labels


class Greys:
    """Grey values made from the labels, in memory."""

    def __init__(self, labels: np.ndarray) -> None:
        noise = np.random.default_rng(1).integers(0, 3000, labels.shape, dtype=np.uint16)
        # One voxel aside, so that the grey-value edge is not where the labels end.
        particles = np.roll(labels > 0, 1, axis=0)
        self.values = noise + np.where(particles, 9000, 2000).astype(np.uint16)
        self.shape = labels.shape

    def read(self, box: Box) -> np.ndarray:
        return self.values[box.slices]


def pair_of_balls(diameter: int) -> np.ndarray:
    """One particle (label 1) in a box of `diameter` voxels, with neighbours on two sides."""
    shape = (diameter + 56, diameter + 56, 2 * diameter + 56)
    z, y, x = (np.arange(n, dtype=np.float32) for n in shape)
    rough = 1.5 * np.sin(z / 5)[:, None, None] * np.sin(y / 7)[:, None] * np.sin(x / 6)
    labels = np.zeros(shape, np.uint32)
    middle = shape[0] / 2
    radius = 0.5 * diameter
    flat = (z - middle)[:, None, None] ** 2 + (y - middle)[:, None] ** 2
    for centre, size, label in (
        (28 + 0.52 * radius, 0.52, 1),
        (28 + 1.42 * radius, 0.58, 1),
        (28 + 2.5 * radius, 0.5, 2),
    ):
        # Wide across, so that the pair fills a box of equal edges.
        distance = np.sqrt(flat * (size / 1.0) ** 2 + (x - centre) ** 2) + rough
        labels[(distance < size * radius) & (labels == 0)] = label
    return labels


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def tools(mending: Mending, labels: np.ndarray) -> dict[str, Callable[[], Changes]]:
    inside = np.argwhere(labels == 1)
    low, high = inside.min(axis=0), inside.max(axis=0)
    middle = (low + high) / 2
    left, right = middle.copy(), middle.copy()
    left[2], right[2] = low[2] + 0.26 * (high - low)[2], low[2] + 0.72 * (high - low)[2]
    neck = low[2] + 0.52 * (high - low)[2]
    stroke = np.array([(middle[0], low[1], neck), (middle[0], high[1], neck)])
    parts = np.where(np.arange(labels.shape[2]) < neck, 1, 2) * (labels == 1)
    box = mending.crop_of((1,))
    brush = [(middle[0], middle[1] + d, neck) for d in range(-40, 41, 5)]
    return {
        "split by the proposed cut": lambda: mending.preview_split_by_cut(
            1, box, parts[box.slices]
        ),
        "split by markers (shape)": lambda: mending.preview_split_by_markers(1, [left, right]),
        "split by markers (grey values)": lambda: mending.preview_split_by_markers(
            1, [left, right], by="grey"
        ),
        "split by a drawn border": lambda: mending.preview_split_by_border_stroke(
            1, stroke, left, right
        ),
        "merge two": lambda: mending.preview_merge([1, 2]),
        "delete": lambda: mending.preview_delete([1]),
        "paint (17 balls of 10 voxels)": lambda: mending.preview_paint(2, brush, 10, over_all=True),
        "erase (17 balls of 10 voxels)": lambda: mending.preview_erase(brush, 10),
        "fill holes": lambda: mending.preview_fill_holes([1]),
        "smooth": lambda: mending.preview_smooth([1]),
        "grow or shrink to the edge": lambda: mending.preview_grow_shrink_to_edge([1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("diameter", type=int, nargs="?", default=200)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--fastest", action="store_true", help="instead of the median")
    parser.add_argument("--only", default="", help="only tools with this word in their name")
    arguments = parser.parse_args()
    typical = min if arguments.fastest else statistics.median
    values = pair_of_balls(arguments.diameter)
    values[values.shape[0] // 2, values.shape[1] // 2, 28 + arguments.diameter // 4] = 0  # a hole
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.h5"
        with LabelWriter(path, values.shape, int(values.max())) as writer:
            writer.write(Box.whole(values.shape), values)
        base = open_labels(path, least_cache_bytes=MENDING_CACHE_BYTES)
        table = measure_particles(base, None, 1.0, Progress(), CancelToken())
        journal = ReviewJournal.open(Path(folder) / "review.sqlite", base)
        labels = MendedLabels(base, journal)
        mending = Mending(labels, Greys(values), LabelBoxes(table, journal))
        box = mending.crop_of((1,), 0)
        print(
            f"one particle of {int((values == 1).sum()) / 1e6:.1f} million voxels in a box of "
            f"{' × '.join(map(str, box.shape))}; wall ms (CPU ms)\n"
        )
        print("| tool | preview | apply | preview + apply | undo | voxels changed |")
        print("|---|---|---|---|---|---|")
        for name, preview in tools(mending, values).items():
            if arguments.only not in name:
                continue
            walls: list[list[float]] = [[], [], []]
            cpus: list[list[float]] = [[], [], []]
            for attempt in range(arguments.repeat + 1):
                *preview_times, changes = timed(_made, preview)
                *apply_times, _ = timed(journal.append, changes, "mend", name)
                *undo_times, _ = timed(journal.undo)
                voxels = journal.entries()[-1].voxels
                if attempt:  # the first one compiles
                    for place, times in enumerate((preview_times, apply_times, undo_times)):
                        walls[place].append(times[0])
                        cpus[place].append(times[1])
            shown = [
                f"{typical(w) * 1e3:.0f} ({typical(c) * 1e3:.0f})"
                for w, c in zip(walls, cpus, strict=True)
            ]
            both = typical(a + b for a, b in zip(walls[0], walls[1], strict=True))
            both_cpu = typical(a + b for a, b in zip(cpus[0], cpus[1], strict=True))
            print(
                f"| {name} | {shown[0]} | {shown[1]} | {both * 1e3:.0f} ({both_cpu * 1e3:.0f}) "
                f"| {shown[2]} | {voxels} |",
                flush=True,
            )
        size = (Path(folder) / "review.sqlite").stat().st_size
        count = len(journal.entries())
        print(f"\njournal: {size / 1e3 / count:.0f} kB a mend ({count} mends)")
        labels.close()


def _made(preview: Callable[[], Changes]) -> list[LabelChange]:
    changes = preview()
    return [changes] if isinstance(changes, LabelChange) else list(changes)


if __name__ == "__main__":
    main()
