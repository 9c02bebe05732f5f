"""ThreshWater, the classical method: threshold, opening, eroded seeds, watershed (000 §4.3.1).

It gives border-core classes at the scan's own scale: core is the opened particle mask eroded by a
ball (the seeds), border the rest of it. `particles_from_classes` then grows the seeds through the
mask layer by layer, which is the watershed of a flat landscape; the small-core filter stays off.

Unlike the original, a region of the mask that holds no seed is not lost but stays one particle, and
the result does not depend on the blocks.
"""

from __future__ import annotations

import math

import numpy as np

from particleseg_app.segmentation.border_core import BACKGROUND, BORDER, CORE


def threshold_halo(opening_radius: float, erosion_radius: float) -> int:
    """Voxels around a block that its classes depend on: opening looks twice its radius away."""
    return 2 * math.floor(opening_radius) + math.floor(erosion_radius)


def threshold_classes(
    grey: np.ndarray,
    threshold: float,
    opening_radius: float,
    erosion_radius: float,
    bright_particles: bool = True,
) -> np.ndarray:
    """uint8 classes of `grey` (z, y, x): 0 background, 1 core (seed), 2 border.

    The mask is grey > `threshold` (or < for dark particles), opened by a ball of `opening_radius`
    voxels; a voxel of it is core when it is farther than `erosion_radius` from every voxel outside.
    Radii in voxels; what lies outside the array does not count. Of a block with `threshold_halo`
    voxels around it (fewer only at the scan's edge) the classes of the block are those of the whole
    scan; the halo's own are not.
    """
    mask = grey > threshold if bright_particles else grey < threshold
    if opening_radius >= 1:
        kept = _farther_than(mask, opening_radius)
        # Dilation: what lies within the radius of a voxel that was kept.
        mask = ~_farther_than(~kept, opening_radius) if kept.any() else kept
    core = _farther_than(mask, erosion_radius)
    classes = np.full(mask.shape, BACKGROUND, np.uint8)
    classes[mask] = BORDER
    classes[core] = CORE
    return classes


def _farther_than(mask: np.ndarray, distance: float) -> np.ndarray:
    """Voxels of a mask that are farther than `distance` from every voxel outside it."""
    import edt

    return edt.edtsq(np.ascontiguousarray(mask), black_border=False) > distance**2
