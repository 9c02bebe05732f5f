"""The particle table as a file for other programs: CSV with a description beside it."""

from __future__ import annotations

import csv
import errno
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app import __version__
from particleseg_app.durable_files import disk_is_full, part_file
from particleseg_app.errors import ExportError
from particleseg_app.particles.distribution import size_distribution
from particleseg_app.particles.phases import columns_of

if TYPE_CHECKING:
    import pandas as pd

PROGRAM = "ParticleSeg"
_SIGNIFICANT_DIGITS = 8


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
    known = {column.name: column for column in columns_of(table)}
    for name in table.columns:
        column = known.get(name)
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
        "program": PROGRAM,
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


@contextmanager
def export_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into an `ExportError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # HDF5 reports a full disk in the text only, at times as a RuntimeError.
        full = disk_is_full(error)
        if not full and not isinstance(error, OSError):
            raise
        raise _export_error(path, "full" if full else "", error) from error


def check_place(path: Path) -> None:
    """Raise `ExportError` where no file of this name can be: it is a folder, or in none."""
    problem = _no_place(path)
    if problem is not None:
        raise problem


def _no_place(path: Path) -> ExportError | None:
    if path.is_dir():
        return ExportError(f"{path} is a folder.", "Choose a name that is not taken.")
    if not path.parent.is_dir():
        return ExportError(f"The folder {path.parent} is not there.", "Choose another folder.")
    return None


def _export_error(path: Path, kind: str, error: Exception) -> ExportError:
    another = "Choose another folder."
    if kind == "full":
        return ExportError(
            f"There is no space left to write {path}.",
            "Free some space, or choose a folder on another disk.",
        )
    if (problem := _no_place(path)) is not None:
        return problem
    if isinstance(error, PermissionError):
        if path.exists():
            return ExportError(
                f"{path} cannot be replaced: it is open in another program or write-protected.",
                "Close it there, or choose another name.",
            )
        return ExportError(f"The folder {path.parent} cannot be written to.", another)
    if getattr(error, "errno", None) == errno.EFBIG:
        return ExportError(f"{path} becomes too large for this disk.", "Choose another disk.")
    reason = getattr(error, "strerror", None) or error
    return ExportError(f"{path} cannot be written ({reason}).", another)
