"""Which particles touch given ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from particleseg_app.progress import CancelToken
from particleseg_app.units import Box, Shape, blocks

BLOCK = (96, 96, 96)  # read at once, so that a huge particle does not need huge memory


class BoxLabels(Protocol):
    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


def touching_particles(
    labels: BoxLabels, particles: Iterable[int], boxes: Iterable[Box], cancel: CancelToken
) -> set[int]:
    """Particles with a voxel beside (face, edge or corner) one of `particles`, without these.

    `boxes` hold all voxels of the particles, one box each.
    """
    own = np.array(sorted(particles), np.uint32)
    found: set[int] = set()
    for whole in boxes:
        for part in blocks(whole.shape, BLOCK):
            cancel.check()
            crop = labels.read(part.moved(whole.start).expanded(1, labels.shape))
            mask = np.isin(crop, own)
            if mask.any():
                found.update(int(n) for n in np.unique(crop[_grown(mask) & ~mask]) if n)
    return found


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and every voxel beside it."""
    grown = mask
    for axis in range(3):
        result = grown.copy()
        ahead: list[slice] = [slice(None)] * 3
        behind: list[slice] = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        result[tuple(ahead)] |= grown[tuple(behind)]
        result[tuple(behind)] |= grown[tuple(ahead)]
        grown = result
    return grown
