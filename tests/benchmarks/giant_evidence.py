"""How long the evidence about a failed run takes, in which one label touches hundreds of others.

    python tests/benchmarks/giant_evidence.py FOLDER

ThreshWater joins most of these simulated scans into one label. They are made once and kept in
FOLDER.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.candidates import gather_evidence
from tests.benchmarks.review_scans import simulated

SEEDS = (940020, 940010)  # settled_angular, plates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print("| scan | particles | contacts | of the largest label | seconds | of processor time |")
    print("|---|---|---|---|---|---|")
    for run in simulated(folder, SEEDS, "threshwater"):
        table = run.table()
        giant = int(table.loc[table["volume_voxels"].idxmax(), "label"])
        with run.scan() as scan, run.labels() as labels:
            begun, busy = time.perf_counter(), time.process_time()
            found = gather_evidence(scan, labels, table, Progress(), CancelToken())
            wall, busy = time.perf_counter() - begun, time.process_time() - busy
        of_giant = sum(giant in pair.labels for pair in found.pairs)
        print(
            f"| {run.name} | {len(found.particles)} | {len(found.pairs)} | {of_giant} | "
            f"{wall:.1f} | {busy:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
