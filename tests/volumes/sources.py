"""TIFF files of many kinds for the tests of the import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import Scan, import_scan, inspect_source, open_scan

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = Path(os.environ.get("PARTICLESEG_DATA", REPOSITORY.parent / "shared" / "data"))

needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="the folder with real scans is not here"
)


def grey_values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Values over a good part of the range of `dtype`."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(0.3, 2.0, shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def write_slices(
    folder: Path, volume: np.ndarray, name: str = "slice_{:04d}.tif", **options: Any
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, values in enumerate(volume):
        tifffile.imwrite(folder / name.format(index), values, **options)
    return folder


def imported(source: object, destination: Path) -> Scan:
    """Import `source` (a path or several) and open the result."""
    checked = inspect_source(source)  # type: ignore[arg-type]
    import_scan(checked, destination, Progress(), CancelToken())
    return open_scan(destination)
