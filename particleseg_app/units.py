"""Lengths in µm and in voxels, and boxes of voxels. Axis order is (z, y, x) everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from particleseg_app.errors import InvalidValueError

Shape = tuple[int, int, int]

MIN_VOXEL_SIZE_UM = 1e-3
MAX_VOXEL_SIZE_UM = 1e4
MIN_DIAMETER_VOXELS = 3.0
MAX_DIAMETER_VOXELS = 2000.0


def check_voxel_size(voxel_size_um: float) -> float:
    """Return the voxel size in µm, or raise `InvalidValueError` with the range that is possible."""
    if not math.isfinite(voxel_size_um) or not (
        MIN_VOXEL_SIZE_UM <= voxel_size_um <= MAX_VOXEL_SIZE_UM
    ):
        raise InvalidValueError(
            f"A voxel size of {voxel_size_um:g} µm is not possible.",
            f"Enter a size between {MIN_VOXEL_SIZE_UM:g} and {MAX_VOXEL_SIZE_UM:g} µm.",
        )
    return float(voxel_size_um)


def diameter_in_voxels(particle_diameter_um: float, voxel_size_um: float) -> float:
    """Diameter of an average particle in voxels; raise `InvalidValueError` if it is not usable."""
    check_voxel_size(voxel_size_um)
    if not math.isfinite(particle_diameter_um) or particle_diameter_um <= 0:
        raise InvalidValueError(
            f"A particle diameter of {particle_diameter_um:g} µm is not possible.",
            "Enter the diameter of an average particle in µm.",
        )
    diameter = particle_diameter_um / voxel_size_um
    if not MIN_DIAMETER_VOXELS <= diameter <= MAX_DIAMETER_VOXELS:
        raise InvalidValueError(
            f"An average particle would be {format_number(diameter)} voxels wide.",
            f"Check voxel size and particle diameter: between {MIN_DIAMETER_VOXELS:g} and "
            f"{MAX_DIAMETER_VOXELS:g} voxels is possible.",
        )
    return diameter


def check_diameter_fits(diameter_voxels: float, shape: Shape) -> None:
    """Raise `InvalidValueError` if a particle is wider than a whole scan of `shape` (z, y, x)."""
    if diameter_voxels > max(shape):
        raise InvalidValueError(
            f"An average particle would be {format_number(diameter_voxels)} voxels wide, "
            f"wider than the whole scan of {shape[2]} × {shape[1]} × {shape[0]} voxels.",
            "Check voxel size and particle diameter.",
        )


def scale_factor(
    target_diameter_voxels: float, particle_diameter_um: float, voxel_size_um: float
) -> float:
    """Factor from the scan's own grid to the working scale (000 §3.2.1): above 1 enlarges."""
    return target_diameter_voxels / diameter_in_voxels(particle_diameter_um, voxel_size_um)


@dataclass(frozen=True, order=True)
class Box:
    """A box of voxels, `start` inclusive and `stop` exclusive, each (z, y, x)."""

    start: Shape
    stop: Shape

    @staticmethod
    def whole(shape: Shape) -> Box:
        return Box((0, 0, 0), shape)

    @property
    def shape(self) -> Shape:
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """Slices of this box in an array that holds `outer`."""
        z, y, x = (
            slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True)
        )
        return z, y, x

    def intersection(self, other: Box) -> Box:
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(
            max(s, min(a, b)) for s, a, b in zip(start, self.stop, other.stop, strict=True)
        )
        return Box(start, stop)  # type: ignore[arg-type]

    def moved(self, by: Shape) -> Box:
        """This box `by` voxels (z, y, x) farther on."""
        start = tuple(a + n for a, n in zip(self.start, by, strict=True))
        stop = tuple(b + n for b, n in zip(self.stop, by, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]

    def expanded(self, halo: int, shape: Shape) -> Box:
        """This box with `halo` voxels more on each side, cut at a volume of `shape`."""
        start = tuple(max(0, a - halo) for a in self.start)
        stop = tuple(min(n, b + halo) for b, n in zip(self.stop, shape, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]


def bounding_box(*boxes: Box) -> Box:
    """The smallest box that holds all of these."""
    start = tuple(min(box.start[axis] for box in boxes) for axis in range(3))
    stop = tuple(max(box.stop[axis] for box in boxes) for axis in range(3))
    return Box(start, stop)  # type: ignore[arg-type]


def slabs(box: Box, most_voxels: int) -> Iterator[Box]:
    """Parts of a box along z, of whole slices and at most `most_voxels` where a slice has fewer."""
    depth = max(1, most_voxels // max(1, box.shape[1] * box.shape[2]))
    for z in range(box.start[0], box.stop[0], depth):
        yield Box((z, *box.start[1:]), (min(box.stop[0], z + depth), *box.stop[1:]))


def blocks(shape: Shape, block_shape: Shape) -> Iterator[Box]:
    """Boxes of `block_shape` (smaller at the far sides) that tile `shape`, in raster order."""
    for z in range(0, shape[0], block_shape[0]):
        for y in range(0, shape[1], block_shape[1]):
            for x in range(0, shape[2], block_shape[2]):
                stop = (
                    min(shape[0], z + block_shape[0]),
                    min(shape[1], y + block_shape[1]),
                    min(shape[2], x + block_shape[2]),
                )
                yield Box((z, y, x), stop)


def format_micrometres(value_um: float, digits: int = 3) -> str:
    """A length for people: a few significant digits, in µm below 1000 µm and in mm from there."""
    if not math.isfinite(value_um):
        return "–"
    if abs(value_um) >= 999.5:
        return f"{_significant(value_um / 1000, digits)} mm"
    return f"{_significant(value_um, digits)} µm"


def format_number(value: float, digits: int = 3) -> str:
    """A number for people, with at most so many significant digits: 2, 12.3, 1600."""
    return f"{float(f'{value:.{digits}g}'):.10g}"


def _significant(value: float, digits: int) -> str:
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0:
        return "0"
    # Of the rounded value, because rounding may have carried it to the next power of ten.
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded)) + 1e-9))
    return f"{rounded:.{decimals}f}"
