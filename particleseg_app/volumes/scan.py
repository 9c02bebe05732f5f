"""A scan inside a project: grey values on disk, read by box or by slice, and their statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from particleseg_app.errors import ScanError
from particleseg_app.units import Shape
from particleseg_app.volumes.chunked_store import StoredVolume
from particleseg_app.volumes.field_of_view import FieldOfView
from particleseg_app.volumes.grey_statistics import GreyStatistics
from particleseg_app.volumes.odd_slices import OddSlices

GREY_DATASET = "grey"
_OUTSIDE_DATASET = "outside_field_of_view"
FORMAT_VERSION = 1
_STATISTICS_GROUP = "statistics"
_SINGLE_FIGURES = (
    "minimum",
    "maximum",
    "mean",
    "std",
    "clipped_low",
    "clipped_high",
    "not_finite",
)
_ODD_SLICES = ("blank", "copied")


class Scan(StoredVolume):
    """Grey values (z, y, x), read only; may be read from several threads; a context manager."""

    def __init__(self, path: Path, cache_bytes: int | None = None) -> None:
        super().__init__(path, GREY_DATASET, cache_bytes)
        try:
            assert self._file is not None
            self.statistics: GreyStatistics = load_statistics(self._file)
            self.field_of_view: FieldOfView | None = _load_field_of_view(self._file, self.shape)
        except BaseException:
            self.close()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return open_scan, (self.path, self.cache_bytes)


def open_scan(path: Path, cache_bytes: int | None = None) -> Scan:
    """Open an imported scan (`scan.h5`); raise `ScanError` if it is missing or damaged.

    `cache_bytes` bounds the memory for unpacked chunks: who reads every box once needs little.
    """
    path = Path(path)
    if not path.is_file():
        raise ScanError(f"There is no scan at {path}.", "Import the scan again.")
    try:
        with h5py.File(path, "r", locking=False) as file:
            version = int(file.attrs.get("format_version", 0))
        if version > FORMAT_VERSION:
            raise ScanError(
                f"The scan {path} was imported by a newer version of ParticleSeg.",
                "Install the newest version to open it.",
            )
        return Scan(path, cache_bytes)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise ScanError(
            f"The scan file {path} is damaged or not a scan.", "Import the scan again."
        ) from error


def save_statistics(file: h5py.File, statistics: GreyStatistics) -> None:
    """Write the statistics into an open scan file."""
    group = file.create_group(_STATISTICS_GROUP)
    for name in _SINGLE_FIGURES:
        group.attrs[name] = getattr(statistics, name)
    for name in _ODD_SLICES:
        odd: OddSlices = getattr(statistics, name)
        group.attrs[f"{name}_slices"] = (odd.count, odd.first)
    for name in ("histogram_counts", "histogram_edges"):
        group.create_dataset(name, data=getattr(statistics, name), compression="gzip")


def load_statistics(file: h5py.File) -> GreyStatistics:
    """Read the statistics back; raise `KeyError` if there are none."""
    group = file[_STATISTICS_GROUP]
    figures = {name: float(group.attrs[name]) for name in _SINGLE_FIGURES}
    # Scans that were imported before these were looked for lack them.
    odd = {
        name: OddSlices(*(int(n) for n in group.attrs.get(f"{name}_slices", (0, -1))))
        for name in _ODD_SLICES
    }
    return GreyStatistics(
        histogram_counts=np.asarray(group["histogram_counts"][:]),
        histogram_edges=np.asarray(group["histogram_edges"][:]),
        **figures,
        blank=odd["blank"],
        copied=odd["copied"],
    )


def save_field_of_view(file: h5py.File, view: FieldOfView) -> None:
    """Write what was seen of each slice into an open scan file."""
    outside = file.create_dataset(_OUTSIDE_DATASET, data=view.outside, compression="gzip")
    outside.attrs["filled"] = view.filled


def _load_field_of_view(file: h5py.File, shape: Shape) -> FieldOfView | None:
    """Read it back; None where all was seen. Raises `ValueError` where it is of another scan."""
    outside = file.get(_OUTSIDE_DATASET)
    if outside is None:
        return None
    if outside.shape != tuple(shape[1:]) or outside.dtype != np.dtype(bool):
        raise ValueError("the field of view is of another scan")
    return FieldOfView(outside[:], float(outside.attrs["filled"]))
