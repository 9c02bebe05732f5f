"""The cases of the accuracy benchmark by name; each is made only when it is asked for."""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from threadpoolctl import threadpool_limits

import tests.independent_scans
from particleseg_app.durable_files import write_bytes
from particleseg_app.volumes import read_label_file
from tests.benchmarks.accuracy_record import code_version, scan_digest, without_comments
from tests.benchmarks.slice_network import cache_folder
from tests.independent_scans import ALL, REAL, LabelledScan

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample"
SAMPLE_DIAMETER = 18.0

MakeCase = Callable[[], LabelledScan | None]


def bundled_sample() -> LabelledScan:
    """The sample of the demo; the one case that the training's own generator made."""
    grey = tifffile.imread(sorted((SAMPLE / "ore_sample").glob("*.tif")))
    labels = read_label_file(SAMPLE / "ore_sample_labels.tif")
    return LabelledScan("bundled sample", grey, labels, SAMPLE_DIAMETER, "the demo's scan")


def _generator_sources() -> list[Path]:
    folder = Path(tests.independent_scans.__path__[0])
    others = ("cases.py", "real.py", "__init__.py")
    return [path for path in sorted(folder.glob("*.py")) if path.name not in others]


def _generator_version() -> str:
    digest = hashlib.sha256()
    for source in _generator_sources():
        digest.update(source.read_bytes())
    return digest.hexdigest()


def scan_version(key: str, case: LabelledScan) -> str:
    """What tells whether figures on a case still hold: how it is made, or its voxels if it is read.

    Not the voxels of simulated cases: another processor rounds some of them otherwise.
    """
    for make in ALL:
        if make.__name__ == key:
            sources = (s for s in _generator_sources() if s.name != "labelled_scan.py")
            return code_version(sources, without_comments(inspect.getsource(make)))
    return scan_digest(case)


# Of the sources as they were imported, not as they may be by the time a case is made.
GENERATOR_VERSION = _generator_version()
CASE_VERSIONS = {
    make: hashlib.sha256((GENERATOR_VERSION + inspect.getsource(make)).encode()).hexdigest()[:16]
    for make in ALL
}


def kept(make: Callable[[], LabelledScan]) -> LabelledScan:
    """A case from the benchmark cache, made and kept there first where any source has changed."""
    path = cache_folder() / "cases" / f"{make.__name__}_{CASE_VERSIONS[make]}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as data:
            name, about = (str(text) for text in data["texts"])
            return LabelledScan(name, data["grey"], data["labels"], float(data["diameter"]), about)
    with threadpool_limits(1):  # many small products: more threads only wait for one another
        case = make()
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, grey=case.grey, labels=case.labels, diameter=case.diameter_voxels,
        texts=np.array([case.name, case.about]),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{make.__name__}_*.npz"):
        old.unlink(missing_ok=True)
    write_bytes(path, buffer.getvalue())
    return case


CASES: dict[str, MakeCase] = {
    "bundled_sample": bundled_sample,
    **{make.__name__: functools.partial(kept, make) for make in ALL},
    **{make.__name__: make for make in REAL},
}

# Cases in which more than half of the particles touch over faces and edges.
TOUCHING_CASES = ("pushed_fragments", "settled_grains")


def chosen_cases(names: list[str] | None) -> dict[str, MakeCase]:
    """The cases whose name contains one of `names` (all without names); ValueError for none."""
    if not names:
        return CASES
    chosen = {
        key: make for key, make in CASES.items() if any(name in key for name in names)
    }  # fmt: skip
    if not chosen:
        raise ValueError(f"No case is called so. There are: {', '.join(CASES)}.")
    return chosen
