"""The time foretold for a job against the time it takes, for several settings in one process.

    python -m tests.benchmarks.estimate [--copies N] [--only NUMBER ...]

The scan is the bundled sample, mirrored to N copies along each axis, once in a wide field of air.
Each job is foretold by a trial as in the wizard and then really done, from the imported scan to
the table. Prints one table. The figures only mean something while the load of the machine does
not change.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.job_cost import estimate_job
from particleseg_app.projects.segmentation_job import run_segmentation_job
from particleseg_app.segmentation import RunSettings
from particleseg_app.volumes import inspect_source
from tests.benchmarks.whole_job import SAMPLE, mirrored

# A title, whether in air, and the settings. A larger diameter means a smaller working scale.
JOBS = (
    ("fast", False, RunSettings(10, 180, preset="fast", device="cpu")),
    ("standard", False, RunSettings(10, 180, device="cpu")),
    ("standard, PyTorch", False, RunSettings(10, 180, device="cpu", inference="torch")),
    ("standard, twice the diameter", False, RunSettings(10, 360, device="cpu")),
    ("standard, in air", True, RunSettings(10, 180, device="cpu")),
    ("ThreshWater", False, RunSettings(10, 180, method="threshwater", device="cpu")),
)


def in_air(grey: np.ndarray) -> np.ndarray:
    """The scan in the middle of a field of air that is 2.2 times as wide."""
    _, height, width = grey.shape
    random = np.random.default_rng(4)
    margin_y, margin_x = round(0.6 * height), round(0.6 * width)
    shape = (len(grey), height + 2 * margin_y, width + 2 * margin_x)
    dark = float(np.percentile(grey, 0.5))
    field = random.normal(0.5 * dark, 0.05 * dark, shape).clip(0, 65535).astype(grey.dtype)
    field[:, margin_y : margin_y + height, margin_x : margin_x + width] = grey
    return field


def main() -> None:
    parser = argparse.ArgumentParser(description="Time foretold against time taken.")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of jobs, from 0")
    options = parser.parse_args()
    jobs = [JOBS[i] for i in options.only] if options.only else list(JOBS)
    grey = mirrored(tifffile.imread(sorted(SAMPLE.glob("*.tif"))), options.copies)
    print("| job | tiles | empty: foretold, found | trial | foretold | taken | foretold/taken |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Project.create(folder / "project") as project:
            scans = {}
            for air in {air for _, air, _ in jobs}:
                tifffile.imwrite(folder / f"scan{air:d}.tif", in_air(grey) if air else grey)
                source = inspect_source(folder / f"scan{air:d}.tif")
                scans[air] = project.add_scan(source, Progress(), CancelToken()).id
            for title, air, settings in jobs:
                started = time.perf_counter()
                with project.open_scan(scans[air]) as scan:
                    foretold = estimate_job(scan, settings, CancelToken())
                tried = time.perf_counter()
                run = project.new_run(scans[air], settings.as_dict())
                result = run_segmentation_job(project, run.id, Progress(), CancelToken())
                taken = time.perf_counter() - tried
                assert foretold.seconds is not None
                empty = result.summary.get("tiles_skipped", 0)
                print(
                    f"| {title} | {foretold.tiles} | {foretold.empty_tiles}, {empty} "
                    f"| {tried - started:.1f} s | {foretold.seconds:.1f} s | {taken:.1f} s "
                    f"| {foretold.seconds / taken:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
