"""Which scans a batch holds, from a folder of scans or from a CSV file that lists them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from particleseg_app.errors import InvalidValueError, ScanError, UserError
from particleseg_app.segmentation import RunSettings
from particleseg_app.volumes.slice_series import natural_key
from particleseg_app.volumes.tiff_layout import examine_tiff
from particleseg_app.volumes.tiff_source import LABELS_NAME, TIFF_SUFFIXES, name_of_slices

NEEDED_COLUMNS = ("path", "voxel_size_um", "particle_diameter_um")
OPTIONAL_COLUMNS = ("name", "method", "model", "preset", "threshold")
MOST_SCANS = 10_000
_LARGEST_CSV_BYTES = 10 * 2**20
_LONGEST_NAME = 100
# Names that Windows keeps for itself.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class BatchEntry:
    """One scan of a batch. `name` is that of its project's folder."""

    name: str
    path: Path
    settings: RunSettings


def batch_entries(
    path: Path,
    common: RunSettings | None,
    settled: Callable[[RunSettings], RunSettings],
    out: Path | None = None,
) -> list[BatchEntry]:
    """The scans of a folder (all with the `common` settings) or of a CSV file.

    In a CSV file `common` gives what its columns leave open; it may be None there, or have sizes
    that every row overrides. `settled` checks the settings of a scan against this computer (model,
    device) and returns them as they are recorded. `out` is no scan. Raises `ScanError` and
    `InvalidValueError`: a batch with a mistake in it is refused before anything is done.
    """
    if path.is_dir():
        if common is None:
            raise InvalidValueError(
                "Voxel size and particle diameter are missing.",
                "Give both, as they hold for all scans, or list the scans in a CSV file.",
            )
        common.check()
        settings = settled(common)
        return [
            BatchEntry(name, scan, settings)
            for name, scan in _named(_scans_in(path, out), taken=set())
        ]
    if not path.exists():
        raise ScanError(f"{path} does not exist.", "Check the path.")
    if path.suffix.lower() not in (".csv", ".txt", ".tsv"):
        raise ScanError(
            f"{path.name} is neither a folder nor a CSV file.",
            "Give a folder of scans, or a CSV file that lists them.",
        )
    return _from_csv(path, common, settled)


def _scans_in(folder: Path, out: Path | None) -> list[Path]:
    """Folders that hold TIFF files, and TIFF stacks, in the order that people expect."""
    try:
        inside = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise ScanError(
            f"The folder {folder} cannot be read ({error.strerror}).", "Check your permissions."
        ) from error
    visible = [path for path in inside if not path.name.startswith(".")]
    if out is not None:
        visible = [path for path in visible if path.resolve() != out.resolve()]
    visible = [path for path in visible if path.name.lower() != LABELS_NAME]
    files = [p for p in visible if p.suffix.lower() in TIFF_SUFFIXES and p.is_file()]
    folders = [p for p in visible if p.is_dir() and _holds_tiffs(p)]
    if files and all(examine_tiff(path, try_decoding=False).slice_count == 1 for path in files[:2]):
        raise ScanError(
            f"The folder {folder} holds the slices of one scan, not several scans.",
            "Use particleseg segment for it, or give the folder above it.",
        )
    scans = sorted([*files, *folders], key=natural_key)
    if not scans:
        raise ScanError(
            f"The folder {folder} holds no scan.",
            "Each scan is a folder of TIFF slices in it, or a TIFF stack.",
        )
    return scans


