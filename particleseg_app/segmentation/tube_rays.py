"""Rays through a picture of one slice, and circles through what they meet: where a tube may be.

All lengths are in pixels of the picture, places are (y, x). Nothing here decides whether there is a
tube; see `tube_ring`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from particleseg_app.progress import CancelToken

RAYS = 360
# For a first look.
_FEW_RAYS = 180
# Places from which rays are cast: so many along each side of the picture.
_ORIGINS = 5
# Grey levels that are tried as the limit between dark and bright.
_LEVELS = 12
# The longer side of a picture in which circles are looked for, in pixels, at the most.
_MOST_PIXELS = 512
_CIRCLES_TRIED = 120
_LEAST_POINTS = 20
_SEED = 4711


@dataclass(frozen=True)
class Circle:
    """A circle; its centre may lie outside the picture."""

    y: float
    x: float
    radius: float


def tolerance(radius: float) -> float:
    """How far a point may lie off a circle and still belong to it: tubes are not quite round."""
    return 1.5 + 0.015 * radius


def cast_rays(
    picture: np.ndarray, y: float, x: float, reach: int, rays: int = RAYS
) -> tuple[np.ndarray, np.ndarray]:
    """Grey values along rays from (y, x), float32 (ray, distance), and the angles of the rays.

    Distances are 0, 1 … `reach` - 1; NaN lies outside the picture.
    """
    angles = np.arange(rays) * (2 * np.pi / rays)
    distance = np.arange(reach, dtype=np.float64)
    at_y = y + np.sin(angles)[:, None] * distance
    at_x = x + np.cos(angles)[:, None] * distance
    values = map_coordinates(picture, [at_y, at_x], order=1, mode="nearest")
    height, width = picture.shape
    outside = (at_y < 0) | (at_y > height - 1) | (at_x < 0) | (at_x > width - 1)
    values[outside] = np.nan
    return values, angles


def runs_about(
    values: np.ndarray, level: float, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the bright run about the place `middle[ray]` of each ray begins and ends.

    `begin` is NaN where it is bright from the first pixel that is in the picture, `end` where it is
    bright to the last one; both are NaN where it is not bright at `middle`. Between two pixels the
    place is where the grey value would be `level`.
    """
    rays, reach = values.shape
    place = np.arange(reach)
    row = np.arange(rays)
    # What is outside the picture is not bright.
    bright = values > level
    ok = bright[row, middle]
    seen = ~np.isnan(values)
    before = _last(~bright & (place < middle[:, None]))
    after = reach - 1 - _last((~bright & (place > middle[:, None]))[:, ::-1])
    begin = np.full(rays, np.nan)
    end = np.full(rays, np.nan)
    has = ok & (before >= 0)
    has[has] = seen[row[has], before[has]]
    begin[has] = before[has] + _crossing(
        values[row[has], before[has]], values[row[has], before[has] + 1], level
    )
    has = ok & (after < reach)
    has[has] = seen[row[has], after[has]]
    end[has] = after[has] - _crossing(
        values[row[has], after[has]], values[row[has], after[has] - 1], level
    )
    return begin, end


def _crossing(dark: np.ndarray, bright: np.ndarray, level: float) -> np.ndarray:
    """Way from the dark pixel towards the bright one, 0 to 1, to the grey value `level`."""
    return np.clip((level - dark) / np.maximum(bright - dark, 1e-12), 0.0, 1.0)


def outermost_runs(values: np.ndarray, level: float) -> np.ndarray:
    """A place in the outermost bright run of each ray; -1 where there is none that is long enough.

    A run counts when three pixels in a row are bright; a shorter one is noise.
    """
    bright = values > level
    long_enough = bright[:, 2:] & bright[:, 1:-1] & bright[:, :-2]
    last = _last(long_enough)
    return np.asarray(np.where(last < 0, -1, last + 1))


def _last(flags: np.ndarray) -> np.ndarray:
    """The last place on each ray where a flag is set, -1 where there is none."""
    from_end = flags[:, ::-1].argmax(axis=1)
    return np.asarray(np.where(flags.any(axis=1), flags.shape[1] - 1 - from_end, -1))


def fitted_circle(y: np.ndarray, x: np.ndarray) -> Circle:
    """The circle of least squares through points (Kåsa's linear fit), at least three."""
    middle_y, middle_x = y.mean(), x.mean()
    dy, dx = y - middle_y, x - middle_x
    matrix = np.stack([dy, dx, np.ones_like(dy)], axis=1)
    (a, b, c), *_ = np.linalg.lstsq(matrix, dy**2 + dx**2, rcond=None)
    radius = np.sqrt(max(c + (a**2 + b**2) / 4, 0.0))
    return Circle(float(middle_y + a / 2), float(middle_x + b / 2), float(radius))


