"""How long a run takes to end after it is cancelled, at moments spread over all of its stages.

    python -m tests.benchmarks.cancel_latency [--attempts N]

Runs the bundled sample with the bundled model on the processor, cancels after a while, measures,
and continues the same run, until it is finished. Prints one table.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.volumes import import_scan, inspect_source, open_scan

SAMPLE = Path(__file__).parents[2] / "resources" / "sample" / "ore_sample"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time from cancel to the end of the work.")
    parser.add_argument("--attempts", type=int, default=12)
    attempts = parser.parse_args().attempts
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        import_scan(inspect_source(SAMPLE), folder / "scan.h5", Progress(), CancelToken())
        print("| stage when cancelled | seconds until it ended |\n|---|---|")
        latencies = []
        for attempt in range(attempts):
            cancel, progress = CancelToken(), Progress()
            asked: list[float] = []
            stages: list[str] = []

            def stop(cancel=cancel, progress=progress, asked=asked, stages=stages) -> None:
                stages.append(progress.snapshot().stage)
                asked.append(time.perf_counter())
                cancel.cancel()

            timer = threading.Timer(2.0 + attempt * 0.7, stop)
            timer.start()
            try:
                with open_scan(folder / "scan.h5") as scan:
                    segment(folder / "run", scan, RunSettings(10, 180), progress, cancel)
                timer.cancel()
                print("| (finished) | |")
                break
            except Cancelled:
                latencies.append(time.perf_counter() - asked[0])
                print(f"| {stages[0]} | {latencies[-1]:.2f} |", flush=True)
        print(f"\nLongest: {max(latencies):.2f} s over {len(latencies)} cancelled attempts.")


if __name__ == "__main__":
    main()
