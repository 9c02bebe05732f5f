"""A few named arrays in one small compressed file: the finished piece of one block of a run."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from particleseg_app.durable_files import part_file

# Blosc refuses buffers of 2 GiB; longer arrays are cut into pieces of this many bytes.
_PIECE_BYTES = 1 << 30


def write_block_file(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays so that `path` is either whole or not there."""
    import imagecodecs

    header, blobs = {}, []
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        raw = array.reshape(-1).view(np.uint8)
        pieces = [
            imagecodecs.blosc_encode(
                raw[start : start + _PIECE_BYTES],  # type: ignore[arg-type]
                level=1,
                compressor="lz4",
                shuffle=2,
                typesize=array.itemsize,
                numthreads=1,
            )
            for start in range(0, raw.size, _PIECE_BYTES)
        ]
        header[name] = {
            "dtype": array.dtype.str,
            "shape": array.shape,
            "pieces": [len(piece) for piece in pieces],
        }
        blobs.extend(pieces)
    head = json.dumps(header).encode()
    with part_file(path) as part, open(part, "wb") as file:
        file.write(struct.pack("<Q", len(head)))
        file.write(head)
        for blob in blobs:
            file.write(blob)


def read_block_file(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Read the named arrays (all of them without a name); what is not asked for is skipped."""
    import imagecodecs

    arrays: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        (head_size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(head_size))
        place = 8 + head_size
        for name, entry in header.items():
            if not names or name in names:
                file.seek(place)
                raw = b"".join(
                    imagecodecs.blosc_decode(file.read(size), numthreads=1)
                    for size in entry["pieces"]
                )
                arrays[name] = np.frombuffer(raw, entry["dtype"]).reshape(entry["shape"])
            place += sum(entry["pieces"])
    return arrays
