"""One TIFF file, examined: where its slices lie and whether they can be trusted to be there.

Nothing of the pixels is read here except one slice of a compressed file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from particleseg_app.errors import ScanError
from particleseg_app.volumes.tiff_pages import (
    COPY_AGAIN,
    MOST_PAGES,
    check_colour,
    check_data_is_there,
    check_one_channel,
    count_pages,
    damaged,
    decode_one,
    ome_text,
    slice_dtype,
    slice_shape,
    truncated,
)
from particleseg_app.volumes.voxel_size_tags import StatedVoxelSize, stated_voxel_size


@dataclass(frozen=True)
class TiffLayout:
    """The slices of one file. Exactly one of `offsets` and `pages` has an entry for each slice."""

    path: Path
    file_bytes: int
    slice_shape: tuple[int, int]  # (y, x)
    stored_dtype: np.dtype  # with the byte order of the file
    offsets: tuple[int, ...] = field(default=(), repr=False)  # plain pixels: where they begin
    pages: tuple[int, ...] = field(default=(), repr=False)  # anything else: pages to decode
    voxel_size: StatedVoxelSize = field(default=StatedVoxelSize(), repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def slice_count(self) -> int:
        return len(self.offsets) or len(self.pages)

    @property
    def dtype(self) -> np.dtype:
        """Type in which the grey values are stored in the project, native byte order."""
        return storage_dtype(self.stored_dtype)


def storage_dtype(stored: np.dtype) -> np.dtype:
    """Type in which grey values of a file's type are kept: at most 32 bits, native byte order."""
    if stored.kind == "b":
        return np.dtype(np.uint8)
    if stored.kind == "f":
        return np.dtype(np.float32)
    return stored.newbyteorder("=")


def examine_tiff(path: Path, *, try_decoding: bool = True) -> TiffLayout:
    """Check one TIFF file from end to end and say where its slices are; raise `ScanError`.

    `try_decoding` decodes the first slice of a compressed file; once is enough for a whole folder.
    """
    try:
        file_bytes = path.stat().st_size
        with open(path, "rb") as file:
            page_count = count_pages(file, path, file_bytes)
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            return _examine(tiff, path, file_bytes, page_count, try_decoding)
    except ScanError:
        raise
    except PermissionError as error:
        raise ScanError(
            f"You are not allowed to read {path}.", "Ask for permission, or copy the file."
        ) from error
    except FileNotFoundError as error:
        raise ScanError(f"The file {path} does not exist.", "Check the path.") from error
    except MemoryError as error:
        raise ScanError(f"{path.name} needs more memory than there is.", COPY_AGAIN) from error
    except OSError as error:
        raise ScanError(f"{path.name} cannot be read ({error.strerror}).", COPY_AGAIN) from error
    except Exception as error:  # whatever a damaged file provokes inside the TIFF reader
        raise damaged(path) from error


def _examine(
    tiff: tifffile.TiffFile, path: Path, file_bytes: int, page_count: int, try_decoding: bool
) -> TiffLayout:
    pages: list[Any] = [tiff.pages[index] for index in range(page_count)]
    kept = [
        index
        for index, page in enumerate(pages)
        if not (int(page.subfiletype) & 0b101)  # previews and masks are no slices
    ]
    if not kept:
        raise damaged(path)
    first = pages[kept[0]]
    shape, dtype = slice_shape(first, path), slice_dtype(first, path)
    check_colour(first, tiff, path)
    check_one_channel(first, tiff, path)
    for index in kept:
        page = pages[index]
        if slice_shape(page, path) != shape or slice_dtype(page, path) != dtype:
            raise ScanError(
                f"{path.name} holds slices of different shape or type: slice {kept[0] + 1} is "
                f"{_describe(shape, dtype)}, slice {index + 1} is "
                f"{_describe(slice_shape(page, path), slice_dtype(page, path))}.",
                "Save the slices of one scan only in one file.",
            )
        check_data_is_there(page, path, file_bytes)
    remarks = _remarks(first, dtype, path)
    stated = stated_voxel_size(first.tags, tiff.imagej_metadata, ome_text(first))
    common = (path, file_bytes, shape, dtype)
    offsets = _plain_offsets([pages[i] for i in kept], tiff, path, file_bytes, shape, dtype)
    if offsets:
        return TiffLayout(*common, offsets=offsets, voxel_size=stated, remarks=remarks)
    if try_decoding:
        decode_one(first, path, shape)
    return TiffLayout(*common, pages=tuple(kept), voxel_size=stated, remarks=remarks)


def _plain_offsets(
    pages: list[Any],
    tiff: tifffile.TiffFile,
    path: Path,
    file_bytes: int,
    shape: tuple[int, int],
    dtype: np.dtype,
) -> tuple[int, ...]:
    """Where each slice begins if all are plain uncompressed pixels in one piece, else ()."""
    if dtype.kind not in "iuf" or not all(page.is_contiguous and page.is_final for page in pages):
        return ()
    slice_bytes = shape[0] * shape[1] * dtype.itemsize
    offsets = [int(page.dataoffsets[0]) for page in pages]
    if len(pages) == 1:
        # ImageJ and tifffile may describe one page only and put all slices behind each other.
        count = _slices_behind_one_page(pages[0], tiff, shape)
        offsets = [offsets[0] + i * slice_bytes for i in range(count)]
    if offsets[-1] + slice_bytes > file_bytes or max(offsets) + slice_bytes > file_bytes:
        raise truncated(path, (max(offsets) + slice_bytes) - file_bytes)
    return tuple(offsets)


def _slices_behind_one_page(page: Any, tiff: tifffile.TiffFile, shape: tuple[int, int]) -> int:
    imagej = tiff.imagej_metadata
    if imagej is not None:
        return max(1, min(int(imagej.get("images", 1)), MOST_PAGES))
    shaped = tiff.shaped_metadata
    if shaped and shaped[0].get("truncated") and "shape" in shaped[0]:
        whole = [int(n) for n in shaped[0]["shape"]]
        if len(whole) >= 3 and tuple(whole[-2:]) == shape:
            return max(1, min(int(np.prod(whole[:-2], dtype=np.float64)), MOST_PAGES))
    return 1


def _remarks(page: Any, dtype: np.dtype, path: Path) -> tuple[str, ...]:
    remarks = []
    if int(page.photometric) == 0:
        remarks.append(
            f"{path.name} is marked as inverted (white is 0); its grey values are taken as stored."
        )
    if int(page.photometric) == 3:
        remarks.append(f"The colour table of {path.name} is ignored; grey values are as stored.")
    if dtype.kind == "f" and dtype.itemsize != 4:
        remarks.append(
            f"The grey values ({dtype.itemsize * 8}-bit fractions) are kept with 32 bits."
        )
    return tuple(remarks)


def _describe(shape: tuple[int, int], dtype: np.dtype) -> str:
    kinds = {"b": "black and white", "i": "signed", "u": "unsigned", "f": "fractions"}
    return f"{shape[1]} × {shape[0]} pixels, {dtype.itemsize * 8} bits {kinds[dtype.kind]}"


def describe_slices(layout: TiffLayout) -> str:
    """Size and type of a file's slices in words."""
    return _describe(layout.slice_shape, layout.stored_dtype)
