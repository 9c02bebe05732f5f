"""Ring artefacts, and the scan without them.

An element of the detector that reads wrong leaves a ring about the rotation axis in every slice it
sees (Sijbers and Postnov 2004, who find rings in polar coordinates, too). A network takes strong
ones for surfaces and cuts particles along them. A ring is thin along the radius and the same all
the way round, whatever particles lie there; so it shows in the mean over the angle of what a
median along the radius takes away. That is taken off when the network is shown the scan.
"""

from __future__ import annotations

import base64
import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter1d, median_filter, minimum_filter1d

from particleseg_app.cores import usable_cores
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.noise import two_kinds
from particleseg_app.segmentation.working_scale import ScanWithStatistics
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import GreyStatistics

# So many slices are looked at as their mean: a faulty element sees several slices.
SLAB = 4
# Slabs, spread evenly, in which it is decided whether there are rings, and about what.
SLABS_TRIED = 5
# Samples along the radius of which the median is taken: a ring is thinner than half of it.
WINDOW = 21
# Angles at which a circle is looked at, at most, and while the axis is looked for.
ANGLES, FEWER_ANGLES = 720, 180
# The axis is looked for about the middle of the picture, up to this share of its lesser side away,
# in steps of so many voxels.
FARTHEST, STEPS = 0.05, (4.0, 2.0, 1.0, 0.5)
# Places that are certainly not the axis, as shares of the sides away from it: what is seen about
# them is what chance and particles make.
ELSEWHERE = ((0.17, 0.0), (-0.17, 0.0), (0.0, 0.17), (0.0, -0.17))
LEAST_OVER_ELSEWHERE = 5.0
# The strongest ring must have this share of the contrast: weaker ones do the network no harm.
LEAST_RING = 0.3
# What stands out less than so many times its standard error is no ring; nor is there one so near
# to the axis, where a particle may be all there is at a radius.
LEAST_OVER_ERROR, LEAST_RADIUS = 3.0, 4
# Where all that lies at a radius changes by this share of the contrast there is a wall or an edge,
# but for small radii, where it may be a particle.
LEAST_STEP, LEAST_WALL_RADIUS, _BESIDE_STEPS = 0.5, 20, 17
# Along a circle, voxels nearer to each other than this are taken to show the same.
_INDEPENDENT_VOXELS = 3.0
# Fewer angles of a circle that lie in the picture tell nothing of it.
_FEWEST_ANGLES = 30
_SMALLEST_SIDE = 64
_ROWS_AT_ONCE = 256
# Each takes the memory of a slice or two.
_MOST_THREADS = 8


@dataclass(frozen=True)
class Rings:
    """`centre` (y, x) of the rings in voxels; `offsets` (slabs, radii) float32, how much brighter a
    circle is than those about it, in grey values of the scan, for slabs of `SLAB` slices and radii
    in whole voxels; `strongest` of them as a share of the contrast. Kept with a run."""

    centre: tuple[float, float]
    offsets: np.ndarray
    strongest: float

    def as_dict(self) -> dict[str, Any]:
        packed = zlib.compress(self.offsets.astype("<f4").tobytes())
        return self.in_short() | {
            "shape": list(self.offsets.shape),
            "offsets": base64.b64encode(packed).decode("ascii"),
        }

    def in_short(self) -> dict[str, Any]:
        """For a summary: without the offsets."""
        return {"centre": list(self.centre), "strongest": self.strongest}

    @staticmethod
    def from_dict(raw: dict[str, Any], shape: Shape) -> Rings:
        """Raises `KeyError`, `TypeError` or `ValueError` where they are none of such a scan."""
        y, x = (float(n) for n in raw["centre"])
        strongest = float(raw["strongest"])
        if not all(map(math.isfinite, (y, x, strongest))) or strongest <= 0:
            raise ValueError("impossible figures")
        if not (0 <= y < shape[1] and 0 <= x < shape[2]):
            raise ValueError("the axis is not in the scan")
        slabs, radii = _slab_count(shape[0]), _radius_count(shape, (y, x))
        size = 4 * slabs * radii
        packed = base64.b64decode(raw["offsets"], validate=True)
        try:
            data = zlib.decompressobj().decompress(packed, size)
        except zlib.error as error:
            raise ValueError("the offsets are damaged") from error
        if len(data) != size or list(raw["shape"]) != [slabs, radii]:
            raise ValueError("these are of another scan")
        offsets = np.frombuffer(data, "<f4").reshape(slabs, radii)
        if not np.isfinite(offsets).all():
            raise ValueError("impossible figures")
        return Rings((y, x), offsets, strongest)


