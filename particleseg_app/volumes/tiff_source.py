"""A scan outside the project: TIFF slices in a folder or one TIFF file, checked before import."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from particleseg_app.errors import ScanError
from particleseg_app.file_access import is_file, is_folder
from particleseg_app.units import Shape
from particleseg_app.volumes.slice_series import natural_key, ordered_series
from particleseg_app.volumes.tiff_layout import TiffLayout, describe_slices, examine_tiff

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
FEWEST_SLICES = 8
LABELS_NAME = "labels.tif"  # beside a simulated scan, and in a project
SIMULATED_SLICES = "scan"  # the folder beside them
_OTHER_IMAGES = (".bmp", ".jpg", ".jpeg", ".png", ".dcm", ".ima", ".raw", ".vol", ".gif")


MOST_LOOKED_INTO = 100  # folders inside a folder without slices, to say where these lie


@dataclass(frozen=True)
class ScanSource:
    """A checked scan that can be imported. `shape` is (z, y, x), `dtype` as it will be stored.

    `voxel_size_origin` says where the proposed voxel size was found ("" when there is none), and
    `remarks` are sentences for the user about things that are odd but no obstacle.
    """

    name: str
    files: tuple[Path, ...] = field(repr=False)
    shape: Shape
    dtype: np.dtype
    proposed_voxel_size_um: float | None = None
    voxel_size_origin: str = ""
    remarks: tuple[str, ...] = ()
    layouts: tuple[TiffLayout, ...] = field(default=(), repr=False)
    state: str = ""  # tells whether the files are as they were when they were checked

    @property
    def place(self) -> Path:
        """The file of a stack, or the folder of the slices."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent

    @property
    def bytes(self) -> int:
        """Size of the grey values as they will be stored, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize


def inspect_source(path: Path | str | Sequence[Path | str]) -> ScanSource:
    """Check a folder of TIFF slices, one TIFF stack, or several slice files.

    Every file is opened and its declared sizes are compared with what is there, but no pixels are
    kept. Raises `ScanError` that names the file at fault and the remedy.
    """
    if isinstance(path, str | Path):
        path = Path(path)
        if is_folder(path):
            return _inspect_folder(path)
        if not is_file(path):
            raise ScanError(
                f"{path} does not exist, or may not be looked into.",
                "Check the path, and your permissions.",
            )
        if path.suffix.lower() not in TIFF_SUFFIXES:
            raise ScanError(
                f"{path.name} is not a TIFF file.", "Choose a TIFF stack or a folder of slices."
            )
        return _inspect_files(path.stem, [path], f"The file {path}")
    files = [Path(p) for p in path]
    if len(files) == 1:
        return inspect_source(files[0])
    if not files:
        raise ScanError("No file was chosen.", "Choose a TIFF stack or a folder of slices.")
    if sum(file.is_dir() for file in files) > 1:
        raise ScanError(
            "These are several folders.", "Choose one scan, and so one folder, at a time."
        )
    for file in files:
        if not file.is_file():
            raise ScanError(f"{file} is not a file.", "Choose files only, or one folder.")
        if file.suffix.lower() not in TIFF_SUFFIXES:
            raise ScanError(f"{file.name} is not a TIFF file.", "Choose TIFF slices only.")
    return _inspect_files(name_of_slices(files[0].parent), files, "The choice of files")


def name_of_slices(folder: Path) -> str:
    """What the scan whose slices lie in `folder` is called: as the folder.

    Every simulated scan lies in a folder `scan`, so these are called as the folder above.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a link goes by its own name
    if folder.name == SIMULATED_SLICES and (folder.parent / LABELS_NAME).is_file():
        folder = folder.parent
    return folder.name or str(folder)


def _inspect_folder(folder: Path) -> ScanSource:
    tiffs = _tiffs_in(folder)
    names = {path.name.lower() for path in tiffs}
    if LABELS_NAME not in names or not all(name.startswith("labels") for name in names):
        return _inspect_files(name_of_slices(folder), tiffs, f"The folder {folder}")
    scan = folder / SIMULATED_SLICES
    if not scan.is_dir():
        raise ScanError(
            f"The folder {folder} holds labels ({LABELS_NAME}), not a scan.",
            "Choose the folder with the scan's slices, or its TIFF stack.",
        )
    source = _inspect_files(name_of_slices(scan), _tiffs_in(scan), f"The folder {scan}")
    remark = f"{LABELS_NAME} in {folder} holds labels; the scan in the folder {scan.name} is taken."
    return replace(source, remarks=(remark, *source.remarks))


