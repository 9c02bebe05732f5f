"""Label files of any program, TIFF or HDF5, read box by box without loading them whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.errors import ScanError
from particleseg_app.file_access import is_file, is_folder
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.chunked_store import StoredVolume
from particleseg_app.volumes.labels import LABEL_DATASET
from particleseg_app.volumes.slice_reader import SliceReader
from particleseg_app.volumes.tiff_layout import examine_tiff
from particleseg_app.volumes.tiff_source import ScanSource

_LARGEST_LABEL = np.iinfo(np.uint32).max
_SLAB_BYTES = 192 * 2**20
_MOST_SLICES = 128


class LabelFile:
    """Labels (z, y, x) of a file that was not made here; a context manager.

    `slab_depth` is the most slices that a box should have: those of a TIFF file are kept, so that
    boxes beside each other are read without decoding a slice twice. One box is read at a time.
    """

    def __init__(
        self,
        path: Path,
        shape: Shape,
        slab_depth: int,
        read: Callable[[Box], np.ndarray],
        close: Callable[[], None],
    ) -> None:
        self.path = path
        self.shape = shape
        self.slab_depth = slab_depth
        self._read = read
        self._close = close
        self._lock = threading.Lock()

    def read(self, box: Box) -> np.ndarray:
        """Labels (uint32) of `box`; raise `ScanError` when they cannot be read or are none."""
        try:
            with self._lock:
                values = self._read(box)
        except ScanError:
            raise
        except Exception as error:  # whatever a damaged file provokes inside the readers
            raise _damaged(self.path) from error
        if values.dtype.kind in "if" and values.size:
            fractional = values.dtype.kind == "f" and bool((values != np.floor(values)).any())
            if fractional or values.min() < 0:
                raise _no_labels(self.path)
        if values.dtype.itemsize >= 4 and values.size and values.max() > _LARGEST_LABEL:
            raise _no_labels(self.path)
        return values.astype(np.uint32, copy=False)

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_label_file(path: Path) -> LabelFile:
    """Open a `.tif`, `.tiff`, `.h5` or `.hdf5` file with labels.

    An HDF5 file gives its dataset "labels", or its only 3-D integer dataset. Raises `ScanError`
    when the file is none of these. Negative and fractional numbers are found when they are read.
    """
    path = Path(path)
    if is_folder(path):
        raise ScanError(f"{path} is a folder.", "Give a .tif or .h5 file with labels.")
    if not is_file(path):
        raise ScanError(f"There is no file {path}.", "Check the path.")
    suffix = path.suffix.lower()
    if suffix not in (".h5", ".hdf5", ".tif", ".tiff"):
        raise ScanError(f"{path.name} is not a label file.", "Give a .tif or .h5 file with labels.")
    try:
        return _open_hdf5(path) if suffix in (".h5", ".hdf5") else _open_tiff(path)
    except ScanError:
        raise
    except Exception as error:  # as above
        raise _damaged(path) from error


def read_label_file(path: Path) -> np.ndarray:
    """Labels (z, y, x) uint32 of a whole file; raises `ScanError` as `open_label_file`."""
    with open_label_file(path) as labels:
        return labels.read(Box.whole(labels.shape))


def _open_tiff(path: Path) -> LabelFile:
    layout = examine_tiff(path)  # before memory is taken for what the file declares
    shape = (layout.slice_count, *layout.slice_shape)
    # As they are stored: a scan's grey values may lose digits that make labels differ.
    dtype = layout.stored_dtype.newbyteorder("=")
    reader = SliceReader(ScanSource(path.stem, (path,), shape, dtype, layouts=(layout,)))
    slab_bytes = shape[1] * shape[2] * dtype.itemsize
    depth = int(max(1, min(_MOST_SLICES, shape[0], _SLAB_BYTES // max(1, slab_bytes))))
    slab = _Slab(reader, shape, dtype, depth)
    return LabelFile(path, shape, depth, slab.read, reader.close)


class _Slab:
    """Gives boxes of a TIFF file and keeps the slices of the last one, up to `depth` of them."""

    def __init__(self, reader: SliceReader, shape: Shape, dtype: np.dtype, depth: int) -> None:
        self._reader = reader
        self._depth = depth
        self._slices = np.empty((depth, *shape[1:]), dtype)
        self._kept = (0, 0)

    def read(self, box: Box) -> np.ndarray:
        first, last = box.start[0], box.stop[0]
        _, rows, columns = box.slices
        if last - first > self._depth:
            values = np.empty(box.shape, self._slices.dtype)
            self._each(first, last, lambda z, of: np.copyto(values[z - first], of[rows, columns]))
            return values
        if not (self._kept[0] <= first and last <= self._kept[1]):
            self._kept = (0, 0)
            self._each(first, last, lambda z, of: np.copyto(self._slices[z - first], of))
            self._kept = (first, last)
        start = self._kept[0]
        return self._slices[first - start : last - start, rows, columns].copy()

    def _each(self, first: int, last: int, do: Callable[[int, np.ndarray], None]) -> None:
        def one(z: int) -> None:
            do(z, self._reader.read(z))

        if self._reader.decodes:
            with ThreadPoolExecutor(usable_cores(), thread_name_prefix="read-labels") as threads:
                list(threads.map(one, range(first, last)))
        else:
            for z in range(first, last):
                one(z)


def _open_hdf5(path: Path) -> LabelFile:
    with h5py.File(path, "r", locking=False) as file:
        name = _dataset_with_labels(file, path)
        shape, kind = file[name].shape, file[name].dtype.kind
    if len(shape) != 3 or kind not in "biuf":
        raise ScanError(
            f"{path.name} does not hold labels of one volume (shape {shape}).",
            "Labels are a stack of slices with one whole number for each voxel.",
        )
    volume = StoredVolume(path, name)
    return LabelFile(path, volume.shape, _MOST_SLICES, volume.read, volume.close)


def _dataset_with_labels(file: h5py.File, path: Path) -> str:
    if isinstance(file.get(LABEL_DATASET), h5py.Dataset):
        return LABEL_DATASET
    found: list[str] = []

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 3 and item.dtype.kind in "biu":
            found.append(name)

    file.visititems(keep)
    if len(found) != 1:
        raise ScanError(
            f"{path.name} holds {len(found)} volumes that may be labels.",
            'Name the right dataset "labels".',
        )
    return found[0]


def _damaged(path: Path) -> ScanError:
    return ScanError(
        f"The label file {path} cannot be read.", "Check that it is a whole TIFF or HDF5 file."
    )


def _no_labels(path: Path) -> ScanError:
    return ScanError(
        f"{path.name} holds numbers that are not labels.",
        "Labels are whole numbers, 0 for the background.",
    )
