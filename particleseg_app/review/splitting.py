"""Splits a particle in two or more: by a given partition, by markers, by a drawn border.

Pure functions on a crop that holds the whole particle. The largest part keeps the particle's
number; the others get `new_label`, `new_label` + 1, … in the order of the parts. Every part is
26-connected, and none is a crumb (`fragments`; `smallest_particle`: the fewest voxels that the run
keeps as a particle). `InvalidValueError` where fewer than two parts are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.fragments import smallest_part, tidy_parts

Point = Sequence[float]
# Of cells (with a margin) and their factor: the landscape voxel by voxel, and its means over cells.
LandscapeOf = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

# Above this a particle is split on cells of 2³ voxels or more first, and voxel by voxel only near
# the cut: a particle of 200 voxels across has 4 million.
_MOST_AT_ONCE = 600_000
_SNAP = 3  # voxels that a marker may miss the particle by
_FARTHEST = 2**30
_MOST_SMALL = 100  # parts that are numbered in 8 bits
_SAMPLED = 100_000  # voxels that are enough for the median of grey values
FLAT = np.zeros((1, 1, 1), np.uint8)  # a landscape without hills


def split_by_cut(
    labels: np.ndarray,
    label: int,
    parts: np.ndarray,
    new_label: int,
    *,
    smallest_particle: float = 0.0,
) -> np.ndarray:
    """Split along a proposed cut. `parts` (z, y, x): a number above 0 for each part.

    Voxels of the particle that are in no part go to the part they are next to.
    """
    from particleseg_app.review.part_kernels import part_sizes, parts_with_margin

    inside, count = _particle(labels, label)
    small = int(parts.max(initial=0)) <= _MOST_SMALL
    placed = np.full(inside.shape, -1, np.int8 if small else np.int32)
    parts_with_margin(parts, inside, placed)
    if np.count_nonzero(part_sizes(placed, int(placed.max()))) < 2:
        raise InvalidValueError("The proposed cut leaves the particle in one piece.")
    _fill(placed, FLAT)
    smallest = smallest_part(count, smallest_particle)
    return _numbered(labels, label, placed, new_label, smallest)


def split_by_markers(
    labels: np.ndarray,
    grey: np.ndarray | None,
    label: int,
    markers: Sequence[Point],
    new_label: int,
    *,
    by: Literal["shape", "grey"] = "shape",
    smallest_particle: float = 0.0,
) -> np.ndarray:
    """Split by one marker (z, y, x) in each part, in voxels of the crop.

    Watershed from the markers: `by` "shape" cuts at the necks of the particle (distance to its
    surface), "grey" where the grey values are nearest to those around the particle. A marker
    counts from the top of the hill it stands on, so that it may be anywhere in its part; markers
    on one hill share it by the way to them.
    """
    inside, count = _particle(labels, label)
    if len(markers) < 2:
        raise InvalidValueError("A split needs at least two markers.", "Place one in each part.")
    seeds = [_seed(inside, point, i) for i, point in enumerate(markers, start=1)]
    if len(set(seeds)) < len(seeds):
        raise InvalidValueError("Two markers are at the same place.", "Move one of them.")
    landscape = None
    if by == "grey":
        if grey is None:
            raise ValueError("no grey values")
        landscape = _grey_landscape(labels, label, grey, inside)
    parts = _partition(inside, count, seeds, lambda cells, _: _surface_distance(cells), landscape)
    smallest = smallest_part(count, smallest_particle)
    return _numbered(labels, label, parts, new_label, smallest)


def split_by_border_stroke(
    labels: np.ndarray,
    label: int,
    stroke: np.ndarray,
    marker_a: Point,
    marker_b: Point,
    new_label: int,
    *,
    smallest_particle: float = 0.0,
) -> np.ndarray:
    """Split along a border drawn on a slice, with a marker on each side of it (000 §3.1).

    `stroke` (n, 3) are the points of the drawn line, (z, y, x) in voxels of the crop. The geodesic
    distance of every voxel of the particle to the line is flooded from the two markers, far
    before near, so that they meet at the line and at what continues it in depth.
    """
    inside, count = _particle(labels, label)
    drawn = rasterised(stroke, labels.shape)
    drawn = drawn[inside[tuple((drawn + 1).T)] > 0]
    if not len(drawn):
        raise InvalidValueError(
            "The drawn border does not cross the particle.", "Draw it over the particle."
        )
    seeds = [_seed(inside, marker_a, 1), _seed(inside, marker_b, 2)]
    if seeds[0] == seeds[1]:
        raise InvalidValueError("Both markers are at the same place.", "Put one on each side.")

    def distance(cells: np.ndarray, factor: int) -> np.ndarray:
        from particleseg_app.review.flood_kernels import geodesic_distance

        places = np.unique(np.ravel_multi_index(tuple((drawn // factor + 1).T), cells.shape))
        found = geodesic_distance(cells, places, _FARTHEST).astype(np.float32)
        found[found >= _FARTHEST] = 0
        return found

    parts = _partition(inside, count, seeds, distance, None)
    smallest = smallest_part(count, smallest_particle)
    return _numbered(labels, label, parts, new_label, smallest)


def rasterised(stroke: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels (n, 3) that the line through the points of `stroke` passes, inside `shape`."""
    points = np.asarray(stroke, dtype=np.float64).reshape(-1, 3)
    pieces = [points]
    for a, b in pairwise(points):
        steps = max(2, int(np.abs(b - a).max() * 2) + 1)
        pieces.append(a + np.linspace(0, 1, steps)[:, None] * (b - a))
    voxels = np.unique(np.rint(np.concatenate(pieces)).astype(np.int64), axis=0)
    return voxels[((voxels >= 0) & (voxels < np.array(shape))).all(axis=1)]


