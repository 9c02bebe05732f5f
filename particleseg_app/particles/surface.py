"""Surface area from the voxel grid by Crofton's formula, and sphericity, which follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Share of the unit sphere that is nearest to each of the 26 directions between neighbouring
# voxels (areas of their Voronoi cells); 6 axes, 12 face diagonals and 8 body diagonals sum to 1.
AXIS_WEIGHT = 0.04577789
FACE_DIAGONAL_WEIGHT = 0.03698062
BODY_DIAGONAL_WEIGHT = 0.03519563


def surface_area(exits: NDArray[np.int64], voxel_size_um: float) -> NDArray[np.float64]:
    """Surface area in µm² of each particle.

    `exits` (n, 3) counts how often a line of voxels leaves the particle, summed over the 3 axes,
    the 6 face diagonals and the 4 body diagonals, each direction followed one way only.

    Lines of direction d are h²/|d| apart in area (h the voxel size, |d| in voxels), so crossings
    times h²/|d| estimate the projected area in that direction, counted at entry and exit;
    the surface is twice its mean over all directions. A line leaves a particle as often as it
    enters it, and a direction and its opposite have the same lines, hence the factor 2 · 2 · 2.
    """
    axes, faces, bodies = exits.astype(np.float64).T
    # Row by row, not as a matrix product, whose rounding depends on how many rows there are.
    mean = (
        axes * AXIS_WEIGHT
        + faces * (FACE_DIAGONAL_WEIGHT / np.sqrt(2.0))
        + bodies * (BODY_DIAGONAL_WEIGHT / np.sqrt(3.0))
    )
    area: NDArray[np.float64] = 8.0 * voxel_size_um**2 * mean
    return area


def equivalent_diameter(volume: ArrayLike) -> NDArray[np.float64]:
    """Diameter of the sphere of the same volume, (6V/π)^(1/3) (003 §2.4)."""
    return np.cbrt(6.0 * np.asarray(volume, dtype=np.float64) / np.pi)


def sphericity(volume: ArrayLike, surface: ArrayLike) -> NDArray[np.float64]:
    """Surface of the sphere of the same volume over the surface, π^(1/3) (6V)^(2/3) / S (003 §2.4).

    Not cut at 1: the estimate of the surface of a particle of a few voxels is too small, and a
    sphericity above 1 shows that.
    """
    sphere = np.cbrt(np.pi) * np.cbrt(6.0 * np.asarray(volume, dtype=np.float64)) ** 2
    return sphere / np.asarray(surface, dtype=np.float64)
