"""Voxels whose class decides whether particles are joined or cut, found once for each scene.

What a network gets wrong there costs a whole particle, elsewhere a voxel. Two kinds:

- **bridges**: voxels that are no core but lie between the cores of two particles. Called core, they
  join the two.
- **necks**: core voxels at the narrow places of a particle's core, and all of a core that is small
  or thin. Not called core, they cut the particle, or leave it without a core beside its neighbours.

Both are approximations that follow from the labels alone. Whether a voxel really joins or cuts
depends on what the network says of all others, which would have to be worked out at each step.
"""

from __future__ import annotations

import math

import numpy as np

from particleseg_app.segmentation.connected_regions import connected_regions

NECK_DEPTHS = (1, 2)  # necks of cores up to twice as wide are found, in voxels
LEAST_PART = 20  # voxels of an eroded core that count as a part of their own


def bridge_voxels(labels: np.ndarray, core: np.ndarray, border_thickness: float) -> np.ndarray:
    """True between the cores of two particles, cores excluded; all (z, y, x).

    A voxel is between two cores when both are within one and a half times the border thickness (a
    cube). That is the middle of the gap between particles that touch face to face, whose cores are
    twice that thickness apart: nothing joins them that does not pass there.
    """
    from scipy import ndimage

    size = 2 * math.ceil(1.5 * border_thickness) + 1
    own = np.where(core, labels, 0).astype(np.int32)
    largest = ndimage.maximum_filter(own, size)
    # Voxels of no core must not count as the smaller of two labels.
    own[~core] = np.iinfo(np.int32).max
    smallest = ndimage.minimum_filter(own, size)
    return (largest > 0) & (smallest < largest) & ~core


def neck_voxels(labels: np.ndarray, core: np.ndarray) -> np.ndarray:
    """True in cores where they are narrow; all (z, y, x).

    Each core is eroded further. Where it falls into parts, the voxels between the parts are a neck;
    what lies clearly farther from any part than the erosion went, as all of a thin needle does, is
    narrow too.
    """
    import edt
    from scipy import ndimage

    own = np.where(core, labels, 0).astype(np.int32)
    boxes = ndimage.find_objects(own)
    depth = edt.edt(own.astype(np.uint32), black_border=False)
    necks = np.zeros(core.shape, bool)
    for narrow in NECK_DEPTHS:
        parts = _parts(core & (depth > narrow))
        reached = ndimage.maximum_filter((parts > 0).view(np.uint8), 2 * narrow + 3) > 0
        necks |= core & ~reached
        for label in _in_several(parts, own):
            box = boxes[label - 1]
            inside = own[box] == label
            necks[box] |= _meeting(np.where(inside, parts[box], 0), inside)
    return necks


def _parts(inner: np.ndarray) -> np.ndarray:
    """Regions of eroded cores, numbered; mere specks are left out."""
    regions, count = connected_regions(inner, 6)
    numbers = np.arange(count + 1, dtype=np.int32)
    numbers[np.bincount(regions.ravel(), minlength=count + 1) < LEAST_PART] = 0
    return numbers[regions]


def _in_several(parts: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Labels of the cores of which there is more than one part."""
    at = parts > 0
    owners = np.zeros(int(parts.max(initial=0)) + 1, np.int64)
    owners[parts[at]] = own[at]
    found, count = np.unique(owners[owners > 0], return_counts=True)
    return found[count > 1]


def _meeting(parts: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Voxels of one core at which parts of it meet when all grow through it, a layer at a time."""
    from scipy import ndimage

    while True:
        layer = np.where((parts == 0) & core, ndimage.maximum_filter(parts, 3), 0)
        if not layer.any():
            break
        parts = parts + layer
    largest = ndimage.maximum_filter(parts, 3)
    smallest = ndimage.minimum_filter(np.where(parts > 0, parts, np.iinfo(np.int32).max), 3)
    return core & (smallest < largest)