def _partition(
    mask: np.ndarray,
    count: int,
    seeds: Sequence[tuple[int, int, int]],
    height_of: Callable[[np.ndarray, int], np.ndarray],
    landscape_of: LandscapeOf | None,
) -> np.ndarray:
    """Parts 1…n of the particle (`mask`, with a margin; `count` voxels), one a seed; else -1.

    Flooded are the hills of `height_of` (cells, their factor), from the top down, or the landscape.
    """
    from particleseg_app.review.flood_kernels import climb
    from particleseg_app.review.part_kernels import spread_parts, thinned

    factor = max(1, int(np.ceil((count / _MOST_AT_ONCE) ** (1 / 3))))
    if len({tuple(c // factor for c in seed) for seed in seeds}) < len(seeds):
        factor = 1  # two markers in one cell
    cells = mask if factor == 1 else thinned(mask, factor)
    landscape = FLAT
    if landscape_of is None:
        heights = height_of(cells, factor)
    else:
        landscape, means = landscape_of(cells, factor)
        heights = 255.0 - means
        # Level ground again, which the means over cells have made uneven.
        level = heights[cells > 0]
        heights = np.minimum(heights, np.median(level[:: max(1, level.size // _SAMPLED)]))
    heights = np.where(cells, heights, -1).astype(np.float32)
    starts = [
        int(np.ravel_multi_index(tuple(c // factor + 1 for c in seed), cells.shape))
        for seed in seeds
    ]
    ways = [climb(heights, start) for start in starts]
    # Small numbers, so that more of the particle is in the processor's cache.
    parts = np.where(cells, 0, -1).astype(np.int8 if len(seeds) <= _MOST_SMALL else np.int32)
    flat = parts.reshape(-1)
    tops: dict[int, list[int]] = {}
    for number, way in enumerate(ways, start=1):
        tops.setdefault(int(way[-1]), []).append(number)
    for sharing in tops.values():
        for number in sharing:
            flat[ways[number - 1]] = sharing[0]
    _fill(parts, _low_to_high(heights))
    for sharing in tops.values():
        if len(sharing) > 1:
            flat[flat == sharing[0]] = 0
            for number in sharing:
                flat[starts[number - 1]] = number
            _fill(parts, FLAT)
    if factor > 1:
        parts = spread_parts(parts, mask, factor)
        for number, seed in enumerate(seeds, start=1):
            parts[seed[0] + 1, seed[1] + 1, seed[2] + 1] = number
        _fill(parts, landscape)
    return parts


def _fill(parts: np.ndarray, landscape: np.ndarray) -> None:
    """Flood the zeros of `parts`; pieces that touch no part go with the nearest one."""
    from particleseg_app.review.flood_kernels import flood

    if flood(parts, landscape, False) and flood(parts, landscape, True):
        from scipy.ndimage import distance_transform_edt

        left = parts == 0
        nearest = distance_transform_edt(parts <= 0, return_distances=False, return_indices=True)
        parts[left] = parts[tuple(n[left] for n in nearest)]


def _low_to_high(heights: np.ndarray) -> np.ndarray:
    """Heights as a landscape of 256 levels, upside down: what is highest is flooded first."""
    top = max(float(heights.max()), 1e-6)
    levels = np.clip(heights, 0, None)
    levels *= -255.0 / top
    levels += 255.0
    return levels.astype(np.uint8)


def _surface_distance(cells: np.ndarray) -> np.ndarray:
    import edt

    distance: np.ndarray = edt.edt(cells, black_border=False, parallel=2)
    return distance


def _grey_landscape(
    labels: np.ndarray, label: int, grey: np.ndarray, inside: np.ndarray
) -> LandscapeOf:
    """0 where a voxel differs from the background as the particle's own do, 255 where not; and the
    means of that over cells."""
    from particleseg_app.review.part_kernels import grey_landscape

    step = max(1, int((labels.size / _SAMPLED) ** (1 / 3)))
    some = (slice(None, None, step),) * 3
    background = grey[some][labels[some] == 0]
    if not background.size:
        raise InvalidValueError(
            "There is no background around the particle to compare grey values with.",
            "Split it by its shape.",
        )
    around = float(np.median(background))
    own = grey[some][labels[some] == label]
    if not own.size:
        own = grey[labels == label]
    # Half of the particle's voxels are level ground, so that noise cannot fence a marker in.
    highest = float(np.median(np.abs(own.astype(np.float64) - around)))
    if highest <= 0:
        raise InvalidValueError(
            "The particle is as bright as the background around it.", "Split it by its shape."
        )

    nearness = np.zeros(0, np.uint8)
    if grey.dtype.kind == "u" and grey.dtype.itemsize <= 2:
        values = np.arange(np.iinfo(grey.dtype).max + 1)
        nearness = np.maximum(0.0, 255 - np.abs(values - around) * 255 / highest).astype(np.uint8)

    def of_cells(cells: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        landscape, means = grey_landscape(grey, inside, cells, factor, around, highest, nearness)
        return landscape, means

    return of_cells


def _numbered(
    labels: np.ndarray, label: int, parts: np.ndarray, new_label: int, smallest: int
) -> np.ndarray:
    """The crop with the parts (with a margin) as particles, tidied up in place: those of fewer
    than `smallest` voxels go with others; the largest one keeps the label."""
    from particleseg_app.review.part_kernels import part_sizes, write_parts

    if np.count_nonzero(part_sizes(parts, int(parts.max()))) < 2:
        raise InvalidValueError(
            "The particle stays in one piece.", "Move the markers further apart."
        )
    tidy_parts(parts, smallest)
    sizes = part_sizes(parts, int(parts.max()))
    present = np.flatnonzero(sizes)
    if present.size < 2:
        raise InvalidValueError(
            f"One part would have fewer than {smallest} voxels, too few for a particle.",
            "Split it at another place.",
        )
    numbers = np.zeros(sizes.size, np.uint32)
    others = present[present != np.argmax(sizes)]
    numbers[np.argmax(sizes)] = label
    numbers[others] = np.arange(new_label, new_label + others.size)
    after = labels.copy()
    write_parts(after, parts, numbers)
    return after


def _particle(labels: np.ndarray, label: int) -> tuple[np.ndarray, int]:
    """The particle as uint8 with a margin, and its voxels."""
    from particleseg_app.review.part_kernels import particle_mask

    inside, count = particle_mask(labels, label)
    if label <= 0 or not count:
        raise InvalidValueError(f"Particle {label} is not there.", "Choose another one.")
    return inside, count


def _seed(inside: np.ndarray, point: Point, number: int) -> tuple[int, int, int]:
    """The voxel of the particle (with a margin) at, or very near to, a marker; without margin."""
    at = np.rint(np.asarray(point, dtype=np.float64)).astype(np.int64)
    low = np.maximum(at - _SNAP, 0)
    high = np.maximum(at + _SNAP + 1, low)
    near = inside[tuple(slice(a + 1, b + 1) for a, b in zip(low, high, strict=True))]
    places = np.argwhere(near) + low
    if not len(places):
        raise InvalidValueError(
            f"Marker {number} does not lie in the particle.", "Place it inside the particle."
        )
    z, y, x = places[np.argmin(((places - at) ** 2).sum(axis=1))].tolist()
    return z, y, x
