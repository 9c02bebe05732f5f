"""Finds what may be a particle that the run missed: bright bodies in the background.

Bright means on the particles' side of the background. Bodies are found block by block; one that
is several times as long as a particle (a container wall) is none.
"""

from __future__ import annotations

import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.review.crops import Crop, Volume
from particleseg_app.review.evidence import Point, ScanFacts, surroundings_evidence
from particleseg_app.review.merge_tree import distance_inside
from particleseg_app.review.solidity import solidity
from particleseg_app.units import Box, Shape, blocks

if TYPE_CHECKING:
    from particleseg_app.progress import CancelToken, Progress

# A voxel is bright above this share of the contrast between particles and background.
LEVEL = 0.4
# Nobody could tell anything smaller from noise.
FEWEST_VOXELS = 20
_BLOCK_SHAPE: Shape = (128, 128, 128)
_LARGEST_MARGIN = 64
_SMALLEST_MARGIN = 12
_AROUND = 5
# What is read beyond a block's margin, so that evidence does not depend on the blocks.
_BEYOND = 6


class Body:
    """A bright body: its `region` (bool, of the shape of `box`), evidence, middle and voxels."""

    def __init__(self, box: Box, region: np.ndarray, evidence: dict[str, float], place: Point):
        self.box, self.region, self.evidence, self.place = box, region, evidence, place

    @property
    def voxels(self) -> int:
        return int(self.region.sum())


def find_missed(
    scan: Volume,
    labels: Volume,
    facts: ScanFacts,
    smallest_volume: float,
    progress: Progress,
    cancel: CancelToken,
    block_shape: Shape = _BLOCK_SHAPE,
) -> list[Body]:
    """Bright bodies of at least `smallest_volume` voxels that no label covers, in reading order.

    A body ends one voxel short of any particle's surface first, because the edge of a particle is
    bright, too; then it gets back what is bright beside it. Bodies longer than 5 median diameters
    (24 to 128 voxels) are left out. `block_shape` bounds the memory, not the result.
    """
    diameter = (6 * facts.median_volume / math.pi) ** (1 / 3)
    margin = int(min(_LARGEST_MARGIN, max(_SMALLEST_MARGIN, math.ceil(2.5 * diameter))))
    least = max(FEWEST_VOXELS, math.ceil(smallest_volume))
    boxes = list(blocks(labels.shape, block_shape))
    progress.start("Looking for missed particles", len(boxes), "blocks")

    def one(box: Box) -> list[Body]:
        cancel.check()
        found = _in_block(scan, labels, facts, box, margin, least)
        progress.advance()
        return found

    found: list[Body] = []
    threads = usable_cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="evidence") as pool:
        for first in range(0, len(boxes), threads * 4):
            for part in pool.map(one, boxes[first : first + threads * 4]):
                found += part
    return sorted(found, key=lambda body: body.box.start)


def _in_block(
    scan: Volume, labels: Volume, facts: ScanFacts, box: Box, margin: int, least: int
) -> list[Body]:
    """The bodies whose box has its middle in `box`."""
    import cc3d
    from scipy import ndimage

    wide = box.expanded(margin + 2, labels.shape)
    read = wide.expanded(_BEYOND, labels.shape)
    own = labels.read(read)
    grey = (scan.read(read).astype(np.float32) - facts.background) / facts.contrast
    # The least filter that keeps noise from joining or cutting bodies of a few voxels.
    bright = (ndimage.gaussian_filter(grey, 0.8, truncate=3) > LEVEL) & (own == 0)
    apart = np.ascontiguousarray((bright & ~ndimage.binary_dilation(own > 0))[wide.within(read)])
    pieces = np.zeros(own.shape, np.uint32)
    pieces[wide.within(read)], count = cc3d.connected_components(
        apart, connectivity=6, return_N=True
    )
    if not count:
        return []
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    found = []
    for number, place in enumerate(ndimage.find_objects(pieces.view(np.int32)), start=1):
        # A layer all round may come back: what is too small even then is none.
        if place is None or 8 * sizes[number] < least:
            continue
        if max(s.stop - s.start for s in place) > 2 * margin or not _belongs(place, read, box):
            continue
        near = tuple(
            slice(max(0, s.start - _AROUND), min(n, s.stop + _AROUND))
            for s, n in zip(place, own.shape, strict=True)
        )
        region = pieces[near] == number
        others = (pieces[near] > 0) & ~region
        region = ndimage.binary_dilation(region) & bright[near] & ~others
        if np.count_nonzero(region) >= least:
            found.append(_body(read, near, region, own[near], grey[near], facts, labels.shape))
    return found


def _belongs(place: tuple[slice, ...], read: Box, box: Box) -> bool:
    """Whether a body has its middle in the block; its ends are in the margin, then."""
    return all(
        low <= (s.start + s.stop) // 2 + origin < high
        for s, origin, low, high in zip(place, read.start, box.start, box.stop, strict=True)
    )


def _body(
    read: Box,
    near: tuple[slice, ...],
    region: np.ndarray,
    labels: np.ndarray,
    grey: np.ndarray,
    facts: ScanFacts,
    shape: Shape,
) -> Body:
    inside = np.nonzero(region)
    tight = tuple(slice(int(i.min()), int(i.max()) + 1) for i in inside)
    offset = [w + n.start for w, n in zip(read.start, near, strict=True)]
    start = tuple(o + t.start for o, t in zip(offset, tight, strict=True))
    stop = tuple(o + t.stop for o, t in zip(offset, tight, strict=True))
    box = Box(start, stop)
    volume = len(inside[0])
    distance = distance_inside(region)
    crop_evidence = surroundings_evidence(Crop(box, 1, labels, grey), region, grey)
    evidence = {
        "relative_size": math.log(volume / facts.median_volume),
        "solidity": solidity(region),
        "thickness": float(distance.max()) / max(1.0, (3 * volume / (4 * math.pi)) ** (1 / 3)),
        "brightness": float(grey[region].mean()),
        "at_edge": float(
            any(a == 0 or b == n for a, b, n in zip(box.start, box.stop, shape, strict=True))
        ),
        **crop_evidence,
    }
    z, y, x = (float(i.mean()) + o for i, o in zip(inside, offset, strict=True))
    return Body(box, region[tight], evidence, (z, y, x))


# Voxels of the box of a region, at most; no body that is proposed comes near it.
_LARGEST_REGION = 400**3


def pack_region(region: np.ndarray) -> bytes:
    """A bool array in few bytes; its shape is that of the box it belongs to."""
    return zlib.compress(np.packbits(region).tobytes())


def unpack_region(packed: bytes, shape: Shape) -> np.ndarray:
    """The bool array of `pack_region`; ValueError if it is not one of this shape."""
    size = math.prod(shape)
    if min(shape) < 1 or size > _LARGEST_REGION:
        raise ValueError("not a region of a possible shape")
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(packed, (size + 7) // 8)
    except zlib.error as error:
        raise ValueError("not a region") from error
    if len(content) != (size + 7) // 8 or not unpack.eof:
        raise ValueError("not a region of this shape")
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=size)
    return bits.reshape(shape).astype(bool)
