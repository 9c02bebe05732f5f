"""Growth of the cores through the border, block by block, until no block can better another.

A block is grown together with the cores in a margin around it, so that most blocks hold the growth
of the whole volume at once. Where a border is wider than the margin, the block asks its neighbours
for what they found. What a voxel knows (layers, label) only ever improves and is always the length
of a real way, so the rounds end, and where no voxel can better its neighbour any more the result is
the growth of the whole volume, whatever the blocks and the order were.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from particleseg_app.segmentation.block_grid import (
    OFFSETS_6,
    BlockGrid,
    face_name,
    face_names,
    faces_of,
    facing,
    facing_name,
    opposite,
)
from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.core_search import rim_name, rim_thickness
from particleseg_app.segmentation.scan_grid import ScanGrid


def grow_cores(work: BlockWork, scan_grid: ScanGrid, cores: dict[str, np.ndarray]) -> None:
    """Pieces `grown` and, where blocks bettered each other, `bettered` of each block.

    `grown`: `labels`, `names` and `volumes` as `block_counts.settled` gives them, with volumes in
    voxels of the scan; the six faces of the block's states; and `open`, whether a neighbour might
    better it, with its `layers` if so. `bettered`: `places` and `values` of the voxels that changed
    since, with new `names`, `volumes` and faces; `patch` their labels as indices into the new
    names. `cores` is what `number_cores` returns.
    """

    def ranks_of(number: int) -> np.ndarray:
        """By local number of the block: background, its cores, border."""
        own = cores["ranks"][cores["offsets"][number] : cores["offsets"][number + 1]]
        return np.concatenate([[0], own, [0]]).astype(np.uint32)

    core_count = int(cores["keys"].size)

    def grow(number: int) -> None:
        _grow_one(work, scan_grid, ranks_of, core_count, number)

    def better_in(this_round: int) -> Callable[[int], bool]:
        return lambda number: _better_one(work, scan_grid, number, this_round)

    work.each("Growing particles", work.missing("grown"), grow)
    might_better = {
        number for number in range(len(work.grid)) if work.read("grown", number, "open")["open"][0]
    }
    unsettled = sorted(might_better)
    for this_round in itertools.count():
        if not unsettled:
            break
        better = better_in(this_round)
        changed = work.each("Growing particles across blocks", unsettled, better)
        bettered = [number for number, did in zip(unsettled, changed, strict=True) if did]
        beside = {near for one in bettered for _, near in work.grid.neighbours(one)}
        unsettled = sorted(beside & might_better)


def read_labels(work: BlockWork, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (z, y, x) of a block after growth as indices into names, and these names."""
    grown = work.read("grown", number, "labels", "names")
    if not work.has("bettered", number):
        return grown["labels"], grown["names"]
    bettered = work.read("bettered", number, "places", "patch", "names")
    kind = np.promote_types(grown["labels"].dtype, bettered["patch"].dtype)
    labels = grown["labels"].astype(kind)
    labels.reshape(-1)[bettered["places"]] = bettered["patch"]
    return labels, bettered["names"]


def latest(work: BlockWork, number: int, *names: str) -> dict[str, np.ndarray]:
    """`names`, `volumes` and faces of a block as they are now."""
    return work.read("bettered" if work.has("bettered", number) else "grown", number, *names)


def _grow_one(
    work: BlockWork,
    scan_grid: ScanGrid,
    ranks_of: Callable[[int], np.ndarray],
    core_count: int,
    number: int,
) -> None:
    from particleseg_app.segmentation.block_counts import settled
    from particleseg_app.segmentation.region_growth import BlockGrowth, states

    box, margin = work.grid.box(number), rim_thickness(work.grid)
    growth = BlockGrowth(box.shape, margin)
    for offset, other in work.grid.neighbours(number):
        name = rim_name(opposite(offset))
        part = work.read("cores", other, name)[name]
        sides = zip(offset, part.shape, box.shape, strict=True)
        z, y, x = ({-1: -size, 0: 0, 1: own}[step] for step, size, own in sides)
        growth.put(part, ranks_of(other), (z, y, x))
    work.cancel.check()
    cores = work.read("cores", number, "cores")["cores"]
    growth.put(cores, ranks_of(number), (0, 0, 0))
    grown, layers = growth.grow()
    work.cancel.check()
    kept = settled(grown, core_count, scan_grid.weights(box))
    labels = faces_of(kept["labels"])
    faces = {
        name: states(kept["names"][labels[name]], face) for name, face in faces_of(layers).items()
    }
    is_open = _is_open(work.grid, number, faces)
    if is_open:
        kept["layers"] = layers
    work.cancel.check()
    work.write("grown", number, {**kept, **faces, "open": np.array([is_open])})


