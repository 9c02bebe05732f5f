"""Ring artefacts: processor seconds of looking for them and of measuring them in all slices.

    python -m tests.benchmarks.ring_speed [--shape 128,1256,1256]

A made-up scan of noise and rings, imported as any other. The row "all slices" grows with their
number, the others do not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.rings import RinglessScan, rings_of
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from tests.benchmarks.measuring import machine
from tests.independent_scans import rendering

_READ = (64, 256, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="128,1256,1256", metavar="Z,Y,X")
    depth, height, width = (int(n) for n in parser.parse_args().shape.split(","))
    random = np.random.default_rng(1)
    rings = rendering.rings(random, (1, height, width), 3000, 40)[0] + 20_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slices").mkdir()
        for z in range(depth):
            grey = rings + random.normal(0, 1500, rings.shape)
            tifffile.imwrite(folder / "slices" / f"{z:04d}.tif", grey.astype(np.uint16))
        source = inspect_source(folder / "slices")
        import_scan(source, folder / "scan.h5", Progress(), CancelToken())
        with open_scan(folder / "scan.h5") as scan:
            rings_of(scan, Progress(), CancelToken(), all_slices=False)  # compiles
            seconds = {}
            for title, all_slices in (("looking for rings", False), ("all slices", True)):
                began = time.process_time()
                found = rings_of(scan, Progress(), CancelToken(), all_slices=all_slices)
                seconds[title] = time.process_time() - began
            assert found is not None
            seconds["all slices"] -= seconds["looking for rings"]
            box = Box((0, 0, 0), _READ)
            for title, volume in (("as it is", scan), ("without rings", RinglessScan(scan, found))):
                began = time.process_time()
                volume.read(box)
                seconds[f"reading {box.size / 1e6:.1f} million voxels {title}"] = (
                    time.process_time() - began
                )
    print(f"{depth} × {height} × {width} voxels; {machine()}; processor seconds\n")
    for title, value in seconds.items():
        print(f"{title:45}{value:8.2f}")


if __name__ == "__main__":
    main()
