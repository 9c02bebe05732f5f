"""Memory and seconds of the main job from TIFF slices to labels, table and every export, by size.

    python -m tests.benchmarks.memory --folder FOLDER [--shapes 256,256,256 512,512,512 …]
                                      [--max-memory 4GB]

The network is a stand-in that reads the classes off the grey values of a made-up scan, so that the
largest scan ends within the hour; everything else is what `particleseg segment` and `particleseg
export` do. Each size runs in a process of its own, watched from outside. Prints, for every stage,
its seconds, its processor seconds in billionths a voxel of the scan, and the peak of the process.
The scan repeats a box of touching particles with other noise, so that a voxel costs the same at
every size. `--shapes` names the sizes; one that is named several times tells how sure a figure is
where other work runs, too. FOLDER needs about 12 bytes a voxel; it is left as it was.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, parse_memory
from particleseg_app.progress import CancelToken
from particleseg_app.units import Shape
from tests.benchmarks.measuring import StageClock, machine, measured_apart, step

if TYPE_CHECKING:
    import torch

_MODULE = "tests.benchmarks.memory"
_DEFAULT_SHAPES = ["256,256,256", "512,512,512", "1024,1256,1256"]
# Particles on average 28 voxels apart, 9 of them along the box that is repeated.
_SPACING, _PERIOD = 28, 252
_GREY = np.array([9000, 30000, 20000], np.float32)  # background, core, border
_NOISE = 600
# What is compiled or loaded once is not part of the time: a scan of several blocks comes first, so
# large that one of them betters another.
_WARM_SHAPE = (150, 150, 150)
_BYTES_PER_VOXEL = 12


def repeated_box(shape: Shape, seed: int = 0) -> np.ndarray:
    """Classes (z, y, x) of a box of touching particles that fits to itself on all sides.

    No more of it than a scan of `shape` needs.
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    axis = np.arange(_SPACING // 2, _PERIOD, _SPACING)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    points = (points + rng.uniform(-_SPACING / 4, _SPACING / 4, points.shape)) % _PERIOD
    tree = cKDTree(points, boxsize=_PERIOD)
    depth, height, width = (min(n, _PERIOD) for n in shape)
    plane = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    classes = np.zeros((depth, height, width), np.uint8)
    for z in range(depth):
        where = np.concatenate([np.full((height, width, 1), z), plane], -1)
        distance, _ = tree.query(where, k=2, distance_upper_bound=_SPACING)
        # Half the way to the next cell is a face of this one.
        nearest, second = distance[..., 0], distance[..., 1]
        inside = nearest < 0.55 * _SPACING
        is_core = np.minimum(0.55 * _SPACING - nearest, (second - nearest) / 2) > 2.5
        classes[z] = np.where(inside, np.where(is_core, 1, 2), 0)
    return classes


def write_slices(folder: Path, shape: Shape) -> None:
    import tifffile

    grey = _GREY[repeated_box(shape)].astype(np.uint16)
    # Noise is drawn once and cut out elsewhere for each slice: drawing it took half of the time.
    rng = np.random.default_rng(1)
    height, width = shape[1:]
    noise = rng.normal(0, _NOISE, (height + _PERIOD, width + _PERIOD)).astype(np.int16)
    noise = noise.view(np.uint16)  # sums of whole numbers wrap round to the right ones
    folder.mkdir()
    y, x = (np.arange(n) % _PERIOD for n in (height, width))
    for z in range(shape[0]):
        j, i = rng.integers(0, _PERIOD, 2)
        slice_ = grey[z % _PERIOD].take(y, 0).take(x, 1)
        slice_ += noise[j : j + height, i : i + width]
        tifffile.imwrite(folder / f"slice_{z:05d}.tif", slice_)


class ThresholdNetwork:
    """In the place of a network: the class whose grey value is nearest, with certainty."""

    def __init__(self, scaling: Any, *_others: Any) -> None:
        import torch

        self.device = torch.device("cpu")
        levels = (np.clip(_GREY, scaling.low, scaling.high) - scaling.mean) / scaling.std
        self._levels = [float(level) for level in levels]

    def predict(self, tiles: torch.Tensor) -> torch.Tensor:
        import torch

        background, core, border = self._levels
        is_core = tiles[:, 0] > (core + border) / 2
        is_background = tiles[:, 0] < (background + border) / 2
        return torch.stack([is_background, is_core, ~(is_core | is_background)], 1).float()


def main_job(folder: Path, limit: int, clock: StageClock) -> dict[str, Any]:
    """What the command line does, with the stand-in network; `folder` holds the slices."""
    import particleseg_app.segmentation as segmentation
    from particleseg_app.evaluation import count_overlaps
    from particleseg_app.models import find_model
    from particleseg_app.particles import export_labels_hdf5
    from particleseg_app.projects import Project
    from particleseg_app.projects.segmentation_job import run_segmentation_job, write_main_results
    from particleseg_app.volumes import inspect_source, open_labels

    entry, cancel = find_model("default"), CancelToken()
    real = segmentation.segment
    with Project.create(folder / "project") as project:
        clock.start("Checking the slices")
        source = inspect_source(folder / "slices")
        scan = project.add_scan(source, clock, cancel, memory_limit_bytes=limit)
        settings = segmentation.RunSettings(
            voxel_size_um=1.0,
            particle_diameter_um=entry.card.target_diameter_voxels,
            preset="fast",
        )
        with project.open_scan(scan.id) as opened:
            scaling = entry.card.normalisation.for_scan(opened.statistics)
        network = functools.partial(ThresholdNetwork, scaling)
        segmentation.segment = functools.partial(real, make_predictor=network)
        try:
            made = project.new_run(scan.id, settings.as_dict())
            result = run_segmentation_job(project, made.id, clock, cancel, memory_limit_bytes=limit)
        finally:
            segmentation.segment = real
        write_main_results(project, made.id, clock, cancel)
        path = project.run_folder(made.id) / "labels.h5"
        with open_labels(path) as labels, open_labels(path) as again:
            export_labels_hdf5(labels, folder / "labels.h5", 1.0, clock, cancel)
            overlaps = count_overlaps(labels, again, clock, cancel)
        clock.finish()
    assert overlaps.shared.size == result.particle_count
    return {"particles": result.particle_count}


def run(folder: Path, limit: int) -> None:
    warm = folder / "warm"
    warm.mkdir()
    write_slices(warm / "slices", _WARM_SHAPE)
    main_job(warm, limit, StageClock())
    shutil.rmtree(warm)
    clock = StageClock(announce=True)
    with step() as found:
        found |= main_job(folder, limit, clock)
        found["stages"] = clock.seconds()


def measure(folder: Path, shape: Shape, limit: int) -> dict[str, Any]:
    needed = math.prod(shape) * _BYTES_PER_VOXEL
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < 1.2 * needed:
        raise SystemExit(f"{folder} needs {1.2 * needed / 1e9:.0f} GB of free space.")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        common = ("--folder", name, "--shapes", ",".join(map(str, shape)))
        measured_apart(_MODULE, "--only", "slices", *common)
        return measured_apart(_MODULE, "--only", "job", *common, "--max-memory", f"{limit}")


def print_table(shapes: list[Shape], found: list[dict[str, Any]], limit: int) -> None:
    """One column a size: processor seconds in ns a voxel, wall seconds, peak of the stage."""
    print(f"\n{machine()}, limit {limit / 1e9:g} GB; each: CPU ns a voxel | wall s | peak MB\n")
    print(f"{'':36}" + "".join(f"{' × '.join(map(str, shape)):>28}" for shape in shapes))
    stages = list(dict.fromkeys(stage for one in found for stage in one["stages"]))
    for stage in stages:
        line = f"{stage:36}"
        for shape, one in zip(shapes, found, strict=True):
            wall, cpu, _ = one["stages"].get(stage, (0, 0, 0))
            peak = one["stage_peaks"].get(stage, 0)
            line += f"{1e9 * cpu / math.prod(shape):10.2f}{wall:10.2f}{peak / 1e6:8.0f}"
        print(line)
    line = f"{'whole job':36}"
    for shape, one in zip(shapes, found, strict=True):
        line += f"{1e9 * one['cpu_s'] / math.prod(shape):10.2f}{one['wall_s']:10.2f}"
        line += f"{one['peak_bytes'] / 1e6:8.0f}"
    print(line)
    for title, of in (
        ("particles", lambda one: f"{one['particles']}"),
        ("program before the job, MB", lambda one: f"{one['before_bytes'] / 1e6:.0f}"),
        ("peak above it, MB", lambda one: f"{one['extra_bytes'] / 1e6:.0f}"),
    ):
        print(f"{title:36}" + "".join(f"{of(one):>28}" for one in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--shapes", nargs="+", default=_DEFAULT_SHAPES, metavar="Z,Y,X")
    parser.add_argument("--max-memory", default=f"{DEFAULT_MEMORY_LIMIT_BYTES / 1e9:g}GB")
    parser.add_argument("--json", type=Path, help="keep the figures here, too")
    parser.add_argument("--only", choices=["slices", "job"], help="(internal)")
    choice = parser.parse_args()
    shapes = [tuple(int(n) for n in text.split(",")) for text in choice.shapes]
    if choice.only == "slices":
        with step():
            write_slices(choice.folder / "slices", shapes[0])
    elif choice.only == "job":
        run(choice.folder, int(choice.max_memory))
    else:
        limit = parse_memory(choice.max_memory)
        found = []
        for shape in shapes:
            found.append(measure(choice.folder, shape, limit))
            print_table(shapes[: len(found)], found, limit)
            if choice.json:
                choice.json.write_text(json.dumps(list(zip(choice.shapes, found, strict=False))))


if __name__ == "__main__":
    main()
