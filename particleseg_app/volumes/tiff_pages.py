"""The pages of a TIFF file, each checked before it is believed to be a slice.

No size that a file declares is believed before it was compared with the size of the file itself.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from particleseg_app.errors import ScanError

MOST_PAGES = 1_000_000
_LONGEST_EDGE = 100_000
_LARGEST_SLICE_BYTES = 4 * 2**30
# No compression in use shrinks even an empty slice further than this.
_STRONGEST_COMPRESSION = 50_000
_ANY_TILE_BYTES = 2**24  # tiles may be larger than a small slice
COPY_AGAIN = "Copy the file again from where it came from, or reconstruct the scan again."
_SAVE_AS_GREY = "Save the scan again as grey values with one channel (in ImageJ: Image > Type)."


def count_pages(file: BinaryIO, path: Path, file_bytes: int) -> int:
    """Follow the chain of pages through the file, so that a broken chain is noticed.

    The TIFF reader itself would silently drop the pages behind the break. Raises `ScanError`.
    """
    header = file.read(16)
    if not header:
        raise ScanError(f"{path.name} is empty (0 bytes).", COPY_AGAIN)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    version = struct.unpack(order + "H", header[2:4])[0] if order and len(header) >= 4 else 0
    if order is None or version not in (42, 43):
        raise ScanError(
            f"{path.name} is not a TIFF file, whatever its name says.",
            "Choose TIFF slices, or convert the file to TIFF.",
        )
    big = version == 43
    if len(header) < (16 if big else 8):
        raise truncated(path, 1)
    count_format, count_size, entry_size, link_format = (
        (order + "Q", 8, 20, order + "Q") if big else (order + "H", 2, 12, order + "I")
    )
    link_size = struct.calcsize(link_format)
    offset = struct.unpack(link_format, header[8:16] if big else header[4:8])[0]
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= MOST_PAGES:
            raise damaged(path)
        seen.add(offset)
        if offset + count_size > file_bytes:
            raise truncated(path, offset + count_size - file_bytes)
        file.seek(offset)
        entries = struct.unpack(count_format, file.read(count_size))[0]
        if entries > 4096:
            raise damaged(path)
        link = offset + count_size + entries * entry_size
        if link + link_size > file_bytes:
            raise truncated(path, link + link_size - file_bytes)
        file.seek(link)
        offset = struct.unpack(link_format, file.read(link_size))[0]
    if not seen:
        raise damaged(path)
    return len(seen)


def slice_shape(page: Any, path: Path) -> tuple[int, int]:
    """Shape (y, x) of a page; `ScanError` for one that no slice has."""
    height, width = int(page.imagelength), int(page.imagewidth)
    if int(page.imagedepth) != 1:
        raise ScanError(
            f"{path.name} holds pages that are volumes themselves, which is not supported.",
            "Save it as a stack of slices, for instance with ImageJ.",
        )
    if not (0 < height <= _LONGEST_EDGE and 0 < width <= _LONGEST_EDGE):
        raise ScanError(
            f"{path.name} declares slices of {width} × {height} pixels, which cannot be true.",
            COPY_AGAIN,
        )
    return height, width


def slice_dtype(page: Any, path: Path) -> np.dtype:
    """Type of a page in the byte order of the file; `ScanError` for one that is not supported."""
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


def check_colour(page: Any, tiff: tifffile.TiffFile, path: Path) -> None:
    """Raise `ScanError` for a page that holds colours."""
    photometric = int(page.photometric)
    palette = photometric == 3 and tiff.imagej_metadata is None
    if int(page.samplesperpixel) != 1 or photometric not in (0, 1, 3, 32803, 34892) or palette:
        raise ScanError(f"{path.name} is a colour image (RGB), not grey values.", _SAVE_AS_GREY)


def check_one_channel(page: Any, tiff: tifffile.TiffFile, path: Path) -> None:
    """Raise `ScanError` for a file of several channels or time points."""
    imagej = tiff.imagej_metadata or {}
    channels, frames = int(imagej.get("channels", 1)), int(imagej.get("frames", 1))
    ome = ome_text(page)
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


def check_data_is_there(page: Any, path: Path, file_bytes: int) -> None:
    """Raise `ScanError` where the file is too small for what the page declares."""
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) == 0 or len(offsets) != len(counts):
        raise damaged(path)
    end = max(o + c for o, c in zip(offsets, counts, strict=True))
    if end > file_bytes:
        raise truncated(path, end - file_bytes)
    if min(counts) <= 0 or min(offsets) <= 0:
        raise ScanError(f"{path.name} was never finished: pixels are missing in it.", COPY_AGAIN)
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
            COPY_AGAIN,
        )
    if page.is_tiled:
        pixel = page.dtype.itemsize if page.dtype else 1
        tile = page.tilewidth * page.tilelength * max(1, page.tiledepth) * pixel
        if tile > max(_ANY_TILE_BYTES, 4 * declared):
            raise ScanError(
                f"{path.name} declares tiles of {page.tilewidth} × {page.tilelength} pixels for "
                f"slices of {page.imagewidth} × {page.imagelength}.",
                COPY_AGAIN,
            )


def decode_one(page: Any, path: Path, shape: tuple[int, int]) -> None:
    """Find out now rather than in the middle of the import whether the slices can be decoded.

    Raises `ScanError`.
    """
    try:
        decoded = page.asarray(maxworkers=1)
    except (ValueError, NotImplementedError, KeyError, ImportError) as error:
        if int(page.compression) not in _readable_compressions():
            name = getattr(page.compression, "name", str(page.compression))
            raise ScanError(
                f"{path.name} is compressed in a way that cannot be read ({name}).",
                "Save it without compression.",
            ) from error
        raise damaged(path) from error
    if decoded.shape != shape:
        raise damaged(path)


def _readable_compressions() -> set[int]:
    return {int(code) for code in tifffile.TIFF.DECOMPRESSORS}


def ome_text(page: Any) -> str:
    """The OME-XML of a page, "" without any."""
    description = page.description or ""
    return description if "<OME" in description[:4000] or ":OME" in description[:4000] else ""


def truncated(path: Path, missing: int) -> ScanError:
    """What to raise for a file that ends too early; `missing` in bytes."""
    return ScanError(f"{path.name} is cut off: at least {missing} bytes are missing.", COPY_AGAIN)


def damaged(path: Path) -> ScanError:
    """What to raise for a file that contradicts itself."""
    return ScanError(f"{path.name} is damaged and cannot be read.", COPY_AGAIN)