def candidate_circles(
    picture: np.ndarray, least_radius: float, cancel: CancelToken, most: int = 12
) -> list[tuple[Circle, float]]:
    """Circles on which bright runs begin that are the outermost ones, and the grey limit used.

    The best supported ones first, at most `most`, each another. No circle is smaller than
    `least_radius`. The same picture gives the same circles.
    """
    halves = 1
    while max(picture.shape) > _MOST_PIXELS:
        picture, halves = _halved(picture), 2 * halves
    least_radius /= halves
    low, high = (float(v) for v in np.percentile(picture, [1.0, 99.5]))
    if high <= low:
        return []
    levels = low + (high - low) * np.arange(1, _LEVELS + 1) / (_LEVELS + 1)
    height, width = picture.shape
    found: list[tuple[int, Circle, float]] = []
    for part_y in range(_ORIGINS):
        for part_x in range(_ORIGINS):
            cancel.check()
            y = height * (part_y + 0.5) / _ORIGINS
            x = width * (part_x + 0.5) / _ORIGINS
            values, angles = cast_rays(picture, y, x, _diagonal(picture), _FEW_RAYS)
            for level in levels:
                best = _circle_on_rays(values, angles, y, x, level, least_radius)
                if best is not None:
                    found.append((*best, float(level)))
    found.sort(key=lambda one: -one[0])
    chosen: list[tuple[Circle, float]] = []
    for _, circle, level in found:
        if len(chosen) == most:
            break
        if not any(_alike(circle, other) for other, _ in chosen):
            chosen.append((circle, level))
    shift = (halves - 1) / 2
    return [
        (Circle(c.y * halves + shift, c.x * halves + shift, c.radius * halves), level)
        for c, level in chosen
    ]


def _halved(picture: np.ndarray) -> np.ndarray:
    """A picture of half as many pixels along each side."""
    height, width = (n // 2 for n in picture.shape)
    cells = picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(cells.mean(axis=(1, 3)))


def circle_from(
    picture: np.ndarray, y: float, x: float, level: float, least_radius: float
) -> Circle | None:
    """The circle on which most of the outermost bright runs begin, as seen from (y, x)."""
    values, angles = cast_rays(picture, y, x, _diagonal(picture), _FEW_RAYS)
    best = _circle_on_rays(values, angles, y, x, level, least_radius)
    return None if best is None else best[1]


def _diagonal(picture: np.ndarray) -> int:
    return int(np.hypot(*picture.shape)) + 2


def _circle_on_rays(
    values: np.ndarray,
    angles: np.ndarray,
    y: float,
    x: float,
    level: float,
    least_radius: float,
) -> tuple[int, Circle] | None:
    """The circle, and how many of the rays from (y, x) agree with it."""
    if not values[0, 0] <= level:
        # From within a wall rays tell of its outer side only.
        return None
    middle = outermost_runs(values, level)
    begin, _ = runs_about(values, level, np.maximum(middle, 0))
    begin[middle < 0] = np.nan
    use = np.isfinite(begin)
    if use.sum() < _LEAST_POINTS:
        return None
    points_y = y + np.sin(angles[use]) * begin[use]
    points_x = x + np.cos(angles[use]) * begin[use]
    return _best_circle(points_y, points_x, least_radius, 1.5 * values.shape[1])


def _best_circle(
    y: np.ndarray,
    x: np.ndarray,
    least_radius: float,
    most_radius: float,
) -> tuple[int, Circle] | None:
    """The circle through three of the points that most of them lie on, and how many do (RANSAC)."""
    # The same points give the same circle.
    random = np.random.default_rng(_SEED)
    triples = random.integers(0, y.size, (_CIRCLES_TRIED, 3))
    ay, by, cy = (y[triples[:, k]] for k in range(3))
    ax, bx, cx = (x[triples[:, k]] for k in range(3))
    by, bx, cy, cx = by - ay, bx - ax, cy - ay, cx - ax
    twice = 2 * (bx * cy - by * cx)
    usable = np.abs(twice) > 1e-6
    twice = np.where(usable, twice, 1.0)
    b2, c2 = by**2 + bx**2, cy**2 + cx**2
    centre_x, centre_y = (cy * b2 - by * c2) / twice, (bx * c2 - cx * b2) / twice
    radius = np.hypot(centre_y, centre_x)
    usable &= (radius >= least_radius) & (radius <= most_radius)
    if not usable.any():
        return None
    centre_y, centre_x, radius = ((v[usable]) for v in (ay + centre_y, ax + centre_x, radius))
    off = np.abs(np.hypot(y - centre_y[:, None], x - centre_x[:, None]) - radius[:, None])
    counts = (off <= tolerance(0.0) + 0.015 * radius[:, None]).sum(axis=1)
    best = int(np.argmax(counts))
    if counts[best] < _LEAST_POINTS:
        return None
    circle = Circle(float(centre_y[best]), float(centre_x[best]), float(radius[best]))
    return int(counts[best]), circle


def _alike(one: Circle, other: Circle) -> bool:
    near = 2 * tolerance(other.radius)
    apart = np.hypot(one.y - other.y, one.x - other.x)
    return bool(apart <= near and abs(one.radius - other.radius) <= near)