class RinglessScan:
    """A scan that is read without its rings, float32; the same in whatever box."""

    def __init__(self, scan: ScanWithStatistics, rings: Rings) -> None:
        self.scan, self.rings = scan, rings

    @property
    def shape(self) -> Shape:
        return self.scan.shape

    @property
    def statistics(self) -> GreyStatistics:
        """Those of the scan: rings hardly move the histogram of all."""
        return self.scan.statistics

    def read(self, box: Box) -> np.ndarray:
        grey = self.scan.read(box).astype(np.float32)
        (z, y, x), (_, y_stop, x_stop) = box.start, box.stop
        radius = np.hypot(
            np.arange(y, y_stop)[:, None] - self.rings.centre[0],
            np.arange(x, x_stop)[None] - self.rings.centre[1],
        )
        inner = radius.astype(np.intp)
        part = (radius - inner).astype(np.float32)
        for index, slice_ in enumerate(grey):
            line = _of_slice(self.rings.offsets, z + index)
            slice_ -= line[inner] * (1 - part) + line[inner + 1] * part
        return grey


def rings_of(
    scan: ScanWithStatistics, progress: Progress, cancel: CancelToken, all_slices: bool = True
) -> Rings | None:
    """The rings of a scan; None where there are none worth a mention. Raises `Cancelled`.

    Reads 20 slices, and all of them once where there are rings; without `all_slices` those between
    are guessed from the 20.
    """
    progress.start("Looking for ring artefacts")
    if min(scan.shape[1:]) < _SMALLEST_SIDE:
        return None
    slabs = _slab_count(scan.shape[0])
    tried = sorted({int((n + 0.5) * slabs / SLABS_TRIED) for n in range(SLABS_TRIED)})
    planes = [_mean_plane(scan, slab, cancel) for slab in tried]
    contrast = _contrast(planes)
    if contrast <= 0:
        return None
    centre = _axis(planes[:: max(1, len(planes) // 2)], contrast, cancel)
    there = _evidence(planes, centre, contrast)
    height, width = scan.shape[1:]
    for down, across in ELSEWHERE:
        cancel.check()
        place = (centre[0] + down * height, centre[1] + across * width)
        if there < LEAST_OVER_ELSEWHERE * _evidence(planes, place, contrast):
            return None
    some = np.stack([_offsets(plane, centre, contrast)[0] for plane in planes])
    if _strongest(some) < LEAST_RING * contrast:
        return None
    if all_slices:
        offsets = np.zeros((slabs, some.shape[1]), np.float32)
        progress.start("Measuring ring artefacts", slabs, "steps")

        def measure(slab: int) -> None:
            offsets[slab] = _offsets(_mean_plane(scan, slab, cancel), centre, contrast)[0]
            progress.advance()

        with ThreadPoolExecutor(min(usable_cores(), _MOST_THREADS), "rings") as pool:
            for _ in pool.map(measure, range(slabs)):
                cancel.check()
    else:
        nearest = np.abs(np.subtract.outer(np.arange(slabs), tried)).argmin(axis=1)
        offsets = some[nearest]
    return Rings(centre, offsets, _strongest(offsets) / contrast)


def rings_note(rings: Rings) -> str:
    """What a run says of rings and of what it did."""
    return (
        f"The scan has ring artefacts (the strongest has {100 * rings.strongest:.0f} % of what "
        "particles stand out by). They were taken off before particles were looked for."
    )


def _slab_count(slices: int) -> int:
    return max(1, slices // SLAB)


def _radius_count(shape: Shape, centre: tuple[float, float]) -> int:
    """So many that the farthest corner lies between two of them."""
    farthest = math.hypot(
        max(centre[0], shape[1] - 1 - centre[0]), max(centre[1], shape[2] - 1 - centre[1])
    )
    return int(farthest) + 2


def _of_slice(offsets: np.ndarray, z: int) -> np.ndarray:
    """The offsets of slice `z`, between those of the middles of slabs."""
    place = min(max((z + 0.5) / SLAB - 0.5, 0.0), len(offsets) - 1.0)
    below = min(int(place), len(offsets) - 2) if len(offsets) > 1 else 0
    above = min(below + 1, len(offsets) - 1)
    part = np.float32(place - below)
    return offsets[below] * (1 - part) + offsets[above] * part


def _mean_plane(scan: ScanWithStatistics, slab: int, cancel: CancelToken) -> np.ndarray:
    """The mean of the slab's slices (y, x), float32; the last slab has all that is left."""
    depth, height, width = scan.shape
    first = SLAB * slab
    stop = depth if slab == _slab_count(depth) - 1 else first + SLAB
    plane = np.empty((height, width), np.float32)
    for y in range(0, height, _ROWS_AT_ONCE):
        cancel.check()
        rows = Box((first, y, 0), (stop, min(height, y + _ROWS_AT_ONCE), width))
        plane[y : y + _ROWS_AT_ONCE] = scan.read(rows).mean(axis=0, dtype=np.float32)
    return plane


def _offsets(
    plane: np.ndarray, centre: tuple[float, float], contrast: float, most_angles: int = ANGLES
) -> tuple[np.ndarray, np.ndarray]:
    """How much brighter each circle about `centre` is than those about it, where that is certain,
    and how many times its standard error that is, certain or not; both (radii,) float32.

    Beside the wall of a tube or the edge of a field of view, which go round as well, nothing is.
    """
    from particleseg_app.segmentation.running_median import running_median

    radii = np.arange(_radius_count((1, *plane.shape), centre), dtype=np.float32)
    angles = int(min(most_angles, 2 * math.pi * len(radii)))
    turn = np.linspace(0, 2 * math.pi, angles, endpoint=False, dtype=np.float32)[:, None]
    y, x = centre[0] + radii * np.sin(turn), centre[1] + radii * np.cos(turn)
    inside = (y >= 0) & (y <= plane.shape[0] - 1) & (x >= 0) & (x <= plane.shape[1] - 1)
    grey = map_coordinates(np.nan_to_num(plane), (y, x), order=1, mode="nearest")
    count = inside.sum(axis=0)
    share = count / angles
    independent = np.minimum(count, 2 * math.pi * radii * share / _INDEPENDENT_VOXELS)
    medians = running_median(grey, WINDOW)
    level = np.where(inside, medians, 0).sum(axis=0) / np.maximum(1, count)
    # Not the rings themselves, which may lie close together.
    level = median_filter(level, 2 * WINDOW - 1, mode="nearest")
    steps = maximum_filter1d(level, _BESIDE_STEPS) - minimum_filter1d(level, _BESIDE_STEPS)
    wall = (steps >= LEAST_STEP * contrast) & (radii >= LEAST_WALL_RADIUS)
    told = (count >= _FEWEST_ANGLES) & (radii >= LEAST_RADIUS) & ~wall
    rest = np.where(inside, grey - medians, np.inf)
    # The mean of the middle half: particles' edges and specks are in the others.
    ordered = np.sort(rest, axis=0)
    total = np.zeros((angles + 1, len(radii)))
    np.cumsum(np.where(np.isinf(ordered), 0, ordered), axis=0, out=total[1:])
    across = np.flatnonzero(told)
    low, high = count[told] // 4, count[told] - count[told] // 4
    offset, over = np.zeros(len(radii), np.float32), np.zeros(len(radii), np.float32)
    offset[told] = (total[high, across] - total[low, across]) / (high - low)
    spread = (ordered[high, across] - ordered[low, across]) / 1.349
    error = spread / np.sqrt(independent[told])
    over[told] = np.divide(offset[told], error, out=np.zeros(across.size), where=error > 0)
    offset[np.abs(over) < LEAST_OVER_ERROR] = 0
    return offset, over


def _evidence(
    planes: list[np.ndarray],
    centre: tuple[float, float],
    contrast: float,
    most_angles: int = ANGLES,
) -> float:
    """How much more the circles about `centre` differ than by chance; about 1 where they do not."""
    parts = []
    for plane in planes:
        over = _offsets(plane, centre, contrast, most_angles)[1]
        over = over[over != 0]
        if over.size:
            parts.append(float(np.mean(over**2)))
    return float(np.mean(parts)) if parts else 0.0


def _axis(planes: list[np.ndarray], contrast: float, cancel: CancelToken) -> tuple[float, float]:
    """Where, near the middle of the picture, the circles about a place differ most."""
    height, width = planes[0].shape
    middle = ((height - 1) / 2, (width - 1) / 2)
    farthest = max(STEPS[0], FARTHEST * min(height, width))
    known: dict[tuple[float, float], float] = {}

    def evidence(place: tuple[float, float]) -> float:
        if place not in known:
            cancel.check()
            known[place] = _evidence(planes, place, contrast, FEWER_ANGLES)
        return known[place]

    best = middle
    for step in STEPS:
        while True:
            around = [
                (best[0] + step * down, best[1] + step * across)
                for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1))
            ]
            around = [
                place
                for place in around
                if max(abs(place[0] - middle[0]), abs(place[1] - middle[1])) <= farthest
            ]
            better = max(around, key=evidence)
            if evidence(better) <= evidence(best):
                break
            best = better
    return best


def _contrast(planes: list[np.ndarray]) -> float:
    """Between bright and dark voxels, without rare outliers."""
    values = np.concatenate([plane[::3, ::3].ravel() for plane in planes])
    values = values[values > values.min()]
    if values.size == 0:
        return 0.0
    return two_kinds(np.clip(values, *np.percentile(values, (0.1, 99.9))), 0.0)[0]


def _strongest(offsets: np.ndarray) -> float:
    """Of the rings: the mean square over the slabs of the strongest one, its root."""
    return float(np.sqrt(np.mean(offsets.astype(np.float64) ** 2, axis=0)).max())
