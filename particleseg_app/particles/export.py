"""Results as files for other programs: CSV with a description beside it, TIFF and HDF5 labels."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app import __version__
from particleseg_app.durable_files import part_file
from particleseg_app.errors import ExportError
from particleseg_app.particles.distribution import size_distribution
from particleseg_app.particles.measure import Labels
from particleseg_app.particles.table import column_named
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape, check_voxel_size

if TYPE_CHECKING:
    import pandas as pd

_PROGRAM = "ParticleSeg"
_SIGNIFICANT_DIGITS = 8
_BLOCK_BYTES = 128 * 2**20
_CHUNK_EDGE = 64
_HDF5_OVERHEAD_BYTES = 8 * 2**20
# Classic TIFF addresses 32 bits. The last page and its directory must still fit.
_CLASSIC_TIFF_BYTES = 2**32 - 2**26


def export_csv(table: pd.DataFrame, path: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """Write the particle table as CSV and, beside it, a JSON file that says what it is.

    CSV: UTF-8 without byte order mark, comma, decimal point, one header line of column names that
    carry their units; numbers of 8 significant digits without exponent; empty where there is no
    value. The JSON file has the same name with the ending .json and holds the program and its
    version, the number of mends, `provenance`, the columns with units and descriptions, and D10,
    D50, P80 and D90.
    Returns both paths. Raises `ExportError`.
    """
    path = Path(path)
    sidecar = path.with_suffix(".json")
    if sidecar == path:
        raise ExportError(
            f"{path.name} is no name for a CSV file.", "Choose a name that ends in .csv."
        )
    description = json.dumps(
        _description(table, path.name, provenance),
        indent=2,
        ensure_ascii=False,
        allow_nan=False,
        default=_plain,
    )
    # The CSV takes its place first: where that fails, the old pair stays as it was.
    with export_errors(sidecar), part_file(sidecar) as sidecar_part:
        sidecar_part.write_text(description + "\n", encoding="utf-8")
        with export_errors(path), part_file(path) as part:
            _write_csv(table, part)
    return [path, sidecar]


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    columns = [_texts(table[name]) for name in table.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*columns, strict=True))


def _texts(values: pd.Series) -> list[str]:
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values]
    if values.dtype.kind == "f":
        return [number_text(value) for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def number_text(value: float) -> str:
    """`value` with 8 significant digits and without exponent; empty when it is not a number."""
    if not math.isfinite(value):
        return ""
    text = f"{value:.{_SIGNIFICANT_DIGITS}g}"
    if "e" in text:
        text = np.format_float_positional(float(text), trim="-")
    return text


def _description(
    table: pd.DataFrame, file_name: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    columns = []
    for name in table.columns:
        column = column_named(name)
        about = {"name": name}
        if column is not None:
            about |= {
                "title": column.title,
                "unit": column.unit,
                "description": column.description,
            }
        columns.append(about)
    distributions = {}
    for weighting in ("volume", "number"):
        distribution = size_distribution(table, weighting)
        if distribution is not None:
            distributions[f"{weighting}_weighted"] = {
                "d10_um": distribution.d10,
                "d50_um": distribution.d50,
                "p80_um": distribution.p80,
                "d90_um": distribution.d90,
            }
    return {
        "program": _PROGRAM,
        "version": __version__,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": file_name,
        "row_count": len(table),
        "mends": int(provenance.get("mends", 0)),
        "provenance": dict(provenance),
        "size_distribution": distributions,
        "columns": columns,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def export_labels_tiff(
    labels: Labels, path: Path, voxel_size_um: float, progress: Progress, cancel: CancelToken
) -> None:
    """Write the label volume as one TIFF file, a page a slice, deflate-compressed.

    uint16 up to label 65 535, else uint32 (ImageJ shows these as 32-bit, exact up to
    16 777 216). Voxel size and unit are stored as ImageJ reads them. A file beyond 4 GB becomes a
    BigTIFF, which ImageJ opens through Bio-Formats. Raises `ExportError` and `Cancelled`.
    """
    check_voxel_size(voxel_size_um)
    path = Path(path)
    with export_errors(path), part_file(path) as part:
        if not _write_tiff(labels, part, voxel_size_um, False, progress, cancel):
            _write_tiff(labels, part, voxel_size_um, True, progress, cancel)


def _write_tiff(
    labels: Labels,
    path: Path,
    voxel_size_um: float,
    big: bool,
    progress: Progress,
    cancel: CancelToken,
) -> bool:
    """Write the file; False as soon as it is too large for a classic TIFF."""
    from tifffile import TiffWriter

    dtype = np.uint16 if labels.count <= np.iinfo(np.uint16).max else np.uint32
    depth = labels.shape[0]
    # What ImageJ itself writes; pixel width and height come from the resolution tags.
    description = (
        f"ImageJ=1.53t\nimages={depth}\nslices={depth}\nunit=micron\n"
        f"spacing={voxel_size_um!r}\nloop=false\nmin=0.0\nmax={float(max(1, labels.count))}\n"
    )
    options: dict[str, Any] = {
        "photometric": "minisblack",
        "compression": "zlib",
        "compressionargs": {"level": 6},
        "resolution": (1.0 / voxel_size_um, 1.0 / voxel_size_um),
        "resolutionunit": "NONE",
        "software": f"{_PROGRAM} {__version__}",
        "metadata": None,
        "contiguous": False,
    }
    progress.start("Writing labels (TIFF)", depth, "slices")
    with TiffWriter(path, bigtiff=big, shaped=False) as writer:
        for box in _slabs(labels.shape, _slab_depth(labels.shape)):
            slab = labels.read(box).astype(dtype)
            for i, page in enumerate(slab, start=box.start[0]):
                cancel.check()
                if not big and writer.filehandle.tell() + page.nbytes > _CLASSIC_TIFF_BYTES:
                    return False
                writer.write(page, description=description if i == 0 else None, **options)
                progress.advance()
    return True


def export_labels_hdf5(
    labels: Labels,
    path: Path,
    voxel_size_um: float,
    progress: Progress,
    cancel: CancelToken,
    *,
    particle_count: int | None = None,
) -> None:
    """Write the label volume as dataset `labels` (uint32, axes z, y, x) of an HDF5 file.

    Compressed with gzip, which every HDF5 library reads. Attributes: `voxel_size_um`, `axes`,
    `element_size_um` (z, y, x), `particle_count` (the highest label where it is not given: after
    mends there may be fewer particles) and `highest_label`. Raises `ExportError` and `Cancelled`.
    """
    import h5py

    check_voxel_size(voxel_size_um)
    path = Path(path)
    depth, height, width = labels.shape
    chunks = tuple(min(_CHUNK_EDGE, n) for n in labels.shape)
    rows = max(1, _BLOCK_BYTES // 4 // (4 * _CHUNK_EDGE**2 * width)) * _CHUNK_EDGE
    boxes = [
        Box((z, y, 0), (min(depth, z + _CHUNK_EDGE), min(height, y + rows), width))
        for z in range(0, depth, _CHUNK_EDGE)
        for y in range(0, height, rows)
    ]
    progress.start("Writing labels (HDF5)", len(boxes), "blocks")
    with export_errors(path), part_file(path) as part, h5py.File(part, "w") as file:
        dataset = file.create_dataset(
            "labels",
            labels.shape,
            np.uint32,
            chunks=chunks,
            compression="gzip",
            compression_opts=2,
            shuffle=True,
        )
        dataset.attrs["voxel_size_um"] = float(voxel_size_um)
        dataset.attrs["axes"] = "zyx"
        dataset.attrs["element_size_um"] = np.full(3, voxel_size_um)
        dataset.attrs["particle_count"] = labels.count if particle_count is None else particle_count
        dataset.attrs["highest_label"] = labels.count
        file.attrs["program"] = f"{_PROGRAM} {__version__}"
        for box in boxes:
            cancel.check()
            block = labels.read(box)
            _check_space(path.parent, block.nbytes)
            dataset[box.slices] = block
            progress.advance()


def _check_space(folder: Path, wanted_bytes: int) -> None:
    """Raise the error of a full disk before HDF5 meets one, which can bring down the process."""
    if shutil.disk_usage(folder).free < wanted_bytes + _HDF5_OVERHEAD_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _slab_depth(shape: Shape) -> int:
    """Slices to read at a time: as many as memory allows, up to a layer of stored chunks."""
    depth = _CHUNK_EDGE
    while depth > 1 and depth * shape[1] * shape[2] * 4 > _BLOCK_BYTES:
        depth //= 2
    return depth


def _slabs(shape: Shape, depth: int) -> Iterator[Box]:
    for z in range(0, shape[0], depth):
        yield Box((z, 0, 0), (min(shape[0], z + depth), shape[1], shape[2]))


@contextmanager
def export_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into an `ExportError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # HDF5 reports a full disk in the text only, at times as a RuntimeError.
        code = getattr(error, "errno", None)
        full = code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if not full and not isinstance(error, OSError):
            raise
        raise _export_error(path, "full" if full else "", error) from error


def _export_error(path: Path, kind: str, error: Exception) -> ExportError:
    another = "Choose another folder."
    if kind == "full":
        return ExportError(
            f"There is no space left to write {path}.",
            "Free some space, or choose a folder on another disk.",
        )
    if path.is_dir():
        return ExportError(f"{path} is a folder.", "Choose a name that is not taken.")
    if not path.parent.is_dir():
        return ExportError(f"The folder {path.parent} is not there.", another)
    if isinstance(error, PermissionError):
        if path.exists():
            return ExportError(
                f"{path} cannot be replaced: it is open in another program or write-protected.",
                "Close it there, or choose another name.",
            )
        return ExportError(f"The folder {path.parent} cannot be written to.", another)
    if getattr(error, "errno", None) == errno.EFBIG:
        return ExportError(f"{path} becomes too large for this disk.", "Choose another disk.")
    return ExportError(f"{path} cannot be written ({error}).", another)
