"""Import of a scan: slices are read ahead, counted, cut into chunks and written, slab by slab."""

from __future__ import annotations

import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.durable_files import disk_is_full, part_file
from particleseg_app.errors import ScanError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, bytes_for_pieces
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Shape
from particleseg_app.volumes.chunked_store import (
    CHUNK_EDGE,
    LIBRARY_VERSIONS,
    chunk_shape,
    pack_chunk,
    stop_before_disk_is_full,
)
from particleseg_app.volumes.field_of_view import FieldOfViewFinder
from particleseg_app.volumes.grey_counting import GreyCounter
from particleseg_app.volumes.odd_slices import OddSliceFinder
from particleseg_app.volumes.scan import (
    FORMAT_VERSION,
    GREY_DATASET,
    save_field_of_view,
    save_statistics,
)
from particleseg_app.volumes.slice_reader import SliceReader
from particleseg_app.volumes.tiff_source import ScanSource

# Two slabs are in memory at a time: one being filled, one being written.
_SLAB_BYTES = 256 * 2**20
_SPARE_DISK_BYTES = 64 * 2**20
# Compressing must save a quarter, else the chunk is stored as it is (noise hardly shrinks, and
# plain chunks are read and written several times faster).
_WORTH_COMPRESSING = 0.75
_PLAIN_CHUNK = 1  # HDF5's mark of a chunk that skipped the first filter


