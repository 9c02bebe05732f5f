"""How much of each particle lies outside a tube's inner wall, counted block by block."""

from __future__ import annotations

import numpy as np

from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.core_growth import latest, read_labels
from particleseg_app.segmentation.scan_grid import ScanGrid
from particleseg_app.segmentation.tube_wall import TubeWall
from particleseg_app.units import Box


def volumes_outside(
    work: BlockWork,
    scan_grid: ScanGrid,
    tube: TubeWall,
    core_count: int,
    offsets: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    """Voxels of the scan (int64) of each particle that are not inside `tube`.

    In the order of `core_count` cores by their labels 1…, then groups of coreless regions;
    `group[offsets[block] + local number - 1]` is the group of a region of a block. Each voxel of
    the scan is counted in the block that fills it, so the sums do not depend on the blocks. Piece
    `outside` of each block: `cored` for each of its names, `coreless` for each of its regions.
    """
    from particleseg_app.segmentation.region_growth import NO_LABEL

    def count(number: int) -> None:
        work.write("outside", number, _counts(work, scan_grid, tube, number))

    work.each("Finding parts of the tube", work.missing("outside"), count)
    outside = np.zeros(core_count + int(group.max(initial=-1)) + 1, np.int64)
    for number in range(len(work.grid)):
        work.cancel.check()
        counts = work.read("outside", number)
        names = latest(work, number, "names")["names"]
        cored = (names != 0) & (names != NO_LABEL)
        np.add.at(outside, names[cored].astype(np.int64) - 1, counts["cored"][cored])
        groups = group[offsets[number] : offsets[number + 1]]
        np.add.at(outside, core_count + groups, counts["coreless"])
    return outside


def _counts(
    work: BlockWork, scan_grid: ScanGrid, tube: TubeWall, number: int
) -> dict[str, np.ndarray]:
    from particleseg_app.segmentation.block_counts import counts_outside
    from particleseg_app.segmentation.region_growth import NO_LABEL

    names = latest(work, number, "names")["names"]
    regions = None
    if NO_LABEL in names:
        regions = work.read("coreless", number, "key")["key"].size
    counts = {
        "cored": np.zeros(names.size, np.int64),
        "coreless": np.zeros(regions or 0, np.int64),
    }
    box, indices = scan_grid.filled_by(work.grid.box(number))
    if box.size == 0 or not names.any():
        return counts
    begin, end = _rows_inside(tube, box, scan_grid.scan_shape[2])
    if (begin == 0).all() and (end == box.shape[2]).all():
        return counts
    work.cancel.check()
    labels, names = read_labels(work, number)
    counts["cored"] = counts_outside(labels, indices, begin, end, names.size - 1)
    if regions:
        labels = work.read("coreless", number, "regions")["regions"]
        counts["coreless"] = counts_outside(labels, indices, begin, end, regions)[1:]
    return counts


def _rows_inside(tube: TubeWall, box: Box, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the tube's inside begins and ends in each row of `box` (z, y), counted from its x."""
    y = np.arange(box.start[1], box.stop[1])
    rows = [tube.inside(z, y, width) for z in range(box.start[0], box.stop[0])]
    begin, end = (np.stack([row[side] for row in rows]) - box.start[2] for side in (0, 1))
    return np.clip(begin, 0, box.shape[2]), np.clip(end, 0, box.shape[2])
