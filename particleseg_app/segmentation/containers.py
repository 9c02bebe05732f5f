"""Parts of the container, told from particles by running through the scan along the tube's axis.

A thick tube wall is sometimes segmented as a few objects. Such an object lies in the first and in
the last slice (axis z, that of the sample tube). No particle does where the scan is several
particles high.
"""

from __future__ import annotations

import numpy as np

from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.core_growth import read_labels
from particleseg_app.segmentation.scan_grid import ScanGrid

# The least height of a scan, in average particle diameters, in which nothing that runs through it
# is a particle.
CONTAINER_DIAMETERS = 6


def may_hold_containers(scan_height: int, particle_diameter: float) -> bool:
    """Whether the rule holds in a scan of so many slices; the diameter is in voxels of the scan."""
    return scan_height >= CONTAINER_DIAMETERS * particle_diameter


def containers_note(count: int) -> str:
    """What a run says of the objects that it left out."""
    subject, verb = ("1 object", "runs") if count == 1 else (f"{count} objects", "run")
    return (
        f"{subject} that {verb} through the scan from the first to the last slice "
        f"{'was' if count == 1 else 'were'} left out as part of the container."
    )


def running_through(
    work: BlockWork, scan_grid: ScanGrid, core_count: int, offsets: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Which particles lie in the first and the last slice of the scan (bool).

    In the order of `core_count` cores by their labels 1…, then groups of coreless regions;
    `group[offsets[block] + local number - 1]` is the group of a region of a block.
    """
    sources = scan_grid.sources(0)
    ends = [
        _in_slice(work, scan_grid, int(sources[end]), core_count, offsets, group) for end in (0, -1)
    ]
    return ends[0] & ends[1]


def _in_slice(
    work: BlockWork,
    scan_grid: ScanGrid,
    working_slice: int,
    core_count: int,
    offsets: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    """Which particles have a voxel in the slice of the scan taken from this working slice."""
    from particleseg_app.segmentation.region_growth import NO_LABEL

    found = np.zeros(core_count + int(group.max(initial=-1)) + 1, bool)
    for number in range(len(work.grid)):
        box = work.grid.box(number)
        if not box.start[0] <= working_slice < box.stop[0]:
            continue
        work.cancel.check()
        _, in_y, in_x = (weights > 0 for weights in scan_grid.weights(box))
        z = working_slice - box.start[0]
        labels, names = read_labels(work, number)
        present = names[np.unique(labels[z][np.ix_(in_y, in_x)])]
        found[present[(present != 0) & (present != NO_LABEL)] - 1] = True
        if NO_LABEL in present:
            regions = work.read("coreless", number, "regions")["regions"]
            own = np.unique(regions[z][np.ix_(in_y, in_x)])
            found[core_count + group[offsets[number] + own[own > 0].astype(np.int64) - 1]] = True
    return found
