"""Parts of the container, told from particles by where they lie; a run leaves them out.

A thick tube wall is sometimes segmented as a few objects, or as many specks. Where a tube was found
in the scan (`tube_wall`), what lies in its wall or beyond is no particle. In any case an object
that lies in the first and in the last slice (axis z, that of the sample tube) is none where the
scan is several particles high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.core_growth import read_labels
from particleseg_app.segmentation.scan_grid import ScanGrid
from particleseg_app.segmentation.tube_wall import TubeWall
from particleseg_app.units import format_micrometres

# The least height of a scan, in average particle diameters, in which nothing that runs through it
# is a particle.
CONTAINER_DIAMETERS = 6


@dataclass(frozen=True)
class LeftOut:
    """How many objects were left out: outside a tube's inner wall, and others that run through.

    Objects that are too small to be particles do not count.
    """

    outside_tube: int = 0
    running_through: int = 0

    @property
    def count(self) -> int:
        return self.outside_tube + self.running_through


def may_hold_containers(scan_height: int, particle_diameter: float) -> bool:
    """Whether what runs through a scan of so many slices is no particle (diameter in voxels)."""
    return scan_height >= CONTAINER_DIAMETERS * particle_diameter


def left_out_notes(
    left_out: LeftOut, tube: TubeWall | None, height: int, voxel_size_um: float
) -> list[str]:
    """What a run says of a tube in its scan of `height` slices, and of what it left out."""
    notes = []
    if tube is not None:
        width = format_micrometres(tube.inner_width(height) * voxel_size_um)
        count = left_out.outside_tube
        if count == 0:
            what = "nothing in or outside its wall had to be left out"
        elif count == 1:
            what = "1 object in or outside its wall was left out"
        else:
            what = f"{count} objects in or outside its wall were left out"
        notes.append(f"A tube {width} wide inside was found; {what}.")
    if left_out.running_through:
        count = left_out.running_through
        subject, verb = ("1 object", "runs") if count == 1 else (f"{count} objects", "run")
        notes.append(
            f"{subject} that {verb} through the scan from the first to the last slice "
            f"{'was' if count == 1 else 'were'} left out as part of the container."
        )
    return notes


def container_parts(
    work: BlockWork,
    scan_grid: ScanGrid,
    core_count: int,
    offsets: np.ndarray,
    group: np.ndarray,
    volumes: np.ndarray,
    through: bool,
    tube: TubeWall | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which particles lie outside the tube's inner wall, and which others run through (bool).

    Order and arguments as for `running_through`, whose rule holds with `through`; `volumes` are
    those of all particles in voxels of the scan.
    """
    from particleseg_app.segmentation.outside_tube import volumes_outside

    outside = np.zeros(volumes.size, bool)
    if tube is not None:
        outside = 2 * volumes_outside(work, scan_grid, tube, core_count, offsets, group) > volumes
    running = np.zeros(volumes.size, bool)
    if through:
        running = running_through(work, scan_grid, core_count, offsets, group) & ~outside
    return outside, running


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
