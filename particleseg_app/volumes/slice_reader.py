"""Reads the slices of a checked scan source one by one, from several threads if need be."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import tifffile

from particleseg_app.errors import ScanError
from particleseg_app.volumes.tiff_layout import TiffLayout
from particleseg_app.volumes.tiff_source import ScanSource

_COPY_AGAIN = "Copy the file again from where it came from, or reconstruct the scan again."


class SliceReader:
    """Gives slice after slice of a `ScanSource`; files of one stack stay open. A context manager.

    Raises `ScanError` when a file changed since it was checked or cannot be decoded.
    """

    def __init__(self, source: ScanSource) -> None:
        self._shape = source.shape[1:]
        self._dtype = source.dtype
        self._layouts = source.layouts
        self._one_stack = len(source.layouts) == 1
        self._plain_file: BinaryIO | None = None
        self._tiffs: list[tifffile.TiffFile] = []
        self._lock = threading.Lock()
        self._own = threading.local()

    @property
    def decodes(self) -> bool:
        """Whether slices have to be decompressed, so that several threads are worth having."""
        return any(layout.pages for layout in self._layouts)

    def read(self, index: int) -> np.ndarray:
        """Slice `index` as (y, x) in native byte order and the type it is stored in.

        The array may be changed by the caller, and is reused by the next call from the same thread.
        """
        layout = self._layouts[0 if self._one_stack else index]
        position = index if self._one_stack else 0
        try:
            if layout.offsets:
                return self._read_plain(layout, position)
            return self._convert(self._decode(layout, position))
        except ScanError:
            raise
        except OSError as error:
            raise ScanError(
                f"{layout.path.name} can no longer be read ({error.strerror or error}).",
                "Check that the drive is still connected, and import again.",
            ) from error
        except MemoryError as error:
            raise ScanError(
                f"{layout.path.name} needs more memory than there is.", "Close other programs."
            ) from error
        except Exception as error:  # whatever damaged data provokes inside a decoder
            raise ScanError(
                f"Slice {position + 1} of {layout.path.name} is damaged and cannot be decoded."
                if self._one_stack
                else f"{layout.path.name} is damaged and cannot be decoded.",
                _COPY_AGAIN,
            ) from error

    def _read_plain(self, layout: TiffLayout, position: int) -> np.ndarray:
        raw = self._scratch_for(layout)
        if self._one_stack:
            with self._lock:
                if self._plain_file is None:
                    self._plain_file = _open_checked(layout)
                self._plain_file.seek(layout.offsets[position])
                count = _fill(self._plain_file, raw)
        else:
            with _open_checked(layout) as file:
                file.seek(layout.offsets[position])
                count = _fill(file, raw)
        if count != raw.nbytes:
            raise _changed(layout.path)
        return self._convert(raw)

    def _decode(self, layout: TiffLayout, position: int) -> np.ndarray:
        if self._one_stack:
            page = self._tiff_of_this_thread(layout).pages[layout.pages[position]]
            return _as_slice(page.asarray(maxworkers=1), layout)
        _open_checked(layout).close()
        with tifffile.TiffFile(layout.path, is_ome=False) as tiff:
            page = tiff.pages[layout.pages[position]]
            return _as_slice(page.asarray(maxworkers=1), layout)

    def _tiff_of_this_thread(self, layout: TiffLayout) -> tifffile.TiffFile:
        """Each thread has its own open file, because a file has only one position."""
        tiff: tifffile.TiffFile | None = getattr(self._own, "tiff", None)
        if tiff is None:
            _open_checked(layout).close()
            tiff = self._own.tiff = tifffile.TiffFile(layout.path, is_ome=False)
            with self._lock:
                self._tiffs.append(tiff)
        return tiff

    def _convert(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.require(values, self._dtype, ("C", "W"))

    def _scratch_for(self, layout: TiffLayout) -> np.ndarray:
        """One slice of memory for each thread, used again and again (fresh memory is slow)."""
        scratch: np.ndarray | None = getattr(self._own, "slice", None)
        if scratch is None or scratch.dtype != layout.stored_dtype:
            scratch = np.empty(layout.slice_shape, layout.stored_dtype)
            self._own.slice = scratch
        return scratch

    def close(self) -> None:
        with self._lock:
            if self._plain_file is not None:
                self._plain_file.close()
                self._plain_file = None
            for tiff in self._tiffs:
                tiff.close()
            self._tiffs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open_checked(layout: TiffLayout) -> BinaryIO:
    """Open a file without buffering, if it still has the size it had when it was checked."""
    file = open(layout.path, "rb", buffering=0)  # noqa: SIM115 - handed to the caller
    if file.seek(0, 2) != layout.file_bytes:
        file.close()
        raise _changed(layout.path)
    return file


def _as_slice(values: np.ndarray, layout: TiffLayout) -> np.ndarray:
    if values.shape != layout.slice_shape:
        raise ValueError(f"decoded to {values.shape}")
    return values


def _changed(path: Path) -> ScanError:
    return ScanError(
        f"{path.name} changed after it was checked.",
        "Wait until nothing writes to the scan any more, and import again.",
    )


def _fill(file: BinaryIO, raw: np.ndarray) -> int:
    """Read until `raw` is full or the file ends; how many bytes that were.

    One reading gives at most 2 GiB on Linux, and over a network sometimes less than asked for.
    """
    target = memoryview(raw.data).cast("B")
    count = 0
    while count < len(target):
        read = file.readinto(target[count:])  # type: ignore[attr-defined]
        if not read:
            break
        count += read
    return count
