"""Label volumes on disk: one uint32 for each voxel, 0 background, 1…n particles."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np

from particleseg_app.durable_files import disk_is_full, part_file
from particleseg_app.errors import ScanError
from particleseg_app.units import Box, Shape, blocks
from particleseg_app.volumes.chunked_store import (
    LIBRARY_VERSIONS,
    SMALLEST_CACHE_BYTES,
    StoredVolume,
    chunk_shape,
    pack_chunk,
    stop_before_disk_is_full,
)

LABEL_DATASET = "labels"
FORMAT_VERSION = 1
_FEW_LABELS = 2**20
_WRITE_CACHE_BYTES = 64 * 2**20


class LabelVolume(StoredVolume):
    """Labels (z, y, x) uint32, read only; may be read from several threads."""

    def __init__(
        self,
        path: Path,
        cache_bytes: int | None = None,
        least_cache_bytes: int = SMALLEST_CACHE_BYTES,
    ) -> None:
        super().__init__(path, LABEL_DATASET, cache_bytes, least_cache_bytes)
        try:
            self.count = int(self._dataset.attrs["count"])
            if self.dtype != np.uint32:
                raise KeyError(f"labels are {self.dtype}")
            # A table with a row for each is made by who reads them.
            if not 0 <= self.count <= max(math.prod(self.shape), _FEW_LABELS):
                raise ValueError(f"{self.count} labels are not possible")
        except BaseException:
            self.close()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return open_labels, (self.path, self.cache_bytes)


def open_labels(
    path: Path,
    cache_bytes: int | None = None,
    least_cache_bytes: int = SMALLEST_CACHE_BYTES,
) -> LabelVolume:
    """Open a label volume written by `LabelWriter`; raise `ScanError` if it is not one.

    `cache_bytes` bounds the memory for unpacked chunks: who reads every box once needs little.
    `least_cache_bytes` are kept for them even where a slice needs less.
    """
    path = Path(path)
    if not path.is_file():
        raise ScanError(f"There is no label volume at {path}.", "Run the segmentation again.")
    try:
        return LabelVolume(path, cache_bytes, least_cache_bytes)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise ScanError(
            f"The label volume {path} is damaged or not a label volume.",
            "Run the segmentation again.",
        ) from error


class LabelWriter:
    """Writes a label volume box by box; the file appears only when all went well.

    `count` is the highest label and may be set later through the attribute of the same name.
    Voxels that were never written are background. Boxes that begin and end on multiples of 64
    are written fastest. A failure inside the `with` block leaves nothing behind.
    """

    def __init__(self, path: Path, shape: Shape, count: int = 0) -> None:
        self.path = Path(path)
        self.shape = shape
        self.count = count
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._dataset: h5py.Dataset | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(part_file(self.path))
            file = stack.enter_context(
                h5py.File(
                    part,
                    "w",
                    libver=LIBRARY_VERSIONS,
                    locking=False,
                    rdcc_nbytes=_WRITE_CACHE_BYTES,
                    rdcc_nslots=100_003,
                    rdcc_w0=1.0,
                )
            )
            self._dataset = file.create_dataset(
                LABEL_DATASET,
                self.shape,
                np.uint32,
                chunks=chunk_shape(self.shape),
                **hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE),
            )
            self._dataset.attrs["format_version"] = FORMAT_VERSION
            self._stack = stack.pop_all()
        return self

    def write(self, box: Box, labels: np.ndarray) -> None:
        """Write `labels` (non-negative integers that fit uint32) into `box`, from any thread."""
        if labels.shape != box.shape:
            raise ValueError(f"labels of shape {labels.shape} do not fill {box}")
        if not box.size:
            return
        dataset = self._dataset
        if dataset is None:
            raise ValueError("the label writer is not open")
        try:
            stop_before_disk_is_full(self.path.parent, _WRITE_CACHE_BYTES)
        except OSError as failure:
            raise _no_space(self.path) from failure
        for chunk in self._chunks_in(box):
            part = chunk.intersection(box)
            values = labels[part.within(box)].astype(np.uint32, copy=False)
            if part == chunk:
                whole = np.zeros(dataset.chunks, np.uint32)
                whole[tuple(slice(0, n) for n in values.shape)] = values
                packed = pack_chunk(whole, "zstd", 1, "shuffle")
                with self._lock:
                    dataset.id.write_direct_chunk(chunk.start, packed)
            else:
                with self._lock:
                    dataset[part.slices] = values

    def _chunks_in(self, box: Box) -> Iterator[Box]:
        """The chunks that `box` touches, cut at the end of the volume."""
        edges = chunk_shape(self.shape)
        z, y, x = (a // n * n for a, n in zip(box.start, edges, strict=True))
        depth, height, width = (b - a for a, b in zip((z, y, x), box.stop, strict=True))
        for inner in blocks((depth, height, width), edges):
            start = (inner.start[0] + z, inner.start[1] + y, inner.start[2] + x)
            stop = tuple(
                min(a + n, end) for a, n, end in zip(start, edges, self.shape, strict=True)
            )
            yield Box(start, stop)  # type: ignore[arg-type]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        dataset, self._dataset = self._dataset, None
        if error is None and dataset is not None:
            dataset.attrs["count"] = int(self.count)
        del dataset
        try:
            self._stack.__exit__(kind, error, trace)
        except OSError as failure:
            if disk_is_full(failure):
                raise _no_space(self.path) from failure
            raise


def _no_space(path: Path) -> ScanError:
    return ScanError(
        f"There is no space left on the disk of {path}.", "Free some space and try again."
    )
