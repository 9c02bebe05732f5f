"""Growth of the cores through the border, block by block until no block can improve another.

A block is grown with its neighbours' outermost voxels as they are known so far. What a voxel knows
(layers, label) only ever improves and is always the length of a real way, so the rounds end, and
where no voxel can improve its neighbour any more the result is the growth of the whole volume,
whatever the blocks and the order were.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from particleseg_app.segmentation.block_grid import (
    face_names,
    faces_of,
    facing,
    facing_name,
    opposite,
)
from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.scan_grid import ScanGrid


def grow_cores(work: BlockWork, scan_grid: ScanGrid, cores: dict[str, np.ndarray]) -> None:
    """Piece `grown` of each block: `labels` (z, y, x) as indices into `names` (labels of the whole
    volume, or `region_growth.NO_LABEL` where no core came), `volumes` in voxels of the scan for
    each of `names`, `layers` (z, y, x), and the six faces of the block's states. `cores` is what
    `number_cores` returns.
    """

    def ranks_of(number: int) -> np.ndarray:
        """By local number of the block: background, its cores, border."""
        own = cores["ranks"][cores["offsets"][number] : cores["offsets"][number + 1]]
        return np.concatenate([[0], own, [0]]).astype(np.uint32)

    def grow(number: int) -> None:
        _grow_one(work, scan_grid, ranks_of(number), number)

    def can_improve(number: int) -> bool:
        return _can_improve(work, number)

    missing = work.missing("grown")
    work.each("Growing particles", missing, grow)
    unsettled = list(range(len(work.grid)))
    while unsettled:
        improvable = work.each("Checking particles across blocks", unsettled, can_improve)
        waiting = [number for number, can in zip(unsettled, improvable, strict=True) if can]
        work.each("Growing particles across blocks", waiting, grow)
        unsettled = sorted({near for one in waiting for _, near in work.grid.neighbours(one)})


def _grow_one(work: BlockWork, scan_grid: ScanGrid, ranks: np.ndarray, number: int) -> None:
    import fastremap

    from particleseg_app.segmentation.block_counts import weighted_counts
    from particleseg_app.segmentation.region_growth import (
        grow_block,
        improve_block,
        labels_of,
        layers_of,
    )

    z, y, x = work.grid.box(number).shape
    state = np.empty((z + 2, y + 2, x + 2), np.uint64)
    for axis in range(3):
        for end in (0, -1):
            state[(slice(None),) * axis + (end,)] = 0
    for offset, other in work.grid.neighbours(number):
        if work.has("grown", other):
            name = facing_name(opposite(offset))
            part = tuple(_HALO_PART[step] for step in offset)
            state[part] = facing(work.read("grown", other, name), opposite(offset))
    work.cancel.check()
    if work.has("grown", number):
        before = work.read("grown", number, "labels", "names", "layers")
        improve_block(before["labels"], before["names"], before["layers"], state)
        del before
    else:
        grow_block(work.read("cores", number, "cores")["cores"], ranks, state)
    work.cancel.check()
    faces = faces_of(state[1:-1, 1:-1, 1:-1])
    labels, layers = labels_of(state), layers_of(state)
    del state
    # Few labels live in one block: small numbers are quick to count.
    local, numbers = fastremap.renumber(labels, preserve_zero=True, in_place=True)
    local = local.astype(np.uint32, copy=False)
    names = np.zeros(len(numbers) + (0 not in numbers), np.uint32)
    names[np.array(list(numbers.values()), np.intp)] = list(numbers.keys())
    work.cancel.check()
    volumes = weighted_counts(local, scan_grid.weights(work.grid.box(number)), names.size - 1)
    volumes[0] = 0
    work.write(
        "grown",
        number,
        {"labels": local, "names": names, "volumes": volumes, "layers": layers, **faces},
    )


_HALO_PART = {-1: slice(0, 1), 0: slice(1, -1), 1: slice(-1, None)}


def _can_improve(work: BlockWork, number: int) -> bool:
    """Whether some voxel of a neighbouring block offers a voxel of this block a better state."""
    own = work.read("grown", number, *face_names())
    for offset, other in work.grid.neighbours(number):
        there = opposite(offset)
        theirs = facing(work.read("grown", other, facing_name(there)), there)
        if np.any(_offered(theirs) < facing(own, offset)):
            return True
    return False


def _offered(states: np.ndarray) -> np.ndarray:
    """What a facing region offers the voxels across: its best neighbour, one layer on."""
    from particleseg_app.segmentation.region_growth import LAYER, UNREACHED

    best: np.ndarray[Any, np.dtype[np.uint64]] = np.where(states == 0, UNREACHED, states)
    for axis in range(3):
        if states.shape[axis] > 1:
            ahead = (slice(None),) * axis + (slice(1, None),)
            behind = (slice(None),) * axis + (slice(None, -1),)
            spread = best.copy()
            np.minimum(spread[ahead], best[behind], out=spread[ahead])
            np.minimum(spread[behind], best[ahead], out=spread[behind])
            best = spread
    return best + LAYER
