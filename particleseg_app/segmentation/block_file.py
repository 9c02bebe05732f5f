"""A few named arrays in one small compressed file: the finished piece of one block of a run.

The file begins with the length of its head (8 bytes). The head has a line per array: its name, and
as JSON its type, its shape, where in the file it begins and how many bytes each of its pieces has.
Most readers want one array of many, from many files, and only its line is taken apart.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from particleseg_app.durable_files import part_file

# Blosc refuses buffers of 2 GiB; longer arrays are cut into pieces of this many bytes.
_PIECE_BYTES = 1 << 30

# How blosc orders values of several bytes, and single bytes, before it packs them: by bytes and by
# bits. The other way round labels and layers are larger and take longer.
_BY_BYTES, _BY_BITS = 1, 2


def write_block_file(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays so that `path` is either whole or not there; names without blanks."""
    import imagecodecs

    lines, blobs, start = [], [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        raw = array.reshape(-1).view(np.uint8)
        pieces = [
            imagecodecs.blosc_encode(
                raw[begin : begin + _PIECE_BYTES],  # type: ignore[arg-type]
                level=1,
                compressor="lz4",
                shuffle=_BY_BYTES if array.itemsize > 1 else _BY_BITS,
                typesize=array.itemsize,
                numthreads=1,
            )
            for begin in range(0, raw.size, _PIECE_BYTES)
        ]
        sizes = [len(piece) for piece in pieces]
        lines.append(f"{name} {json.dumps([array.dtype.str, array.shape, start, sizes])}\n")
        blobs.extend(pieces)
        start += sum(sizes)
    head = "".join(lines).encode()
    with part_file(path) as part, open(part, "wb") as file:
        file.write(struct.pack("<Q", len(head)))
        file.write(head)
        for blob in blobs:
            file.write(blob)


def read_block_file(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Read the named arrays (all of them without a name); what is not asked for is skipped.

    The arrays cannot be changed. Raises `KeyError` for a name that the file lacks.
    """
    import imagecodecs

    arrays: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        (head_size,) = struct.unpack("<Q", file.read(8))
        lines = dict(line.split(" ", 1) for line in file.read(head_size).decode().splitlines())
        for name in names or lines:
            kind, shape, start, sizes = json.loads(lines[name])
            file.seek(8 + head_size + start)
            pieces = [imagecodecs.blosc_decode(file.read(size), numthreads=1) for size in sizes]
            raw = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            arrays[name] = np.frombuffer(raw, kind).reshape(shape)
    return arrays
