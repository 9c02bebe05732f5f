"""Border-core classes from labels, and particles from border-core classes in memory.

000 §3.2.2. Classes are uint8, axes (z, y, x): 0 background, 1 core, 2 border.
`border_core_to_particles` states the result in the plainest way; `particles_from_classes` gives
the same one block by block, and its tests hold it to this file.

Keys, ties and numbering (independent of any block shape)
- The key of a core is the raster index (z, y, x) of its first voxel; so is the key of a foreground
  component without a core.
- A border voxel belongs to the core that reaches it in the fewest layers of 26-neighbours inside
  the foreground; among equals to the core with the smallest key.
- Particles are numbered 1…n in the order of their keys.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from particleseg_app.segmentation.connected_regions import connected_regions

BACKGROUND, CORE, BORDER = 0, 1, 2

# Small-core filter (000 §4.2): at least 95 % of a core's voxels at most 1 voxel from its outside,
# and none 3 voxels or more.
NEAR_DISTANCE = 1
NEAR_PERCENT = 95
DEEP_DISTANCE = 3


def labels_to_border_core(labels: np.ndarray, border_thickness: float) -> np.ndarray:
    """Erode every particle by a ball; what goes is border, what stays is core (000 §3.2.2).

    `labels`: unsigned integers (z, y, x), 0 background. A voxel is core when the nearest voxel that
    is not of its own particle is farther than `border_thickness` (voxels, Euclidean); what lies
    outside the volume does not count. Returns uint8 classes of the same shape.
    """
    import edt

    squared = edt.edtsq(np.ascontiguousarray(labels), black_border=False)
    classes = np.where(squared > border_thickness**2, CORE, BORDER).astype(np.uint8)
    classes[labels == 0] = BACKGROUND
    return classes


def border_core_to_particles(classes: np.ndarray, small_core_filter: bool = True) -> np.ndarray:
    """Particles of uint8 classes (z, y, x) as uint32 labels 1…n, the whole volume in memory.

    Steps 1–4 of the conversion (000 §3.2.2, §4.2) by the rules at the top of this file.
    """
    cores = numbered_by_first_voxel(classes == CORE, connectivity=6)
    if small_core_filter:
        cores = np.where(np.isin(cores, small_cores(cores)), 0, cores)
    grown = grow_by_layers(cores, classes != BACKGROUND)
    coreless = numbered_by_first_voxel((classes != BACKGROUND) & (grown == 0), connectivity=26)

    # The key of a particle: the first voxel of its core, or of the whole of it without one.
    seeds = np.where(coreless > 0, np.int64(cores.max(initial=0)) + coreless, cores)
    found, first = np.unique(seeds, return_index=True)
    order = np.argsort(first[found > 0], kind="stable")
    numbers = np.zeros(int(seeds.max(initial=0)) + 1, np.uint32)
    numbers[found[found > 0][order]] = np.arange(1, order.size + 1, dtype=np.uint32)
    return numbers[np.where(coreless > 0, seeds, grown)]


def numbered_by_first_voxel(mask: np.ndarray, connectivity: Literal[6, 26]) -> np.ndarray:
    """Connected regions of a mask as int64 labels 1…n in the raster order of their first voxels."""
    regions, _ = connected_regions(mask, connectivity)
    found, first = np.unique(regions, return_index=True)
    numbers = np.zeros(int(found.max(initial=0)) + 1, np.int64)
    order = np.argsort(first[found > 0], kind="stable")
    numbers[found[found > 0][order]] = np.arange(1, order.size + 1)
    return numbers[regions]


def small_cores(cores: np.ndarray) -> np.ndarray:
    """Labels of the cores that the small-core filter takes away; `cores` is labelled (z, y, x).

    The distance is to the nearest voxel of no core; outside the volume there is none.
    """
    import edt

    squared = edt.edtsq(np.ascontiguousarray(cores > 0), black_border=False)
    count = np.bincount(cores.ravel())
    near = np.bincount(cores[squared <= NEAR_DISTANCE**2].ravel(), minlength=count.size)
    deep = np.bincount(cores[squared >= DEEP_DISTANCE**2].ravel(), minlength=count.size)
    small = (100 * near >= NEAR_PERCENT * count) & (deep == 0) & (count > 0)
    small[0] = False
    return np.flatnonzero(small)


def grow_by_layers(cores: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Grow labelled cores through `foreground`, one 26-neighbour layer at a time.

    A voxel takes the smallest label among those that reach it in the same layer.
    """
    from scipy import ndimage

    unreached = 1 << 40  # above any label, and exact in the filter's floating-point buffers
    grown = cores.copy()
    while True:
        candidates = ndimage.minimum_filter(
            np.where(grown == 0, unreached, grown), size=3, mode="constant", cval=unreached
        )
        layer = (grown == 0) & foreground & (candidates != unreached)
        if not layer.any():
            return grown
        grown[layer] = candidates[layer]
