"""One TIFF file, examined: where its slices lie and whether they can be trusted to be there.

Nothing of the pixels is read here except one slice of a compressed file, and no size that the file
declares is believed before it was compared with the size of the file itself.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from particleseg_app.errors import ScanError
from particleseg_app.volumes.voxel_size_tags import StatedVoxelSize, stated_voxel_size

_MOST_PAGES = 1_000_000
_LONGEST_EDGE = 100_000
_LARGEST_SLICE_BYTES = 4 * 2**30
# No compression in use shrinks even an empty slice further than this.
_STRONGEST_COMPRESSION = 50_000
_COPY_AGAIN = "Copy the file again from where it came from, or reconstruct the scan again."
_SAVE_AS_GREY = "Save the scan again as grey values with one channel (in ImageJ: Image > Type)."


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
            page_count = _count_pages(file, path, file_bytes)
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
        raise ScanError(f"{path.name} needs more memory than there is.", _COPY_AGAIN) from error
    except OSError as error:
        raise ScanError(f"{path.name} cannot be read ({error.strerror}).", _COPY_AGAIN) from error
    except Exception as error:  # whatever a damaged file provokes inside the TIFF reader
        raise _damaged(path) from error


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
        raise _damaged(path)
    first = pages[kept[0]]
    shape, dtype = _slice_shape(first, path), _slice_dtype(first, path)
    _check_colour(first, tiff, path)
    _check_one_channel(first, tiff, path)
    for index in kept:
        page = pages[index]
        if _slice_shape(page, path) != shape or _slice_dtype(page, path) != dtype:
            raise ScanError(
                f"{path.name} holds slices of different shape or type: slice {kept[0] + 1} is "
                f"{_describe(shape, dtype)}, slice {index + 1} is "
                f"{_describe(_slice_shape(page, path), _slice_dtype(page, path))}.",
                "Save the slices of one scan only in one file.",
            )
        _check_data_is_there(page, path, file_bytes)
    remarks = _remarks(first, dtype, path)
    stated = stated_voxel_size(first.tags, tiff.imagej_metadata, _ome_text(first))
    common = (path, file_bytes, shape, dtype)
    offsets = _plain_offsets([pages[i] for i in kept], tiff, path, file_bytes, shape, dtype)
    if offsets:
        return TiffLayout(*common, offsets=offsets, voxel_size=stated, remarks=remarks)
    if try_decoding:
        _decode_one(first, path, shape)
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
        raise _truncated(path, (max(offsets) + slice_bytes) - file_bytes)
    return tuple(offsets)


def _slices_behind_one_page(page: Any, tiff: tifffile.TiffFile, shape: tuple[int, int]) -> int:
    imagej = tiff.imagej_metadata
    if imagej is not None:
        return max(1, min(int(imagej.get("images", 1)), _MOST_PAGES))
    shaped = tiff.shaped_metadata
    if shaped and shaped[0].get("truncated") and "shape" in shaped[0]:
        whole = [int(n) for n in shaped[0]["shape"]]
        if len(whole) >= 3 and tuple(whole[-2:]) == shape:
            return max(1, min(int(np.prod(whole[:-2], dtype=np.float64)), _MOST_PAGES))
    return 1


def _slice_shape(page: Any, path: Path) -> tuple[int, int]:
    height, width = int(page.imagelength), int(page.imagewidth)
    if int(page.imagedepth) != 1:
        raise ScanError(
            f"{path.name} holds pages that are volumes themselves, which is not supported.",
            "Save it as a stack of slices, for instance with ImageJ.",
        )
    if not (0 < height <= _LONGEST_EDGE and 0 < width <= _LONGEST_EDGE):
        raise ScanError(
            f"{path.name} declares slices of {width} × {height} pixels, which cannot be true.",
            _COPY_AGAIN,
        )
    return height, width


def _slice_dtype(page: Any, path: Path) -> np.dtype:
    if (
        page.dtype is None
        or page.dtype.kind not in "biuf"
        or (page.dtype.kind in "iu" and page.dtype.itemsize > 4)
    ):
        kind = "unknown" if page.dtype is None else str(page.dtype)
        raise ScanError(
            f"{path.name} holds numbers of a type that is not supported ({kind}, "
            f"{page.bitspersample} bits).",
            "Save it with 8, 16 or 32 bits.",
        )
    return np.dtype(page.dtype).newbyteorder(page.parent.byteorder)


def _check_colour(page: Any, tiff: tifffile.TiffFile, path: Path) -> None:
    photometric = int(page.photometric)
    palette = photometric == 3 and tiff.imagej_metadata is None
    if int(page.samplesperpixel) != 1 or photometric not in (0, 1, 3, 32803, 34892) or palette:
        raise ScanError(f"{path.name} is a colour image (RGB), not grey values.", _SAVE_AS_GREY)


def _check_one_channel(page: Any, tiff: tifffile.TiffFile, path: Path) -> None:
    imagej = tiff.imagej_metadata or {}
    channels, frames = int(imagej.get("channels", 1)), int(imagej.get("frames", 1))
    ome = _ome_text(page)
    for name, found in re.findall(r'\bSize([CT])\s*=\s*"(\d{1,9})"', ome[:1_000_000]):
        if name == "C":
            channels = max(channels, int(found))
        else:
            frames = max(frames, int(found))
    for count, what in ((channels, "channels"), (frames, "time points")):
        if count > 1:
            raise ScanError(
                f"{path.name} holds {count} {what}; a scan has one channel and one time point.",
                "In ImageJ, use Image > Hyperstacks > Make Subset, or Re-order if these are "
                "slices, and save again.",
            )


def _check_data_is_there(page: Any, path: Path, file_bytes: int) -> None:
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) == 0 or len(offsets) != len(counts):
        raise _damaged(path)
    end = max(o + c for o, c in zip(offsets, counts, strict=True))
    if end > file_bytes:
        raise _truncated(path, end - file_bytes)
    if min(counts) <= 0 or min(offsets) <= 0:
        raise ScanError(f"{path.name} was never finished: pixels are missing in it.", _COPY_AGAIN)
    declared = page.imagelength * page.imagewidth * (page.dtype.itemsize if page.dtype else 1)
    stored = sum(counts)
    plain_bytes = page.imagelength * (page.imagewidth * int(page.bitspersample) // 8)
    too_small = (
        stored < plain_bytes
        if page.compression == 1
        else (declared > 2**20 and declared > stored * _STRONGEST_COMPRESSION)
    )
    if too_small or declared > _LARGEST_SLICE_BYTES:
        raise ScanError(
            f"{path.name} declares slices of {page.imagewidth} × {page.imagelength} pixels, but "
            f"holds only {stored} bytes for one.",
            _COPY_AGAIN,
        )


def _decode_one(page: Any, path: Path, shape: tuple[int, int]) -> None:
    """Find out now rather than in the middle of the import whether the slices can be decoded."""
    try:
        decoded = page.asarray(maxworkers=1)
    except (ValueError, NotImplementedError, KeyError, ImportError) as error:
        if int(page.compression) not in _readable_compressions():
            name = getattr(page.compression, "name", str(page.compression))
            raise ScanError(
                f"{path.name} is compressed in a way that cannot be read ({name}).",
                "Save it without compression.",
            ) from error
        raise _damaged(path) from error
    if decoded.shape != shape:
        raise _damaged(path)


def _readable_compressions() -> set[int]:
    return {int(code) for code in tifffile.TIFF.DECOMPRESSORS}


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


def _ome_text(page: Any) -> str:
    description = page.description or ""
    return description if "<OME" in description[:4000] or ":OME" in description[:4000] else ""


def _count_pages(file: BinaryIO, path: Path, file_bytes: int) -> int:
    """Follow the chain of pages through the file, so that a broken chain is noticed.

    The TIFF reader itself would silently drop the pages behind the break.
    """
    header = file.read(16)
    if not header:
        raise ScanError(f"{path.name} is empty (0 bytes).", _COPY_AGAIN)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    version = struct.unpack(order + "H", header[2:4])[0] if order and len(header) >= 4 else 0
    if order is None or version not in (42, 43):
        raise ScanError(
            f"{path.name} is not a TIFF file, whatever its name says.",
            "Choose TIFF slices, or convert the file to TIFF.",
        )
    big = version == 43
    if len(header) < (16 if big else 8):
        raise _truncated(path, 1)
    count_format, count_size, entry_size, link_format = (
        (order + "Q", 8, 20, order + "Q") if big else (order + "H", 2, 12, order + "I")
    )
    link_size = struct.calcsize(link_format)
    offset = struct.unpack(link_format, header[8:16] if big else header[4:8])[0]
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MOST_PAGES:
            raise _damaged(path)
        seen.add(offset)
        if offset + count_size > file_bytes:
            raise _truncated(path, offset + count_size - file_bytes)
        file.seek(offset)
        entries = struct.unpack(count_format, file.read(count_size))[0]
        if entries > 4096:
            raise _damaged(path)
        link = offset + count_size + entries * entry_size
        if link + link_size > file_bytes:
            raise _truncated(path, link + link_size - file_bytes)
        file.seek(link)
        offset = struct.unpack(link_format, file.read(link_size))[0]
    if not seen:
        raise _damaged(path)
    return len(seen)


def _describe(shape: tuple[int, int], dtype: np.dtype) -> str:
    kinds = {"b": "black and white", "i": "signed", "u": "unsigned", "f": "fractions"}
    return f"{shape[1]} × {shape[0]} pixels, {dtype.itemsize * 8} bits {kinds[dtype.kind]}"


def describe_slices(layout: TiffLayout) -> str:
    """Size and type of a file's slices in words."""
    return _describe(layout.slice_shape, layout.stored_dtype)


def _truncated(path: Path, missing: int) -> ScanError:
    return ScanError(f"{path.name} is cut off: at least {missing} bytes are missing.", _COPY_AGAIN)


def _damaged(path: Path) -> ScanError:
    return ScanError(f"{path.name} is damaged and cannot be read.", _COPY_AGAIN)
