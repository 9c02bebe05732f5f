"""Work of a run against the particles' diameter in voxels (000 fig. 15, for this engine).

    python -m tests.benchmarks.time_against_particle_size [--picture FILE] [--no-runs]

The lines are the number of tiles in the plan times the processor seconds of one tile, measured
here, for a scan of 1000 × 1256 × 1256 voxels. The points are runs really done on a small scan of
made-up particles, from scan to labels, beside what the plan says of that small scan. Processor
seconds (all cores added up) are used because they depend little on what else the machine does.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.models import (
    ModelEntry,
    choose_inference,
    find_model,
    open_predictor,
)
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.segmentation.plan import MIRRORING, plan_network_run
from particleseg_app.units import Shape
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.independent_scans.plain import pack, render

LARGE: Shape = (1000, 1256, 1256)
SMALL: Shape = (112, 144, 144)
DIAMETERS = np.geomspace(8, 150, 25)
RUN_DIAMETERS = (20, 28, 40, 60)
VOXEL_SIZE_UM = 10.0
PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "time_against_particle_size.png"


def settings_for(diameter: float, preset: str) -> RunSettings:
    return RunSettings(VOXEL_SIZE_UM, diameter * VOXEL_SIZE_UM, preset=preset, device="cpu")


def tile_seconds(entry: ModelEntry, rounds: int = 5) -> float:
    """Processor seconds of one tile, without mirroring."""
    import torch

    inference = choose_inference(entry, "cpu", "auto", CancelToken()).inference
    predictor = open_predictor(entry, "cpu", False, CancelToken(), inference)
    tile = torch.randn((1, 1, *entry.card.patch_shape))
    spent = []
    for _ in range(rounds + 1):
        before = time.process_time()
        predictor.predict(tile)
        spent.append(time.process_time() - before)
    print(f"{inference.title}: {np.median(spent[1:]):.2f} processor seconds for a tile.\n")
    return float(np.median(spent[1:]))


def per_million(
    shape: Shape, diameter: float, preset: str, tile: float, entry: ModelEntry
) -> float:
    """Processor seconds of the network per million voxels of a scan, from the plan."""
    plan = plan_network_run(shape, settings_for(diameter, preset), entry.card)
    patch = math.prod(entry.card.patch_shape)
    # The time goes with the voxels of a tile, which may be larger or smaller than the patch.
    share = math.prod(plan.tile_shape) / patch
    passes = 8 if MIRRORING[preset] else 1
    return plan.tile_count * share * passes * tile / (math.prod(shape) / 1e6)


def really_run(diameter: float, preset: str) -> float:
    """Processor seconds per million voxels of a whole run on a small scan."""
    random = np.random.default_rng(round(diameter))
    labels = pack(random, SMALL, diameter, 0.25, 0.25, 0.5)
    grey = render(random, labels, 9000, (15000, 30000), 1800, 0.8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tifffile.imwrite(folder / "scan.tif", grey)
        source = inspect_source(folder / "scan.tif")
        import_scan(source, folder / "scan.h5", Progress(), CancelToken())
        before = time.process_time()
        with open_scan(folder / "scan.h5") as scan:
            segment(folder / "run", scan, settings_for(diameter, preset), Progress(), CancelToken())
        return (time.process_time() - before) / (math.prod(SMALL) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description="Work of a run against particle size.")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--no-runs", action="store_true")
    options = parser.parse_args()
    entry = find_model("default")
    tile = tile_seconds(entry)
    presets = ("fast", "standard", "best")
    lines = {
        preset: [per_million(LARGE, d, preset, tile, entry) for d in DIAMETERS]
        for preset in presets
    }
    points: dict[float, tuple[float, float]] = {}
    print("| diameter, voxels | preset | planned | really run |\n|---|---|---|---|")
    for diameter in () if options.no_runs else RUN_DIAMETERS:
        planned = per_million(SMALL, diameter, "standard", tile, entry)
        points[diameter] = (planned, really_run(diameter, "standard"))
        print(f"| {diameter} | standard | {planned:.2f} | {points[diameter][1]:.2f} |", flush=True)
    print("\n| diameter, voxels | " + " | ".join(presets) + " |\n|---|---|---|---|")
    for i in range(0, len(DIAMETERS), 4):
        values = " | ".join(f"{lines[preset][i]:.2f}" for preset in presets)
        print(f"| {DIAMETERS[i]:.0f} | {values} |")
    draw(options.picture, lines, points, entry)


def draw(
    path: Path,
    lines: dict[str, list[float]],
    points: dict[float, tuple[float, float]],
    entry: ModelEntry,
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    colours = {"fast": "#2a9d8f", "standard": "#1d4e89", "best": "#c8553d"}
    for preset, values in lines.items():
        axes.plot(DIAMETERS, values, color=colours[preset], label=f"{preset}, from the plan")
    if points:
        diameters = list(points)
        axes.plot(
            diameters,
            [planned for planned, _ in points.values()],
            "o",
            mfc="none",
            color=colours["standard"],
            label="standard, small scan, from the plan",
        )
        axes.plot(
            diameters,
            [taken for _, taken in points.values()],
            "o",
            color=colours["standard"],
            label="standard, small scan, really run",
        )
    axes.axvline(entry.card.target_diameter_voxels, color="0.6", lw=0.8, ls=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator([8, 10, 15, 20, 30, 40, 60, 80, 100, 150]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("particle diameter in the scan, voxels (dotted: the model’s own)")
    axes.set_ylabel("processor seconds per million voxels")
    axes.grid(True, which="major", color="0.9")
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