def import_scan(
    source: ScanSource,
    destination: Path,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> None:
    """Copy every voxel of `source` to the scan file `destination`, with its grey statistics.

    The file appears under its name only when it is whole and flushed to disk. Raises `ScanError`
    for bad slices and a full disk, `Cancelled` when asked to stop; both leave nothing behind.
    """
    destination = Path(destination)
    with _disk_errors_in_words(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        check_disk_space(source.bytes, destination.parent)
        progress.start("Importing the scan", total=source.shape[0], unit="slices")
        with part_file(destination) as part:
            _write_scan(source, part, progress, cancel, memory_limit_bytes)
            progress.start("Flushing the scan to disk")


def check_disk_space(needed_bytes: int, folder: Path) -> None:
    """Raise `ScanError` when `folder` has no room for `needed_bytes` and a little more."""
    free = shutil.disk_usage(folder).free
    wanted = needed_bytes + _SPARE_DISK_BYTES
    if free < wanted:
        while folder.name.startswith("."):  # its own, until the import is whole
            folder = folder.parent
        raise ScanError(
            f"The scan needs {wanted / 1e9:.2f} GB of disk space, but the disk of {folder} has "
            f"only {free / 1e9:.2f} GB free.",
            "Free some space, or put the project on another disk.",
        )


@dataclass
class _Slab:
    """A few slices, already in the order of the chunks: (chunk y, chunk x, z, y, x)."""

    chunks: np.ndarray
    start: int = 0
    depth: int = 0


def _write_scan(
    source: ScanSource,
    part: Path,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int,
) -> None:
    slab_bytes = min(_SLAB_BYTES, bytes_for_pieces(memory_limit_bytes) // 4)
    chunk = chunk_shape(source.shape, _slab_depth(source.shape, source.dtype.itemsize, slab_bytes))
    counter = GreyCounter(source.dtype)
    odd_slices = OddSliceFinder(source.shape[0])
    view_finder = FieldOfViewFinder()
    stop = threading.Event()
    threads = min(4, usable_cores())
    with (
        h5py.File(part, "w", libver=LIBRARY_VERSIONS, locking=False) as file,
        SliceReader(source) as reader,
        ThreadPoolExecutor(threads, "slices") as slice_pool,
        ThreadPoolExecutor(1, "slab") as slab_pool,
        _flushing_behind(part) as flush_soon,
    ):
        dataset = file.create_dataset(
            GREY_DATASET,
            source.shape,
            source.dtype,
            chunks=chunk,
            **hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.BITSHUFFLE),
        )

        def read_slice(slab: _Slab, index: int) -> None:
            cancel.check()
            if stop.is_set():
                return
            values = reader.read(slab.start + index)
            counter.add(values)
            odd_slices.add(slab.start + index, values)
            view_finder.add(values)
            _put_slice(slab.chunks, index, values)
            progress.advance()

        def read_slab(slab: _Slab, start: int) -> _Slab:
            slab.start, slab.depth = start, min(chunk[0], source.shape[0] - start)
            if slab.depth < chunk[0]:
                slab.chunks[:, :, slab.depth :] = 0
            if reader.decodes:
                for _ in slice_pool.map(lambda i: read_slice(slab, i), range(slab.depth)):
                    pass
            else:
                for index in range(slab.depth):
                    read_slice(slab, index)
            return slab

        try:
            starts = range(0, source.shape[0], chunk[0])
            grid = tuple(math.ceil(n / c) for n, c in zip(source.shape[1:], chunk[1:], strict=True))
            slabs = [_Slab(np.zeros((*grid, *chunk), source.dtype)) for _ in starts[:2]]
            ahead = slab_pool.submit(read_slab, slabs[0], 0)
            for number, start in enumerate(starts):
                slab = ahead.result()
                # The slab before is as it was until the next one is read.
                odd_slices.compare(start, start + slab.depth, lambda z: _slice_of(slabs, z))
                if number + 1 < len(starts):
                    following = slabs[(number + 1) % 2]
                    ahead = slab_pool.submit(read_slab, following, start + chunk[0])
                stop_before_disk_is_full(part.parent, slab.chunks.nbytes)
                _write_slab(dataset, slab, cancel)
                flush_soon()
        except BaseException:
            stop.set()
            raise
        statistics = counter.result()
        view = view_finder.result()
        if view is not None:
            voxels = int(view.outside.sum()) * view_finder.slices
            statistics = statistics.without(view.filled, voxels)
            save_field_of_view(file, view)
        statistics = replace(statistics, blank=odd_slices.blank, copied=odd_slices.copied)
        save_statistics(file, statistics)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["name"] = source.name


def _slice_of(slabs: list[_Slab], z: int) -> np.ndarray:
    """A slice in the arrangement of the slabs: (chunk y, chunk x, y, x)."""
    slab = next(slab for slab in slabs if slab.start <= z < slab.start + slab.depth)
    return slab.chunks[:, :, z - slab.start]


@contextmanager
def _flushing_behind(path: Path) -> Iterator[Callable[[], None]]:
    """Give a function that has the disk begin to write what was written so far, in the background.

    Otherwise all of it waits for the flush at the end, while the disk is idle before.
    """
    if not hasattr(os, "fdatasync"):
        yield lambda: None
        return
    descriptor = os.open(path, os.O_RDONLY)
    with ThreadPoolExecutor(1, "flush") as pool:
        running: list[Future[None]] = []

        def flush_soon() -> None:
            if not running or running[-1].done():
                running[:] = [pool.submit(os.fdatasync, descriptor)]

        try:
            yield flush_soon
            for future in running:
                future.result()
        finally:
            pool.shutdown()
            os.close(descriptor)


def _slab_depth(shape: Shape, itemsize: int, slab_bytes: int) -> int:
    """Slices in a slab: 64, or fewer (a power of two) where that many take over `slab_bytes`."""
    row_bytes = math.prod(math.ceil(n / CHUNK_EDGE) * CHUNK_EDGE for n in shape[1:]) * itemsize
    depth = CHUNK_EDGE
    while depth > 1 and depth * row_bytes > slab_bytes:
        depth //= 2
    return depth


def _put_slice(chunks: np.ndarray, index: int, values: np.ndarray) -> None:
    """Spread one slice (y, x) over the chunks (chunk y, chunk x, z, y, x) at z = `index`."""
    rows, columns = chunks.shape[3], chunks.shape[4]
    height, width = values.shape
    full_y, full_x = height // rows, width // columns
    body = values[: full_y * rows, : full_x * columns]
    target = chunks[:full_y, :full_x, index]
    target[...] = body.reshape(full_y, rows, full_x, columns).transpose(0, 2, 1, 3)
    rest_y, rest_x = height - full_y * rows, width - full_x * columns
    if rest_x:
        edge = values[: full_y * rows, full_x * columns :]
        chunks[:full_y, full_x, index, :, :rest_x] = edge.reshape(full_y, rows, rest_x)
    if rest_y:
        edge = values[full_y * rows :, : full_x * columns].reshape(rest_y, full_x, columns)
        chunks[full_y, :full_x, index, :rest_y] = edge.transpose(1, 0, 2)
    if rest_x and rest_y:
        corner = values[full_y * rows :, full_x * columns :]
        chunks[full_y, full_x, index, :rest_y, :rest_x] = corner


def _write_slab(dataset: h5py.Dataset, slab: _Slab, cancel: CancelToken) -> None:
    height, width = slab.chunks.shape[3:]
    for y in range(slab.chunks.shape[0]):
        cancel.check()
        for x in range(slab.chunks.shape[1]):
            chunk = slab.chunks[y, x]
            where = (slab.start, y * height, x * width)
            packed = _compressed(chunk)
            if packed is None:
                dataset.id.write_direct_chunk(where, chunk, filter_mask=_PLAIN_CHUNK)
            else:
                dataset.id.write_direct_chunk(where, packed)


def _compressed(chunk: np.ndarray) -> bytes | None:
    """The chunk as HDF5's Blosc filter (bitshuffle, lz4) would write it, None if not worth it."""
    sample = np.ascontiguousarray(chunk[:: max(1, chunk.shape[0] // 2)])
    if len(pack_chunk(sample, "lz4", 5, "bitshuffle")) > _WORTH_COMPRESSING * sample.nbytes:
        return None
    packed = pack_chunk(chunk, "lz4", 5, "bitshuffle")
    return packed if len(packed) <= _WORTH_COMPRESSING * chunk.nbytes else None


@contextmanager
def _disk_errors_in_words(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if disk_is_full(error):
            raise ScanError(
                f"There is no space left on the disk of {destination.parent}.",
                "Free some space, or put the project on another disk, and import again.",
            ) from error
        raise ScanError(
            f"{destination} cannot be written ({error.strerror or error}).",
            "Check that the folder may be written to, or choose another one.",
        ) from error
