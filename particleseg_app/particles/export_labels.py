"""Label volumes as files for other programs: TIFF as ImageJ reads it, and HDF5."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app import __version__
from particleseg_app.cores import usable_cores
from particleseg_app.durable_files import part_file
from particleseg_app.particles.export import PROGRAM, export_errors
from particleseg_app.particles.measure import Labels
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape, blocks, check_voxel_size
from particleseg_app.volumes.chunked_store import stop_before_disk_is_full

_BLOCK_BYTES = 128 * 2**20
_CHUNK_EDGE = 64
_HDF5_LEVEL = 2
_HDF5_OVERHEAD_BYTES = 8 * 2**20
# Classic TIFF addresses 32 bits. The last page and its directory must still fit.
_CLASSIC_TIFF_BYTES = 2**32 - 2**26


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
        "software": f"{PROGRAM} {__version__}",
        "metadata": None,
        "contiguous": False,
        # Of one page; by itself tifffile takes half of the cores at most.
        "maxworkers": usable_cores(),
    }
    progress.start("Writing labels (TIFF)", depth, "slices")
    with TiffWriter(path, bigtiff=big, shaped=False) as writer:
        for box in blocks(labels.shape, (_slab_depth(labels.shape), *labels.shape[1:])):
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
    chunks: Shape = (min(_CHUNK_EDGE, depth), min(_CHUNK_EDGE, height), min(_CHUNK_EDGE, width))
    pack = functools.partial(_packed, chunks=chunks)
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
            compression_opts=_HDF5_LEVEL,
            shuffle=True,
        )
        dataset.attrs["voxel_size_um"] = float(voxel_size_um)
        dataset.attrs["axes"] = "zyx"
        dataset.attrs["element_size_um"] = np.full(3, voxel_size_um)
        dataset.attrs["particle_count"] = labels.count if particle_count is None else particle_count
        dataset.attrs["highest_label"] = labels.count
        file.attrs["program"] = f"{PROGRAM} {__version__}"
        with ThreadPoolExecutor(usable_cores(), thread_name_prefix="pack-labels") as threads:
            for box in boxes:
                cancel.check()
                block = labels.read(box)
                stop_before_disk_is_full(path.parent, block.nbytes, _HDF5_OVERHEAD_BYTES)
                cut = [block[one.slices] for one in blocks(block.shape, chunks)]
                starts = [one.start for one in blocks(block.shape, chunks)]
                for start, packed in zip(starts, threads.map(pack, cut), strict=True):
                    if packed:
                        at = tuple(a + b for a, b in zip(box.start, start, strict=True))
                        dataset.id.write_direct_chunk(at, packed)
                progress.advance()


def _packed(values: np.ndarray, chunks: Shape) -> bytes:
    """A chunk as HDF5's shuffle and gzip filters would store it; empty where all of it is 0.

    HDF5 packs one chunk at a time, on one core. Chunks that are not there are read as 0.
    """
    import imagecodecs

    if not values.any():
        return b""
    whole = np.zeros(chunks, np.uint32)
    whole[tuple(slice(0, n) for n in values.shape)] = values
    shuffled = np.ascontiguousarray(whole.reshape(-1).view(np.uint8).reshape(-1, 4).T)
    return bytes(imagecodecs.zlib_encode(shuffled.tobytes(), level=_HDF5_LEVEL))


def _slab_depth(shape: Shape) -> int:
    """Slices to read at a time: as many as memory allows, up to a layer of stored chunks."""
    depth = _CHUNK_EDGE
    while depth > 1 and depth * shape[1] * shape[2] * 4 > _BLOCK_BYTES:
        depth //= 2
    return depth
