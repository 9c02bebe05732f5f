"""The main job from TIFF to CSV: seconds of every stage, peak memory, and the time foretold.

    python -m tests.benchmarks.whole_job [--copies N] [--method METHOD] [--model MODEL]
        [--preset PRESET]

The scan is the bundled sample, mirrored to N copies along each axis (default 1; 2 is eight times
the volume). Prints one table.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.job_cost import estimate_job
from particleseg_app.projects.segmentation_job import run_segmentation_job, write_main_results
from particleseg_app.segmentation import RunSettings
from particleseg_app.volumes import inspect_source

SAMPLE = Path(__file__).parents[2] / "resources" / "sample" / "ore_sample"


class Watch(threading.Thread):
    """Adds up the time of each stage and keeps the largest memory, by looking often."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[str, float] = {}
        self.peak_bytes = 0
        self._progress = progress
        self._over = threading.Event()

    def run(self) -> None:
        process = psutil.Process()
        before = time.perf_counter()
        while not self._over.wait(0.02):
            now, stage = time.perf_counter(), self._progress.snapshot().stage
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - before
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
            before = now

    def stop(self) -> None:
        self._over.set()
        self.join()


def mirrored(scan: np.ndarray, copies: int) -> np.ndarray:
    """The scan beside its mirror image, again and again, so that no seam shows."""
    for axis in range(3):
        parts = [np.flip(scan, axis) if i % 2 else scan for i in range(copies)]
        scan = np.concatenate(parts, axis)
    return scan


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the main job.")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--method", default="nnunet")
    parser.add_argument("--model", default="default")
    parser.add_argument("--preset", default="standard")
    options = parser.parse_args()
    grey = mirrored(tifffile.imread(sorted(SAMPLE.glob("*.tif"))), options.copies)
    settings = RunSettings(
        10, 180, method=options.method, model=options.model, preset=options.preset, device="cpu"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tifffile.imwrite(folder / "scan.tif", grey)
        shape = grey.shape
        del grey
        progress, cancel = Progress(), CancelToken()
        watch = Watch(progress)
        started = time.perf_counter()
        watch.start()
        with Project.create(folder / "project") as project:
            scan = project.add_scan(inspect_source(folder / "scan.tif"), progress, cancel)
            before = time.perf_counter()
            with project.open_scan(scan.id) as opened:
                foretold = estimate_job(opened, settings, CancelToken())
            started += time.perf_counter() - before
            run = project.new_run(scan.id, settings.as_dict())
            result = run_segmentation_job(project, run.id, progress, cancel)
            write_main_results(project, run.id, progress, cancel)
        seconds = time.perf_counter() - started
        watch.stop()
    print(f"{' × '.join(map(str, shape))} voxels, {result.particle_count} particles\n")
    print("| stage | seconds |\n|---|---|")
    for stage, spent in watch.seconds.items():
        if spent >= 0.05:
            print(f"| {stage or '(before the first stage)'} | {spent:.1f} |")
    print(f"| **whole job** | **{seconds:.1f}** |")
    print(f"\nForetold for the run: {foretold.seconds:.1f} s with {foretold.tiles} tiles.")
    print(f"Peak memory of the process: {watch.peak_bytes / 1e9:.2f} GB.")


if __name__ == "__main__":
    main()
