"""How fast a scan is imported, compared with a plain copy of the same bytes.

    python tests/benchmarks/import_speed.py [--slices 512] [--edge 1000] [--repeats 3]

Both sides read every file, write the bytes once and flush them to the disk (fsync). Copy and import
take turns, and the medians are compared. The project's limit is a ratio of 2.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import import_scan, inspect_source

KINDS = ("16 bit", "16 bit, padded", "8 bit", "32 bit")


def make_slices(count: int, edge: int, kind: str) -> list[np.ndarray]:
    """Slices (y, x) with blobs and noise, a few different ones in turn."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(min(count, 16)):
        blobs = ndimage.zoom(rng.standard_normal((edge // 8 + 1, edge // 8 + 1)), 8, order=1)
        grey = (blobs[:edge, :edge] > 0.3) * 12000.0 + 20000 + rng.normal(0, 900, (edge, edge))
        if kind == "16 bit, padded":
            distance = np.hypot(*(np.indices((edge, edge)) - edge / 2))
            grey[distance > 0.48 * edge] = 0
        if kind == "8 bit":
            made.append((grey / 160).clip(0, 255).astype(np.uint8))
        elif kind == "32 bit":
            made.append((grey / 20000).astype(np.float32))
        else:
            made.append(grey.astype(np.uint16))
    return [made[i % len(made)] for i in range(count)]


def write_folder(slices: list[np.ndarray], folder: Path) -> Path:
    folder.mkdir()
    for number, values in enumerate(slices):
        tifffile.imwrite(folder / f"slice_{number:04d}.tif", values)
    return folder


def write_stack(slices: list[np.ndarray], path: Path) -> Path:
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for values in slices:
            writer.write(values, contiguous=True)
    return path


def plain_copy(source: Path, target: Path) -> None:
    """Copy all files of `source` into one file each and flush them."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    target.mkdir()
    for path in files:
        with open(path, "rb") as reading, open(target / path.name, "wb") as writing:
            shutil.copyfileobj(reading, writing, 2**20)
            if len(files) == 1:
                writing.flush()
                os.fsync(writing.fileno())
    if len(files) > 1:
        # All files first, then the flush: a flush for each of them would flatter the import.
        for path in files:
            with open(target / path.name, "r+b") as written:
                os.fsync(written.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=512)
    parser.add_argument("--edge", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's own)")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        place = Path(temporary)
        for kind in arguments.kinds:
            slices = make_slices(arguments.slices, arguments.edge, kind)
            for form, write in (("folder", write_folder), ("BigTIFF", write_stack)):
                source = write(slices, place / ("source" if form == "folder" else "source.tif"))
                rows.append((kind, form, *compare(source, place, arguments.repeats)))
                shutil.rmtree(source) if source.is_dir() else source.unlink()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    print(
        f"{arguments.slices} slices of {arguments.edge} × {arguments.edge}, "
        f"{os.cpu_count()} cores, load {load}, median of {arguments.repeats}"
    )
    print(f"{'grey values':<16}{'source':<9}{'MB':>6}{'copy s':>8}{'import s':>10}{'ratio':>7}"
          f"{'stored MB':>11}")  # fmt: skip
    for kind, form, size, copy_s, import_s, stored in rows:
        print(
            f"{kind:<16}{form:<9}{size / 1e6:>6.0f}{copy_s:>8.2f}{import_s:>10.2f}"
            f"{import_s / copy_s:>7.2f}{stored / 1e6:>11.0f}"
        )


def compare(source: Path, place: Path, repeats: int) -> tuple[int, float, float, int]:
    """Source bytes, seconds of a copy and of an import with its checks, bytes stored."""
    copy_s, import_s, stored, size = [], [], 0, 0
    for _ in range(repeats):
        begin = time.perf_counter()
        plain_copy(source, place / "copy")
        copy_s.append(time.perf_counter() - begin)
        shutil.rmtree(place / "copy")
        begin = time.perf_counter()
        checked = inspect_source(source)
        import_scan(checked, place / "scan.h5", Progress(), CancelToken())
        import_s.append(time.perf_counter() - begin)
        stored, size = (place / "scan.h5").stat().st_size, checked.bytes
        (place / "scan.h5").unlink()
    return size, statistics.median(copy_s), statistics.median(import_s), stored


if __name__ == "__main__":
    main()
