"""Particles from border-core classes, block by block on disk: big volumes, little memory.

The result is that of `border_core.border_core_to_particles`, voxel for voxel and for any block
shape, brought to the scan's grid, without the smallest particles. `docs/border_core.md` explains
why. Memory holds a few blocks and tables with one row per particle, never the volume.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.durable_files import flush_folder, make_folder, write_json
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.block_grid import (
    LATER_26,
    BlockGrid,
    face_names,
    faces_of,
    facing,
    facing_name,
    opposite,
    touching_pairs,
)
from particleseg_app.segmentation.block_work import BlockWork, ClassesVolume, joined
from particleseg_app.segmentation.connected_regions import connected_regions
from particleseg_app.segmentation.containers import LeftOut, container_parts
from particleseg_app.segmentation.core_contacts import find_contacts
from particleseg_app.segmentation.core_growth import grow_cores, latest, read_labels
from particleseg_app.segmentation.core_search import find_cores, number_cores
from particleseg_app.segmentation.core_unions import Contacts, UnionRule
from particleseg_app.segmentation.scan_grid import ScanGrid
from particleseg_app.segmentation.tube_wall import TubeWall
from particleseg_app.segmentation.workers import Workers
from particleseg_app.units import Shape
from particleseg_app.volumes.labels import LabelWriter

# Small enough for the processor's cache and for many threads in little memory, large enough that
# few voxels lie at a side. Does not depend on the memory limit, so that a run goes on with another.
BLOCK_SHAPE: Shape = (128, 128, 128)

# Raised when finished pieces of an older version lead to another result or cannot be read.
_PIECES_VERSION = 7


def particles_from_classes(
    classes: ClassesVolume,
    scan_shape: Shape,
    scale_factor: float,
    work_folder: Path,
    writer_path: Path,
    min_relative_volume: float,
    progress: Progress,
    cancel: CancelToken,
    block_shape: Shape = BLOCK_SHAPE,
    small_core_filter: bool = True,
    least_voxels: float = 0.0,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    workers: Workers | None = None,
    leave_out_running_through: bool = False,
    tube: TubeWall | None = None,
    union_rule: UnionRule | None = None,
    left_out: Callable[[LeftOut], None] = lambda left_out: None,
    of_scan: Callable[[np.ndarray], None] = lambda figures: None,
) -> int:
    """Separate the particles of `classes` and write them at the scan's grid; return their number.

    `classes` has `.shape` and `.read(box)` at the working scale, which is `scan_shape` ·
    `scale_factor` to within a voxel (000 §3.2.1). The labels (uint32, 1…n without gaps) are written
    to `writer_path`, whole or not at all. Particles of less than `min_relative_volume` times the
    mean particle volume or of less than `least_voxels` are dropped, volumes in voxels of the scan.
    With `leave_out_running_through` whatever lies in the first and in the last slice is dropped
    before, with a `tube` whatever lies outside its inner wall by more than half; `left_out` is told
    how many these were, before the labels are written; again when the call is repeated. With a
    `union_rule` parts of one particle that the classes leave apart are united (`core_unions`), and
    `of_scan` is told its `scan_figures`, at the same time as `left_out`, if there are contacts.

    Finished pieces are kept in `work_folder`, which is this function's own: after a cancel, an
    error or a kill the same call goes on where it stopped and ends with the same labels. Other
    arguments begin anew. The caller vouches that `classes` are the same. The pieces are removed at
    the end. `memory_limit_bytes` decides how many blocks are worked on at once and may be another
    when the call is repeated. `workers` are those of a cluster that sees `work_folder` (and what
    `classes` reads), None for threads of this process. Raises `Cancelled`, and `RunError` when
    there is no space left.
    """
    working_shape = classes.shape
    for working, scan in zip(working_shape, scan_shape, strict=True):
        if abs(working - max(1.0, scan * scale_factor)) > 1:
            raise ValueError(f"{working_shape} is not {scan_shape} scaled by {scale_factor}")
    z, y, x = (min(b, n) for b, n in zip(block_shape, working_shape, strict=True))
    grid = BlockGrid(working_shape, (z, y, x))
    work = BlockWork(
        classes,
        grid,
        work_folder,
        progress,
        cancel,
        workers=workers,
        memory_limit_bytes=memory_limit_bytes,
    )
    scan_grid = ScanGrid(working_shape, scan_shape)
    options = {
        "min_relative_volume": min_relative_volume,
        "least_voxels": least_voxels,
        "small_core_filter": small_core_filter,
        "leave_out_running_through": leave_out_running_through,
        "tube": None if tube is None else tube.as_dict(),
        "unions": None if union_rule is None else union_rule.as_dict(),
    }
    _begin_or_resume(work, scan_shape, options)

    if not work.has("core_numbers", 0):
        find_cores(work, small_core_filter)
        work.write("core_numbers", 0, number_cores(work, small_core_filter))
    if not work.has("numbers", 0):
        grow_cores(work, scan_grid, work.read("core_numbers", 0))
        _find_coreless(work, scan_grid)
        contacts = None
        if union_rule is not None:
            contacts = find_contacts(work, work.read("core_numbers", 0, "keys")["keys"].size)
        numbers = _number_particles(
            work,
            scan_grid,
            min_relative_volume,
            least_voxels,
            leave_out_running_through,
            tube,
            union_rule,
            contacts,
        )
        work.write("numbers", 0, numbers)
    numbers = work.read("numbers", 0)
    left_out(LeftOut(*(int(count) for count in numbers["containers"])))
    if numbers["of_scan"].size:
        of_scan(numbers["of_scan"])
    count = int(max(numbers["cored"].max(initial=0), numbers["coreless"].max(initial=0)))
    _write_labels(work, scan_grid, numbers, count, writer_path)
    # Without its plan, what is left of the pieces by a kill is no longer taken for finished work.
    (work_folder / _PLAN).unlink()
    flush_folder(work_folder)
    work.remove_pieces()
    if not any(work_folder.iterdir()):
        work_folder.rmdir()
    return count


_PLAN = "particles_plan.json"


def _begin_or_resume(work: BlockWork, scan_shape: Shape, options: dict[str, Any]) -> None:
    plan = {
        "pieces_version": _PIECES_VERSION,
        "working_shape": list(work.grid.shape),
        "block_shape": list(work.grid.block_shape),
        "scan_shape": list(scan_shape),
        **options,
    }
    path = work.folder / _PLAN
    make_folder(work.folder)
    if path.exists() and json.loads(path.read_bytes()) == plan:
        return
    path.unlink(missing_ok=True)
    flush_folder(work.folder)
    work.remove_pieces()
    write_json(path, plan)


def _find_coreless(work: BlockWork, scan_grid: ScanGrid) -> None:
    """Piece `coreless` of each block that has foreground which no core reached: local numbers
    (z, y, x) of its 26-connected regions, their keys and volumes, and the six faces.
    """
    from particleseg_app.segmentation.block_counts import first_voxels, weighted_counts
    from particleseg_app.segmentation.region_growth import NO_LABEL

    def find(number: int) -> None:
        labels, names = read_labels(work, number)
        unreached = labels == np.flatnonzero(names == NO_LABEL)
        regions, count = connected_regions(unreached, connectivity=26)
        box = work.grid.box(number)
        key = work.grid.raster_index(first_voxels(regions, count), box)
        volumes = weighted_counts(regions, scan_grid.weights(box), count)[1:]
        work.write(
            "coreless",
            number,
            {"regions": regions, "key": key, "volumes": volumes, **faces_of(regions)},
        )

    needed = [
        number
        for number in range(len(work.grid))
        if NO_LABEL in latest(work, number, "names")["names"]
    ]
    missing = [number for number in needed if not work.has("coreless", number)]
    work.each("Finding particles without a core", missing, find)


def _number_particles(
    work: BlockWork,
    scan_grid: ScanGrid,
    min_relative_volume: float,
    least_voxels: float,
    leave_out_running_through: bool,
    tube: TubeWall | None,
    union_rule: UnionRule | None,
    contacts: Contacts | None,
) -> dict[str, np.ndarray]:
    """Final numbers (uint32, 0 for dropped): `cored[label of the grown core]`, and
    `coreless[offset[block] + local number - 1]`; how many `containers` were left out, as
    `LeftOut` has them; the rule's figures `of_scan`, none where nothing could be united.
    """
    from particleseg_app.segmentation.region_growth import NO_LABEL

    work.progress.start("Numbering particles", total=len(work.grid), unit="blocks")
    core_keys = work.read("core_numbers", 0, "keys")["keys"]
    volumes = np.zeros(core_keys.size + 1, np.int64)
    counts = np.zeros(len(work.grid), np.int64)
    region_keys, region_volumes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in range(len(work.grid)):
        work.cancel.check()
        grown = latest(work, number, "names", "volumes")
        reached = grown["names"] != NO_LABEL
        volumes[grown["names"][reached]] += grown["volumes"][reached]
        if not reached.all():
            regions = work.read("coreless", number, "key", "volumes")
            counts[number] = regions["key"].size
            region_keys.append(regions["key"])
            region_volumes.append(regions["volumes"])
        work.progress.advance()
    offsets = np.concatenate([[0], np.cumsum(counts)])

    groups, group = joined(int(offsets[-1]), _coreless_contacts(work, offsets))
    group_keys = np.full(groups, np.iinfo(np.int64).max)
    np.minimum.at(group_keys, group, np.concatenate(region_keys))
    group_volumes = np.zeros(groups, np.int64)
    np.add.at(group_volumes, group, np.concatenate(region_volumes))

    all_keys = np.concatenate([core_keys, group_keys])
    all_volumes = np.concatenate([volumes[1:], group_volumes])
    kept = all_volumes > 0
    outside, through = container_parts(
        work,
        scan_grid,
        core_keys.size,
        offsets,
        group,
        all_volumes,
        leave_out_running_through,
        tube,
    )
    # Before the mean volume is taken, of which they would be most.
    kept &= ~(outside | through)
    particle, of_scan = np.arange(core_keys.size), None
    if union_rule is not None and contacts is not None:
        particle, of_scan = _united(union_rule, contacts, kept[: core_keys.size])
        # The first core of a particle has the smallest key, because cores are numbered by theirs.
        others = np.flatnonzero(particle != np.arange(core_keys.size))
        np.add.at(all_volumes, particle[others], all_volumes[others])
        kept[others] = False
    least = min_relative_volume * all_volumes[kept].mean() if kept.any() else 0.0
    least = max(least, least_voxels)
    large_enough = all_volumes >= least
    kept &= large_enough
    order = np.flatnonzero(kept)
    order = order[np.argsort(all_keys[order])]
    final = np.zeros(all_keys.size, np.uint32)
    final[order] = np.arange(1, order.size + 1, dtype=np.uint32)
    cored = np.concatenate([np.zeros(1, np.uint32), final[: core_keys.size][particle]])
    return {
        "cored": cored,
        "coreless": final[core_keys.size :][group],
        "offsets": offsets,
        "containers": np.array([(parts & large_enough).sum() for parts in (outside, through)]),
        "of_scan": np.zeros(0) if of_scan is None else of_scan,
    }


def _united(
    rule: UnionRule, contacts: Contacts, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """For each core (0…) the first one of its particle; those that are not `kept` stay alone.

    And the rule's figures of the scan.
    """
    among = np.concatenate([[False], kept])[contacts.pairs].all(axis=1)
    contacts = replace(contacts, pairs=contacts.pairs[among], faces=contacts.faces[among])
    of_scan = rule.scan_figures(contacts, int(kept.sum()))
    return rule.united(contacts, kept.size, of_scan)[1:] - 1, of_scan


def _coreless_contacts(work: BlockWork, offsets: np.ndarray) -> np.ndarray:
    """Pairs of coreless regions, counted over the volume from 0, that touch across blocks."""
    pairs = [np.zeros((0, 2), np.int64)]
    with_regions = set(np.flatnonzero(np.diff(offsets)).tolist())
    for number in sorted(with_regions):
        work.cancel.check()
        faces = work.read("coreless", number, *face_names())
        for offset, other in work.grid.neighbours(number, LATER_26):
            if other in with_regions:
                there = opposite(offset)
                others = work.read("coreless", other, facing_name(there))
                local = touching_pairs(facing(faces, offset), facing(others, there), 26)
                pairs.append(local - 1 + offsets[[number, other]])
    return np.concatenate(pairs)


def _write_labels(
    work: BlockWork,
    scan_grid: ScanGrid,
    numbers: dict[str, np.ndarray],
    count: int,
    writer_path: Path,
) -> None:
    from particleseg_app.segmentation.block_counts import take_labels
    from particleseg_app.segmentation.region_growth import NO_LABEL

    offsets = numbers["offsets"]
    with LabelWriter(writer_path, scan_grid.scan_shape, count) as writer:

        def write(number: int) -> None:
            box, indices = scan_grid.filled_by(work.grid.box(number))
            if box.size == 0:
                return
            grown, names = read_labels(work, number)
            final = numbers["cored"][np.where(names == NO_LABEL, 0, names)]
            labels = np.zeros(box.shape, np.uint32)
            take_labels(grown, final, indices, labels)
            if offsets[number + 1] > offsets[number]:
                regions = work.read("coreless", number, "regions")["regions"]
                own = numbers["coreless"][offsets[number] : offsets[number + 1]]
                own = np.concatenate([np.zeros(1, np.uint32), own])
                take_labels(regions, own, indices, labels)
            work.cancel.check()
            writer.write(box, labels)

        work.each("Writing labels", range(len(work.grid)), write, here=True)
