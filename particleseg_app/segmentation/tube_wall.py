"""The sample tube in a scan, found from its grey values, and which voxels lie outside its inside.

The tube stands along z; it may lean, and its centre and radii drift linearly with the height. A few
slices are looked at, coarsely: first the middle ones, and only if a wall is certain there, others
over the whole height, which must all agree. What a picture must show is said in `tube_ring`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from scipy.ndimage import gaussian_filter

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.tube_rays import tolerance
from particleseg_app.segmentation.tube_ring import Ring, find_ring, ring_near
from particleseg_app.units import Box, Shape

# At so many heights at the most; of each so many slices are averaged.
_MOST_HEIGHTS = 8
_SLICES = 5
# The longer side of a picture in pixels, at the most.
_MOST_PIXELS = 1024
# Rows of the scan that are read at once, as many as a chunk of the file has.
_ROWS = 64
# How much the tube may lean or widen, in voxels a slice.
_STEEPEST = 0.25


class GreyVolume(Protocol):
    """Grey values on disk, axes (z, y, x)."""

    @property
    def shape(self) -> Shape: ...

    def read(self, box: Box) -> np.ndarray: ...


@dataclass(frozen=True)
class Line:
    """`start` + `slope` · z, in voxels, for slice z."""

    start: float
    slope: float

    def at(self, z: float) -> float:
        return self.start + self.slope * z


@dataclass(frozen=True)
class TubeWall:
    """A tube along z: its axis and inner radius, and the outer radius where that is in the scan.

    Lengths in voxels, places are those of voxel centres (0 is the middle of the first voxel).
    """

    axis_y: Line
    axis_x: Line
    inner: Line
    outer: Line | None = None
    # How far beyond the inner radius its inside reaches where it is not quite round.
    bulge: float = 0.0

    def inside(self, z: int, y: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the rows `y` of slice z, where the space inside the wall begins and ends (int64).

        Voxels `begin` to `end` - 1 of a row of `width` voxels lie inside; none if both are equal.
        """
        radius = self.inner.at(z) + self.bulge
        square = radius**2 - (np.asarray(y, np.float64) - self.axis_y.at(z)) ** 2
        half = np.sqrt(np.maximum(square, 0.0))
        begin = np.ceil(self.axis_x.at(z) - half)
        end = np.where(square < 0, begin, np.floor(self.axis_x.at(z) + half) + 1)
        begin, end = (np.clip(v, 0, width).astype(np.int64) for v in (begin, end))
        return begin, np.maximum(begin, end)

    def inner_width(self, height: int) -> float:
        """The inner diameter half way up a scan of so many slices, in voxels."""
        return 2 * self.inner.at((height - 1) / 2)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> TubeWall:
        """The tube from JSON; `KeyError` or `TypeError` where that is something else."""
        lines = {name: None if raw[name] is None else Line(**raw[name]) for name in _LINES}
        return TubeWall(**lines, bulge=float(raw["bulge"]))  # type: ignore[arg-type]


_LINES = ("axis_y", "axis_x", "inner", "outer")


def find_tube(
    scan: GreyVolume, particle_diameter: float, progress: Progress, cancel: CancelToken
) -> TubeWall | None:
    """The tube around the particles (diameter in voxels), or None where none is certain.

    The same grey values give the same answer. Memory: one coarse picture, and 64 rows of 5 slices.
    """
    height = scan.shape[0]
    count = min(_MOST_HEIGHTS, math.ceil(height / _SLICES))
    heights = [(2 * number + 1) * height / (2 * count) - 0.5 for number in range(count)]
    # The middle first: most scans have no tube, and are done with.
    heights.sort(key=lambda z: abs(z - (height - 1) / 2))
    progress.start("Looking for a sample tube")
    rings: list[tuple[float, Ring]] = []
    factor = math.ceil(max(scan.shape[1:]) / _MOST_PIXELS)
    for z in heights:
        picture, middle = _picture(scan, z, factor, cancel)
        cancel.check()
        diameter = particle_diameter / factor
        # Where the wall is at one height, it is near that at the next.
        ring = (
            ring_near(picture, _nearest(rings, z), diameter)
            if rings
            else find_ring(picture, diameter, cancel)
        )
        if ring is None:
            return None
        rings.append((middle, ring))
    # A round hole in a block of something is no tube.
    return _through(rings, factor) if any(ring.filled for _, ring in rings) else None


def _picture(
    scan: GreyVolume, z: float, factor: int, cancel: CancelToken
) -> tuple[np.ndarray, float]:
    """The mean of some slices about height z, float32 (y, x), and the height of their middle.

    A pixel is the mean of `factor`² voxels; rows and columns that do not fill one are left out.
    Averaging and a slight blur take the noise away.
    """
    slices = min(_SLICES, scan.shape[0])
    first = min(max(0, round(z - (slices - 1) / 2)), scan.shape[0] - slices)
    height, width = (n // factor for n in scan.shape[1:])
    picture = np.empty((height, width), np.float32)
    rows = max(1, _ROWS // factor)
    for top in range(0, height, rows):
        cancel.check()
        bottom = min(height, top + rows)
        box = Box((first, top * factor, 0), (first + slices, bottom * factor, width * factor))
        part = scan.read(box).mean(axis=0, dtype=np.float64)
        cells = part.reshape(bottom - top, factor, width, factor)
        picture[top:bottom] = cells.mean(axis=(1, 3))
    return gaussian_filter(picture, 1.0), first + (slices - 1) / 2


def _nearest(rings: list[tuple[float, Ring]], z: float) -> Ring:
    return min(rings, key=lambda one: abs(one[0] - z))[1]


def _through(rings: list[tuple[float, Ring]], factor: int) -> TubeWall | None:
    """The tube through rings at several heights, None where they are not in line."""
    z = np.array([middle for middle, _ in rings])
    radius = rings[0][1].inner.radius

    def line(values: list[float], shift: float, certain: bool = True) -> Line | None:
        array = np.array(values)
        slope, start = np.polyfit(z, array, 1) if z.size > 1 else (0.0, array[0])
        off = np.abs(array - (start + slope * z)).max()
        if certain and (off > tolerance(radius) or abs(slope) * factor > _STEEPEST):
            return None
        return Line(float(start * factor + shift), float(slope * factor))

    # The middle of the first pixel lies in the middle of the voxels that it is the mean of.
    shift = (factor - 1) / 2
    axis_y = line([ring.inner.y for _, ring in rings], shift)
    axis_x = line([ring.inner.x for _, ring in rings], shift)
    inner = line([ring.inner.radius for _, ring in rings], 0.0)
    if axis_y is None or axis_x is None or inner is None:
        return None
    # Turned, moulded or with a cap: the outer side may have any profile.
    outside = [ring.outer.radius for _, ring in rings if ring.outer is not None]
    outer = line(outside, 0.0, certain=False) if len(outside) == len(rings) else None
    bulge = max(ring.bulge for _, ring in rings) * factor
    return TubeWall(axis_y, axis_x, inner, outer, bulge)
