"""One 3-D array in an HDF5 file: 64³ chunks, read by box or by slice from any thread."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import hdf5plugin  # noqa: F401 - registers the compression filters with HDF5
import numpy as np

from particleseg_app.units import Box, Shape

CHUNK_EDGE = 64
# Readable by every HDF5 from 1.10 on, and with the chunk index that suits arrays of fixed size.
LIBRARY_VERSIONS = ("v110", "v110")
# HDF5 may bring down the process when it meets a full disk: stop while there is still this much.
_SPARE_DISK_BYTES = 32 * 2**20
SMALLEST_CACHE_BYTES = 64 * 2**20
_LARGEST_CACHE_BYTES = 512 * 2**20


def chunk_shape(shape: Shape, depth: int = CHUNK_EDGE) -> Shape:
    """Chunks for an array of `shape`: 64 voxels an edge (`depth` along z), never beyond it."""
    return min(shape[0], depth), min(shape[1], CHUNK_EDGE), min(shape[2], CHUNK_EDGE)


def pack_chunk(values: np.ndarray, compressor: str, level: int, shuffle: str) -> bytes:
    """A chunk as HDF5's Blosc filter would store it, so that it can be written without HDF5.

    HDF5 compresses one chunk at a time and holds a lock meanwhile; this may run in many threads.
    """
    import imagecodecs

    buffer: Any = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    packed: Any = imagecodecs.blosc_encode(
        buffer,
        level=level,
        compressor=compressor,
        shuffle=shuffle,
        typesize=values.dtype.itemsize,
        numthreads=1,
    )
    return bytes(packed)


def stop_before_disk_is_full(
    folder: Path, wanted_bytes: int, reserve_bytes: int = _SPARE_DISK_BYTES
) -> None:
    """Raise the `OSError` of a full disk when fewer than `wanted_bytes` and a reserve are free.

    Before HDF5 meets a full disk, which can bring down the process.
    """
    if shutil.disk_usage(folder).free < wanted_bytes + reserve_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


class StoredVolume:
    """A read-only array (z, y, x) in an HDF5 file. Thread safe; a context manager."""

    def __init__(
        self,
        path: Path,
        dataset: str,
        cache_bytes: int | None = None,
        least_cache_bytes: int = SMALLEST_CACHE_BYTES,
    ) -> None:
        """Open `dataset` in the file at `path`; raise `OSError` or `KeyError` if there is none.

        `cache_bytes` are the most for unpacked chunks; where it is None, enough for a slice along
        any axis. `least_cache_bytes`: for who reads a larger box again and again.
        """
        self.path = Path(path)
        self.cache_bytes = cache_bytes
        self._lock = threading.Lock()
        # Never changed once it is there, so no lock is needed (network drives often refuse one).
        self._file: h5py.File | None = h5py.File(self.path, "r", locking=False)
        try:
            self._dataset = _open_with_cache(self._file, dataset, cache_bytes, least_cache_bytes)
            if self._dataset.ndim != 3:
                raise KeyError(f"{dataset} has {self._dataset.ndim} axes instead of 3")
        except BaseException:
            self._file.close()
            raise
        self.shape: Shape = self._dataset.shape
        self.dtype: np.dtype = self._dataset.dtype

    def read(self, box: Box) -> np.ndarray:
        """The voxels of `box`, (z, y, x), in the stored type. The box must lie in the volume."""
        for start, stop, length in zip(box.start, box.stop, self.shape, strict=True):
            if not 0 <= start <= stop <= length:
                raise IndexError(f"{box} is not inside a volume of {self.shape}")
        with self._lock:
            self._check_open()
            values: np.ndarray = self._dataset[box.slices]
        return values

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        """The 2-D slice at `index` along `axis` (0 z, 1 y, 2 x); the other axes stay in order."""
        if not (0 <= axis < 3 and 0 <= index < self.shape[axis]):
            raise IndexError(f"no slice {index} along axis {axis} in a volume of {self.shape}")
        selection: list[slice | int] = [slice(None)] * 3
        selection[axis] = index
        with self._lock:
            self._check_open()
            values: np.ndarray = self._dataset[tuple(selection)]
        return values

    def close(self) -> None:
        """Let go of the file; reading afterwards raises `ValueError`. May be called twice."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _check_open(self) -> None:
        if self._file is None:
            raise ValueError(f"{self.path} is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {self.shape} {self.dtype}>"


def _open_with_cache(
    file: h5py.File, name: str, cache_bytes: int | None, least_bytes: int
) -> h5py.Dataset:
    """Open a dataset with a cache that holds every chunk of one slice along any axis, or less."""
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(name)
    chunks, shape, item_bytes = found.chunks, found.shape, found.dtype.itemsize
    if chunks is None or len(shape) != 3:
        return found
    # While a dataset is open, HDF5 opens it again with the cache it has: so it is closed first.
    del found
    counts = [math.ceil(n / c) for n, c in zip(shape, chunks, strict=True)]
    per_slice = math.prod(counts) // max(1, min(counts))
    wanted = per_slice * math.prod(chunks) * item_bytes
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    most = _LARGEST_CACHE_BYTES if cache_bytes is None else cache_bytes
    cache_bytes = min(most, max(least_bytes, wanted))
    # A prime number of slots, about a hundred a chunk, so that chunks do not push each other out.
    access.set_chunk_cache(100_003, cache_bytes, 0.75)
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))