def _is_open(grid: BlockGrid, number: int, faces: dict[str, np.ndarray]) -> bool:
    """Whether a voxel at a face to another block was not reached within the margin of growth."""
    return any(
        bool((faces[facing_name(offset)] >= _sure_below(grid)).any())
        for offset, _ in grid.neighbours(number, OFFSETS_6)
    )


def _sure_below(grid: BlockGrid) -> np.uint64:
    """States below this one, as a block was grown, are those of the whole volume."""
    from particleseg_app.segmentation.region_growth import LAYER

    return LAYER * np.uint64(rim_thickness(grid) + 1)


def _better_one(work: BlockWork, scan_grid: ScanGrid, number: int, this_round: int) -> bool:
    """Take in what the neighbouring blocks offer; whether anything became better in this round.

    The piece tells in which round that was: a worker that is lost may have written it before.
    """
    from particleseg_app.segmentation.growth_across_blocks import Bettered, better

    faces = dict(latest(work, number, *face_names()))
    places, values = _offers(work, number, faces)
    if not places.size:
        if not work.has("bettered", number):
            return False
        return int(work.read("bettered", number, "round")["round"][0]) == this_round
    work.cancel.check()
    grown = work.read("grown", number, "labels", "names", "layers", "volumes")
    before = None
    if work.has("bettered", number):
        before = Bettered(**work.read("bettered", number, "places", "values"))
    after = better(grown["labels"], grown["names"], grown["layers"], before, places, values)
    names, patch, volumes = _renamed(grown, after, scan_grid.weights(work.grid.box(number)))
    work.write(
        "bettered",
        number,
        {
            "round": np.array([this_round]),
            "places": after.places,
            "values": after.values,
            "names": names,
            "patch": patch,
            "volumes": volumes,
            **_patched_faces(faces, after, work.grid.box(number).shape),
        },
    )
    return True


def _offers(
    work: BlockWork, number: int, faces: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Raster indices in the block and states by which a neighbouring block betters it."""
    shape = work.grid.box(number).shape
    places, values = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
    for offset, other in work.grid.neighbours(number):
        own, there = facing(faces, offset), opposite(offset)
        if not (own >= _sure_below(work.grid)).any():
            continue
        offered = _offered(facing(latest(work, other, facing_name(there)), there))
        better = offered < own
        if better.any():
            inside = list(np.nonzero(better))
            for axis in range(3):
                if offset[axis] > 0:
                    inside[axis] = inside[axis] + shape[axis] - 1
            places.append(np.ravel_multi_index(tuple(inside), shape))
            values.append(offered[better])
    return np.concatenate(places), np.concatenate(values)


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


def _renamed(
    grown: dict[str, np.ndarray],
    after: Any,
    weights: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Names of a bettered block, the changed voxels' indices into them, and volumes."""
    from particleseg_app.segmentation.region_growth import LAYER

    labels = (after.values % LAYER).astype(np.uint32)
    found, which = np.unique(labels, return_inverse=True)
    new = np.setdiff1d(found, grown["names"])
    names = np.concatenate([grown["names"], new])
    order = np.argsort(names)
    patch = order[np.searchsorted(names, found, sorter=order)][which]
    z, y, x = np.unravel_index(after.places, grown["labels"].shape)
    weight = weights[0][z] * weights[1][y] * weights[2][x]
    volumes = np.zeros(names.size, np.int64)
    volumes[: grown["volumes"].size] = grown["volumes"]
    np.subtract.at(volumes, grown["labels"].reshape(-1)[after.places], weight)
    np.add.at(volumes, patch, weight)
    return names, patch.astype(np.min_scalar_type(names.size)), volumes


def _patched_faces(
    faces: dict[str, np.ndarray], after: Any, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The six faces of a block's states with the voxels that changed."""
    place = np.unravel_index(after.places, shape)
    patched = {}
    for axis in range(3):
        for side in (-1, 1):
            name = face_name(axis, side)
            face = faces[name].copy()
            on_it = place[axis] == (0 if side < 0 else shape[axis] - 1)
            one, two = (place[other][on_it] for other in range(3) if other != axis)
            face[one, two] = after.values[on_it]
            patched[name] = face
    return patched