def _holds_tiffs(folder: Path) -> bool:
    try:
        return any(
            path.suffix.lower() in TIFF_SUFFIXES and not path.name.startswith(".")
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _named(scans: list[Path], taken: set[str]) -> Iterator[tuple[str, Path]]:
    """A name for each scan that is a plain folder name and not `taken` (which is added to)."""
    for scan in scans:
        stem = scan.stem if scan.is_file() else name_of_slices(scan)
        cleaned = re.sub(r"[^\w.() -]+", "_", stem)[:_LONGEST_NAME].strip(" .")
        if not cleaned or _RESERVED.fullmatch(cleaned):
            cleaned = f"scan {cleaned}".strip()
        name, number = cleaned, 2
        while name.casefold() in taken:
            name, number = f"{cleaned}_{number}", number + 1
        taken.add(name.casefold())
        yield name, scan


def _from_csv(
    path: Path, common: RunSettings | None, settled: Callable[[RunSettings], RunSettings]
) -> list[BatchEntry]:
    header, rows, decimal_comma = _read(path)
    known_settled: dict[RunSettings, RunSettings] = {}
    found: list[tuple[str, Path, RunSettings]] = []
    names: dict[str, int] = {}
    for number, row in rows:
        values = dict(zip(header, row, strict=True))
        try:
            settings = _settings(values, common, decimal_comma)
            settings.check()
            if settings not in known_settled:
                known_settled[settings] = settled(settings)
            name = _checked_name(values.get("name", ""))
            if not values["path"]:
                raise InvalidValueError("There is no path.", "Write where the scan lies.")
        except UserError as error:
            raise InvalidValueError(
                f"Line {number} of {path.name}: {error.sentence}", error.remedy
            ) from error
        if name:
            if name.casefold() in names:
                raise InvalidValueError(
                    f"Line {number} of {path.name}: the name “{name}” is in line "
                    f"{names[name.casefold()]} already.",
                    "Give each scan a name of its own.",
                )
            names[name.casefold()] = number
        scan = path.absolute().parent / Path(values["path"])
        found.append((name, scan, known_settled[settings]))
    if not found:
        raise ScanError(f"{path.name} lists no scan.", "Write one line for each scan.")
    derived = _named([scan for name, scan, _ in found if not name], taken=set(names))
    return [BatchEntry(name or next(derived)[0], scan, settings) for name, scan, settings in found]


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], bool]:
    """Header, rows with their line numbers, and whether numbers may have a decimal comma."""
    try:
        if path.stat().st_size > _LARGEST_CSV_BYTES:
            raise ScanError(f"{path.name} is too large for a list of scans.", "Check the file.")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScanError(
            f"{path.name} is not text in UTF-8.", "Save it as CSV with the encoding UTF-8."
        ) from error
    except OSError as error:
        raise ScanError(f"{path} cannot be read ({error.strerror}).", "Check the file.") from error
    if "\0" in text:
        raise ScanError(f"{path.name} is not a CSV file.", "Save the list as CSV (UTF-8).")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _check_header(path, header)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise ScanError(
                    f"Line {reader.line_num} of {path.name} has {len(cells)} values, but there "
                    f"are {len(header)} columns.",
                    "Put a value that holds a comma into quotes.",
                )
            rows.append((reader.line_num, cells))
            if len(rows) > MOST_SCANS:
                raise ScanError(
                    f"{path.name} lists more than {MOST_SCANS} scans.", "Split the list."
                )
    except csv.Error as error:
        raise ScanError(
            f"Line {reader.line_num} of {path.name} cannot be read ({error}).",
            "Save the list as CSV (UTF-8).",
        ) from error
    return header, rows, delimiter != ","


def _check_header(path: Path, header: list[str]) -> None:
    known = (*NEEDED_COLUMNS, *OPTIONAL_COLUMNS)
    for column in NEEDED_COLUMNS:
        if column not in header:
            raise ScanError(
                f"{path.name} has no column {column}.",
                f"Its first line must name the columns {', '.join(NEEDED_COLUMNS)} and, if "
                f"wanted, {', '.join(OPTIONAL_COLUMNS)}.",
            )
    for column in header:
        if column not in known:
            raise ScanError(
                f"{path.name} has an unknown column “{column[:60]}”.",
                f"Columns can be: {', '.join(known)}.",
            )
        if header.count(column) > 1:
            raise ScanError(f"{path.name} has the column {column} twice.", "Remove one of them.")


def _settings(
    values: dict[str, str], common: RunSettings | None, decimal_comma: bool
) -> RunSettings:
    voxel_size_um = _number("voxel_size_um", values, decimal_comma)
    particle_diameter_um = _number("particle_diameter_um", values, decimal_comma)
    base = common or RunSettings(voxel_size_um, particle_diameter_um)
    changes: dict[str, Any] = {
        name: values[name] for name in ("method", "model", "preset") if values.get(name)
    }
    if changes.get("method", base.method) != "threshwater":
        if values.get("threshold"):
            raise InvalidValueError(
                "A threshold belongs to the method threshwater.",
                "Name that method, or leave the threshold away.",
            )
        changes["threshold"] = None
    elif values.get("threshold"):
        changes["threshold"] = _number("threshold", values, decimal_comma, "grey value", "31000")
    return replace(
        base, voxel_size_um=voxel_size_um, particle_diameter_um=particle_diameter_um, **changes
    )


def _number(
    column: str,
    values: dict[str, str],
    decimal_comma: bool,
    meaning: str = "number of µm",
    example: str = "12.5",
) -> float:
    text = values[column]
    plain = text.replace(",", ".") if decimal_comma else text
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", plain, re.ASCII):
        raise InvalidValueError(
            f"{column} is “{text[:60]}”, which is no number." if text else f"{column} is empty.",
            f"Write a {meaning}, as in {example}.",
        )
    return float(plain)


def _checked_name(name: str) -> str:
    if not name:
        return ""
    if (
        len(name) > _LONGEST_NAME
        or not re.fullmatch(r"[\w(][\w.() -]*", name)
        or name.endswith(".")
        or _RESERVED.fullmatch(name)
    ):
        raise InvalidValueError(
            f"The name “{name[:_LONGEST_NAME]}” cannot be that of a folder.",
            "Use letters, digits, spaces, dots, hyphens and underscores.",
        )
    return name
