"""Where the time of the network stage goes: in the network, and beside it.

    python -m tests.benchmarks.network_share [--preset PRESET] [--copies N]

The stage runs over the bundled sample (mirrored to N copies along each axis) on the processor,
with each engine. Prints one table: the share of the stage's time inside the network, and seconds
of what else is done. Reading and writing go on in threads beside the network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tifffile

from particleseg_app.models import choose_inference, find_model, open_predictor
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings
from particleseg_app.segmentation.background import background_test
from particleseg_app.segmentation.network_stage import NetworkStage
from particleseg_app.segmentation.plan import plan_network_run
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.benchmarks.whole_job import SAMPLE, mirrored

PARTS = {
    "read (beside)": ("chunks", "read"),
    "look for empty tiles": ("chunks", "_parted"),
    "hand on and close (beside)": ("", "_finish"),
}


class Stopwatch:
    """Adds up the seconds that methods of an object take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, holder: Any, method: str, name: str) -> None:
        work: Callable[..., Any] = getattr(holder, method)

        def timed(*args: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*args)
            finally:
                spent = time.perf_counter() - started
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        setattr(holder, method, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Share of the network in the network stage.")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--copies", type=int, default=1)
    options = parser.parse_args()
    entry = find_model("default")
    print("| engine | tiles | stage | in the network | share | " + " | ".join(PARTS) + " |")
    print("|---" * (5 + len(PARTS)) + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grey = mirrored(tifffile.imread(sorted(SAMPLE.glob("*.tif"))), options.copies)
        tifffile.imwrite(folder / "scan.tif", grey)
        import_scan(
            inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken()
        )
        with open_scan(folder / "scan.h5") as scan:
            settings = RunSettings(10, 180, preset=options.preset, device="cpu")
            plan = plan_network_run(scan.shape, settings, entry.card)
            scaling = entry.card.normalisation.for_scan(scan.statistics)
            background = background_test(scan.statistics, scaling)
            for wanted in ("torch", "openvino"):
                inference = choose_inference(entry, "cpu", wanted, CancelToken()).inference
                predictor = open_predictor(entry, "cpu", plan.mirroring, CancelToken(), inference)
                stage = NetworkStage(plan, scan, scaling, predictor, folder / wanted, background)
                # The first prediction compiles the network for the tile: not the stage's work.
                import torch

                predictor.predict(torch.zeros((1, 1, *plan.tile_shape)))
                watch = Stopwatch()
                for part, (holder, method) in PARTS.items():
                    watch.watch(getattr(stage, holder) if holder else stage, method, part)
                started = time.perf_counter()
                stage.run(Progress(), CancelToken())
                whole = time.perf_counter() - started
                inside = stage.chunks.network_seconds
                beside = " | ".join(f"{watch.seconds.get(part, 0.0):.2f} s" for part in PARTS)
                print(
                    f"| {inference.title} | {plan.tile_count} | {whole:.1f} s | {inside:.1f} s "
                    f"| {100 * inside / whole:.1f} % | {beside} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
