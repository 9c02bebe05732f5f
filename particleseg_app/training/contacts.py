"""Where particles touch: the voxels that matter most when learning to part them."""

from __future__ import annotations

import numpy as np


def contact_voxels(labels: np.ndarray, reach: int = 2) -> np.ndarray:
    """True where two particles meet within `reach` voxels, in them and in the gap; (z, y, x)."""
    from scipy import ndimage

    size = 2 * reach + 1
    largest = ndimage.maximum_filter(labels, size)
    # Background must not count as the smaller of two labels.
    smallest = ndimage.minimum_filter(np.where(labels > 0, labels, np.iinfo(np.uint32).max), size)
    return (largest > 0) & (smallest < largest)
