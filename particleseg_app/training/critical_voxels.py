"""Voxels whose class decides whether particles are joined or cut, found once for each scene.

What a network gets wrong there costs a whole particle, elsewhere a voxel. Two kinds:

- **bridges**: voxels that are no core but lie between the cores of two particles. Called core, they
  join the two.
- **necks**: core voxels at the narrow places of a particle's core. Not called core, they cut it.

Both are approximations that follow from the labels alone. Whether a voxel really joins or cuts
depends on what the network says of all others, which would have to be worked out at each step.
"""

from __future__ import annotations

import math

import numpy as np

from particleseg_app.segmentation.connected_regions import connected_regions

NECK_DEPTHS = (1.0, 2.0)  # necks of cores up to twice as wide are found, in voxels
LEAST_PART = 20  # voxels of an eroded core that count as a part of their own


def bridge_voxels(labels: np.ndarray, core: np.ndarray, border_thickness: float) -> np.ndarray:
    """True between the cores of two particles, cores excluded; all (z, y, x).

    A voxel is between two cores when both are within twice the border thickness (a cube): so far
    apart are the cores of two particles that touch face to face.
    """
    from scipy import ndimage

    size = 2 * math.ceil(2 * border_thickness) + 1
    own = np.where(core, labels, 0).astype(np.int32)
    largest = ndimage.maximum_filter(own, size)
    # Voxels of no core must not count as the smaller of two labels.
    own[~core] = np.iinfo(np.int32).max
    smallest = ndimage.minimum_filter(own, size)
    return (largest > 0) & (smallest < largest) & ~core


def neck_voxels(labels: np.ndarray, core: np.ndarray) -> np.ndarray:
    """True in cores where they are narrow; all (z, y, x).

    Each core is eroded further. Where it falls into parts, the voxels between the parts are a neck;
    what lies farther from any part than the erosion went, as all of a thin needle does, is narrow
    too.
    """
    import edt

    own = np.where(core, labels, 0).astype(np.uint32)
    depth = edt.edt(own, black_border=False)
    necks = np.zeros(core.shape, bool)
    for narrow in NECK_DEPTHS:
        inner = core & (depth > narrow)
        parts, _ = connected_regions(inner, 6)
        parts = np.asarray(parts)
        sizes = np.bincount(parts.ravel())
        parts = np.where(sizes[parts] >= LEAST_PART, parts, 0)
        necks |= core & (_away(parts > 0) > narrow + 1.5)
        necks |= _between_parts(parts, own)
    return necks


def _away(mask: np.ndarray) -> np.ndarray:
    """Distance of each voxel to the mask, in voxels; infinite where there is none."""
    import edt

    return np.asarray(edt.edt(~mask, black_border=False))


def _between_parts(parts: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Voxels of a core at which two of its parts meet when both grow through it."""
    from scipy import ndimage

    owners = np.zeros(int(parts.max()) + 1, np.int64)
    owners[parts.ravel()] = own.ravel()
    many = np.bincount(owners[1:], minlength=int(own.max()) + 1) > 1
    many[0] = False
    meeting = np.zeros(parts.shape, bool)
    for label in np.flatnonzero(many):
        inside = own == label
        (box,) = ndimage.find_objects(inside.astype(np.uint8))
        core, seeds = inside[box], np.where(inside[box], parts[box], 0)
        grown = _grown(seeds, core)
        largest = ndimage.maximum_filter(grown, 3)
        smallest = ndimage.minimum_filter(np.where(grown > 0, grown, np.iinfo(np.int32).max), 3)
        meeting[box] |= core & (smallest < largest)
    return meeting


def _grown(seeds: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Parts grown through a core, a layer of 26 neighbours at a time, the larger number first."""
    from scipy import ndimage

    grown = seeds.astype(np.int32)
    while True:
        layer = np.where((grown == 0) & core, ndimage.maximum_filter(grown, 3), 0)
        if not layer.any():
            return grown
        grown += layer