def _tiffs_in(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise ScanError(
            f"The folder {folder} cannot be read ({error.strerror}).", "Check your permissions."
        ) from error
    visible = [p for p in inside if not p.name.startswith(".")]
    found = [p for p in visible if p.suffix.lower() in TIFF_SUFFIXES and not p.is_dir()]
    if found:
        return found
    others = Counter(p.suffix.lower() for p in visible if p.suffix.lower() in _OTHER_IMAGES)
    if others:
        suffix, count = others.most_common(1)[0]
        raise ScanError(
            f"The folder {folder} holds no TIFF file, only {count} {suffix} files.",
            "Export or convert the scan as TIFF slices.",
        )
    remedy = "Choose the folder that holds the TIFF slices themselves."
    inner = [p.name for p in visible[:MOST_LOOKED_INTO] if p.is_dir() and _holds_tiffs(p)]
    if inner:
        one_of = "" if len(inner) == 1 else "one of its folders, such as "
        remedy = f"Choose {one_of}{inner[0]} inside it."
    raise ScanError(f"The folder {folder} holds no TIFF file.", remedy)


def _holds_tiffs(folder: Path) -> bool:
    try:
        return any(p.suffix.lower() in TIFF_SUFFIXES and p.is_file() for p in folder.iterdir())
    except OSError:
        return False


def _inspect_files(name: str, files: list[Path], where: str) -> ScanSource:
    ordered, series_remarks = ordered_series(files, where)
    state = _state_of(ordered)
    layouts = tuple(
        examine_tiff(path, try_decoding=number == 0) for number, path in enumerate(ordered)
    )
    if len(layouts) > 1:
        _check_single_slices(layouts, where)
        _check_same_slices(layouts)
    first = layouts[0]
    count = sum(layout.slice_count for layout in layouts)
    if count < FEWEST_SLICES:
        raise ScanError(
            f"{where} holds only {count} slice{'s' if count > 1 else ''}; a scan needs at least "
            f"{FEWEST_SLICES}.",
            "Choose the folder with all slices, or the file with the whole stack.",
        )
    return ScanSource(
        name=name,
        files=ordered,
        shape=(count, *first.slice_shape),
        dtype=first.dtype,
        proposed_voxel_size_um=first.voxel_size.size_um,
        voxel_size_origin=first.voxel_size.origin,
        remarks=(*series_remarks, *first.remarks, *first.voxel_size.remarks),
        layouts=layouts,
        state=state,
    )


def _state_of(files: Sequence[Path]) -> str:
    """A text that is another one when a file is replaced, even by an older one of the same size."""
    summed = hashlib.sha256()
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue  # told when it is opened
        summed.update(f"{file.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return summed.hexdigest()


def _check_single_slices(layouts: tuple[TiffLayout, ...], where: str) -> None:
    for layout in layouts:
        if layout.slice_count > 1:
            raise ScanError(
                f"{where} holds several files, and {layout.path.name} alone is a stack of "
                f"{layout.slice_count} slices.",
                "Choose one stack, or a folder with one slice in each file.",
            )


def _check_same_slices(layouts: tuple[TiffLayout, ...]) -> None:
    kinds = Counter((layout.slice_shape, layout.dtype) for layout in layouts)
    if len(kinds) == 1:
        return
    (usual, _), *_ = kinds.most_common()
    odd = next(layout for layout in layouts if (layout.slice_shape, layout.dtype) != usual)
    normal = next(layout for layout in layouts if (layout.slice_shape, layout.dtype) == usual)
    raise ScanError(
        f"{odd.path.name} does not fit the other slices: it has {describe_slices(odd)}, "
        f"{normal.path.name} has {describe_slices(normal)}.",
        "Replace or remove the slice that does not fit.",
    )
