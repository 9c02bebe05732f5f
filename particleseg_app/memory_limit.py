"""How much memory a run may take (`--max-memory`), and what follows for the pieces it works on.

A limit changes how large a piece is and how many are worked on at once, never a result. It is meant
for the whole process: what the program itself holds is taken off first.
"""

from __future__ import annotations

import re

from particleseg_app.cores import usable_cores
from particleseg_app.errors import InvalidValueError

DEFAULT_MEMORY_LIMIT_BYTES = 4 * 10**9
# Measured: torch, numba, HDF5 and the rest, imported and warmed up, with a small model loaded.
PROGRAM_BYTES = 800 * 10**6
# The default model at work on one tile, in float32 (docs/network_stage.md), and what is read for
# it. Tiles are never smaller for want of memory, because they would say something else.
NETWORK_BYTES = 1500 * 10**6
SMALLEST_LIMIT_BYTES = PROGRAM_BYTES + NETWORK_BYTES
# Memory that is free on the machine is not taken to the last byte.
_SHARE_OF_FREE = 0.8
_UNITS = {"": 10**9, "G": 10**9, "GB": 10**9, "GIB": 2**30, "M": 10**6, "MB": 10**6, "MIB": 2**20}


def parse_memory(text: str) -> int:
    """Bytes of a text such as "4 GB", "2500MB" or "4" (GB); raise `InvalidValueError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", text, re.IGNORECASE | re.ASCII)
    if match is None or match[2].upper() not in _UNITS:
        raise InvalidValueError(
            f"“{text}” is not an amount of memory.", "Write it as in 4GB or 2500MB."
        )
    return check_memory_limit(int(min(float(match[1]), 1e9) * _UNITS[match[2].upper()]))


def check_memory_limit(limit_bytes: int) -> int:
    """Return the limit, or raise `InvalidValueError` when no run fits into it."""
    if limit_bytes < SMALLEST_LIMIT_BYTES:
        raise InvalidValueError(
            f"A run does not fit into {limit_bytes / 1e9:.2g} GB of memory: "
            f"the program takes {PROGRAM_BYTES / 1e9:.2g} GB and a network at work "
            f"{NETWORK_BYTES / 1e9:.2g} GB.",
            f"Allow at least {SMALLEST_LIMIT_BYTES / 1e9:.2g} GB.",
        )
    return limit_bytes


def bytes_for_pieces(limit_bytes: int) -> int:
    """What a limit leaves for the pieces of a volume; the same on every machine."""
    return max(0, limit_bytes - PROGRAM_BYTES)


def cache_bytes(limit_bytes: int) -> int:
    """What a limit leaves for unpacked chunks of each volume that is open at the same time."""
    return bytes_for_pieces(limit_bytes) // 8


def pieces_at_once(limit_bytes: int, bytes_each: float, most: int | None = None) -> int:
    """How many pieces of `bytes_each` may be worked on at once, at least 1.

    No more than fit the limit and the memory that is free now, nor than `most` (the processor's
    cores where it is None).
    """
    import psutil

    most = most or usable_cores()
    room = min(bytes_for_pieces(limit_bytes), _SHARE_OF_FREE * psutil.virtual_memory().available)
    return int(max(1, min(most, room // max(1.0, bytes_each))))
