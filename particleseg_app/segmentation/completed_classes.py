"""Border-core classes of a scan, completed by what a coarser look shows inside large particles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.segmentation.block_work import ClassesVolume
from particleseg_app.segmentation.border_core import BACKGROUND, BORDER, CORE
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.units import Box, Shape


@dataclass(frozen=True)
class Inside:
    """The inside of large particles at a coarser scale: `CORE`, around it `BORDER`, else 0.

    `count` particles; only the blocks in `written` hold any of them.
    """

    pieces: ClassPieces
    written: frozenset[int]
    count: int

    def read(self, box: Box) -> np.ndarray:
        found = np.zeros(box.shape, np.uint8)
        for index in self.written:
            shared = box.intersection(self.pieces.boxes[index])
            if shared.size:
                found[shared.within(box)] = self.pieces.read(shared)
        return found


@dataclass(frozen=True)
class CompletedClasses:
    """Border-core classes at the finer scale, with what lies inside large particles."""

    finer: ClassesVolume
    inside: Inside

    @property
    def shape(self) -> Shape:
        return self.finer.shape

    def read(self, box: Box) -> np.ndarray:
        """uint8 classes (z, y, x) of any box."""
        classes = self.finer.read(box)
        index = _nearest(box, self.shape, self.inside.pieces.shape)
        inside = self.inside.read(_spanned(index))
        if not inside.any():
            return classes
        inside = inside[_from_first(index)]
        classes = classes.copy()
        classes[(inside == BORDER) & (classes == BACKGROUND)] = BORDER
        classes[inside == CORE] = CORE
        return classes


def _nearest(box: Box, shape: Shape, other: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along each axis the voxel of a grid of `other` shape that is nearest to each of `box`."""
    z, y, x = (
        (2 * np.arange(start, stop) + 1) * there // (2 * here)
        for start, stop, here, there in zip(box.start, box.stop, shape, other, strict=True)
    )
    return z, y, x


def _spanned(index: tuple[np.ndarray, ...]) -> Box:
    start = tuple(int(along[0]) for along in index)
    stop = tuple(int(along[-1]) + 1 for along in index)
    return Box(start, stop)  # type: ignore[arg-type]


def _from_first(index: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return np.ix_(*(along - along[0] for along in index))


def sampled(finer: ClassesVolume, box: Box, shape: Shape) -> np.ndarray:
    """Classes of the finer volume in the middle of each voxel of `box`, which is coarser."""
    index = _nearest(box, shape, finer.shape)
    return finer.read(_spanned(index))[_from_first(index)]
