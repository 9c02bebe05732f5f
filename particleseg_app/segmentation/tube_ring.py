"""Whether a circle in a picture of one slice is the inside of a tube's wall, and where exactly.

A wall is bright all around, of one thickness, with a sharp edge to the darker space inside, and
beyond it there is dark air or the picture ends. Whatever is doubtful is none. Lengths are in pixels
of the picture, whose values are float32 (y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.tube_rays import (
    RAYS,
    Circle,
    candidate_circles,
    cast_rays,
    circle_from,
    fitted_circle,
    runs_about,
    tolerance,
)

# Inner radius and thickness of a tube's wall, in average particle diameters, at the least.
LEAST_RADIUS_DIAMETERS = 2.5
LEAST_THICKNESS_DIAMETERS = 0.3
# A thinner wall could be a foil, the edge of something, or a ring artefact.
_LEAST_THICKNESS = 6.0
# Share of the directions in which the wall must be in the picture.
_LEAST_IN_VIEW = 0.2
# Share of those in which it begins at the fitted circle (elsewhere a particle touches it), and
# share of those with its outer side in the picture in which that lies on an oval.
_LEAST_INSIDE = 0.5
_LEAST_OUTSIDE = 0.9
# How far the outer side may lie off an oval.
_ROUGHNESS = 1.0
# Where the outer side is in the picture in fewer directions than this, it tells nothing.
_OUTSIDE_IN_VIEW = 0.15
# Share of the wall that is bright, at each distance from the axis, and of what lies beyond it.
_SOLID = 0.97
_MOST_BEYOND = 0.06
# The wall's contrast to the space inside, as a share of the picture's range and in deviations of
# its noise.
_LEAST_CONTRAST = 0.12
_LEAST_NOISES = 5.0
# Share of the contrast that is gained within `_EDGE` pixels of the wall's inner side: a cylinder
# that is brighter at its rim, from beam hardening, becomes so slowly.
_SHARPNESS = 0.7
_EDGE = 3
# Share of the wall that may be brighter than it by more than half of its contrast. What has a hole
# and holds grains is no wall.
_MOST_BRIGHTER = 0.02
# Share of the space inside that is brighter than its background where something is in it.
_LEAST_FILLED = 0.01


@dataclass(frozen=True)
class Ring:
    """A wall in one picture. `outer` is None where its outer side is not in the picture.

    `level` is the grey value half way from the background inside to the wall; `filled` tells
    whether there is something in the space inside. `bulge` is how far that space reaches beyond the
    inner circle where the tube is not quite round.
    """

    inner: Circle
    outer: Circle | None
    level: float
    filled: bool
    bulge: float


class _DoubtError(Exception):
    """Why something is not certainly a tube's wall."""


def find_ring(picture: np.ndarray, particle_diameter: float, cancel: CancelToken) -> Ring | None:
    """The certain tube wall in a picture, or None."""
    least = LEAST_RADIUS_DIAMETERS * particle_diameter
    for circle, level in candidate_circles(picture, 0.9 * least, cancel):
        cancel.check()
        ring = ring_about(picture, circle, level, particle_diameter)
        if ring is not None:
            return ring
    return None


def ring_near(picture: np.ndarray, near: Ring, particle_diameter: float) -> Ring | None:
    """The certain tube wall in a picture where another height has one, or None."""
    ring = ring_about(picture, near.inner, near.level, particle_diameter)
    if ring is not None:
        return ring
    least = LEAST_RADIUS_DIAMETERS * particle_diameter
    circle = circle_from(picture, near.inner.y, near.inner.x, near.level, 0.9 * least)
    return None if circle is None else ring_about(picture, circle, near.level, particle_diameter)


def ring_about(
    picture: np.ndarray, circle: Circle, level: float, particle_diameter: float
) -> Ring | None:
    """The ring whose inner side is at about `circle`, or None where that is not certainly a wall.

    `level` is a grey value between the space inside and the wall.
    """
    try:
        wall = _Wall(picture, circle, level, particle_diameter)
        return wall.certain()
    except _DoubtError:
        return None


class _Wall:
    """What may be a wall, seen from its axis: fitted when it is made, then judged."""

    def __init__(
        self, picture: np.ndarray, circle: Circle, level: float, particle_diameter: float
    ) -> None:
        self.picture = picture
        self.least_radius = LEAST_RADIUS_DIAMETERS * particle_diameter
        self.least_thickness = max(_LEAST_THICKNESS, LEAST_THICKNESS_DIAMETERS * particle_diameter)
        self.inner, self.level = circle, level
        # The first circle is only near the wall.
        for doubt in (2, 1, 1):
            self._look()
            self._measure(doubt)
            near = np.abs(self.begin - self.inner.radius) <= 2 * tolerance(self.inner.radius)
            if near.sum() < 3:
                raise _DoubtError("no inner side")
            y, x = self._places(near, self.begin)
            self.inner = fitted_circle(y, x)
        self._look()
        self._measure(1)

    def _look(self) -> None:
        """Cast rays from the axis."""
        height, width = self.picture.shape
        corners = [(0, 0), (0, width), (height, 0), (height, width)]
        reach = max(np.hypot(self.inner.y - y, self.inner.x - x) for y, x in corners)
        if reach > 3 * np.hypot(height, width):
            raise _DoubtError("hardly curved")
        self.values, self.angles = cast_rays(
            self.picture, self.inner.y, self.inner.x, int(reach) + 2
        )
        radius = int(self.inner.radius)
        both_sides = self.values[:, max(0, radius - _EDGE) : radius + _EDGE + 2]
        if both_sides.shape[1] < 2 * _EDGE:
            raise _DoubtError("out of view")
        self.view = np.isfinite(both_sides).all(axis=1)

    def _measure(self, doubt: int) -> None:
        """Grey values, thickness, and where the wall begins and ends on each ray.

        `doubt` tells in how many tolerances of the circle the wall may not yet have begun.
        """
        radius = self.inner.radius
        first = radius + doubt * tolerance(radius)
        thickness = self.least_thickness
        for _ in range(2):
            wall = self._between(radius + 0.3 * thickness, radius + 0.8 * thickness)
            inside = self._between(radius - 2 * _EDGE, radius - _EDGE)
            if not (wall.size and inside.size):
                raise _DoubtError("out of view")
            self.wall = float(np.median(wall))
            # Where no particle is.
            self.inside = float(np.percentile(inside, 20))
            self.level = (self.wall + self.inside) / 2
            share = self._bright_share()[int(np.ceil(first)) :]
            ends = ~(share >= 0.85)
            thickness = first - radius + float(ends.argmax() if ends.any() else ends.size)
            if thickness < 0.75 * self.least_thickness:
                raise _DoubtError(f"thickness {thickness:.1f}")
        self.thickness = thickness
        middle = int(radius + max(2.0, min(thickness, 4 * self.least_thickness) / 2))
        if middle >= self.values.shape[1]:
            raise _DoubtError("out of view")
        self.begin, self.end = runs_about(self.values, self.level, np.full(RAYS, middle))

    def _between(self, low: float, high: float) -> np.ndarray:
        """All grey values in the picture at these distances from the axis, on rays in view."""
        values = self.values[self.view, max(0, int(low)) : max(1, int(np.ceil(high)) + 1)]
        return np.asarray(values[np.isfinite(values)])

    def _bright_share(self) -> np.ndarray:
        """Share of the rays in view that are bright, per distance; NaN where hardly one is."""
        values = self.values[self.view]
        counts = np.isfinite(values).sum(axis=0)
        share = (values > self.level).sum(axis=0) / np.maximum(counts, 1)
        return np.where(counts >= RAYS // 36, share, np.nan)

    def _places(self, rays: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where in the picture a distance from the axis lies on some rays (y, x)."""
        angles, distance = self.angles[rays], distance[rays]
        return self.inner.y + np.sin(angles) * distance, self.inner.x + np.cos(angles) * distance

    def certain(self) -> Ring:
        """The ring; raises `_DoubtError` where something does not speak for a tube's wall."""
        radius, contrast = self.inner.radius, self.wall - self.inside
        if radius < self.least_radius:
            raise _DoubtError(f"inner radius {radius:.1f}")
        if self.view.mean() < _LEAST_IN_VIEW:
            raise _DoubtError(f"in view {self.view.mean():.2f}")
        low, high = (float(v) for v in np.percentile(self.picture, [1.0, 99.5]))
        if contrast < _LEAST_CONTRAST * (high - low):
            raise _DoubtError(f"contrast {contrast / (high - low):.2f}")
        agree = self.view & (np.abs(self.begin - radius) <= tolerance(radius))
        if agree.sum() < _LEAST_INSIDE * self.view.sum():
            raise _DoubtError(f"inner side {agree.sum() / self.view.sum():.2f}")
        outer, nearest, farthest = self._outer_side()
        if nearest - radius < self.least_thickness:
            raise _DoubtError(f"thickness {nearest - radius:.1f}")
        noise = self._check_body(radius + 2, nearest - 2)
        beyond = self._between(farthest + 3, self.values.shape[1])
        if outer is not None and beyond.size and (beyond > self.level).mean() > _MOST_BEYOND:
            raise _DoubtError(f"beyond {(beyond > self.level).mean():.2f}")
        space = self._between(0.4 * radius, radius - _EDGE - 1)
        background = float(np.percentile(space, 20))
        rise = self._rise(agree)
        if rise < _SHARPNESS * (self.wall - min(background, self.inside)):
            raise _DoubtError(f"sharpness {rise / (self.wall - background):.2f}")
        something = space > background + max(0.25 * contrast, _LEAST_NOISES * noise)
        bulge = max(0.0, float(np.percentile(self.begin[agree] - radius, 95)))
        filled = bool(something.mean() >= _LEAST_FILLED)
        return Ring(self.inner, outer, self.level, filled, bulge)

    def _outer_side(self) -> tuple[Circle | None, float, float]:
        """The outer circle if it is in the picture; how far the wall reaches at least and at most.

        The latter two are distances from the axis of the inner side.
        """
        ends = self.view & np.isfinite(self.end)
        if ends.sum() < _OUTSIDE_IN_VIEW * self.view.sum():
            reach = self.inner.radius + self.thickness
            return None, reach, reach
        y, x = self._places(ends, self.end)
        end = self.end[ends]
        use = np.abs(end - np.median(end)) <= 0.25 * np.median(end - self.inner.radius) + 3
        for _ in range(3):
            if use.sum() < 6:
                raise _DoubtError("no outer side")
            fit = fitted_circle(y[use], x[use])
            off = np.hypot(y - fit.y, x - fit.x) - fit.radius
            use = np.abs(off) <= 2 * tolerance(fit.radius)
        # A wall may be oval, but a ring of grains that touch is not smooth.
        smooth = np.abs(off - _oval(np.arctan2(y - fit.y, x - fit.x), off, use)) <= _ROUGHNESS
        if smooth.mean() < _LEAST_OUTSIDE:
            raise _DoubtError(f"outer side {smooth.mean():.2f}")
        apart = float(np.hypot(fit.y - self.inner.y, fit.x - self.inner.x))
        if apart > 0.4 * (fit.radius - self.inner.radius) + 1:
            raise _DoubtError(f"off axis {apart:.1f}")
        return fit, fit.radius - apart, fit.radius + apart

    def _check_body(self, low: float, high: float) -> float:
        """Raise `_DoubtError` where the wall is not solid and even; the noise in it (σ)."""
        first, last = int(np.ceil(low)), int(high)
        solid = self._bright_share()[first : last + 1]
        if not solid.size or not np.nanmin(solid) >= _SOLID:
            raise _DoubtError(f"solid {np.nanmin(solid) if solid.size else 0:.2f}")
        body = self.values[:, first : last + 1]
        contrast = self.wall - self.inside
        grey = body[self.view][np.isfinite(body[self.view])]
        brighter = (grey > self.wall + 0.6 * contrast).mean()
        if brighter > _MOST_BRIGHTER:
            raise _DoubtError(f"brighter {brighter:.3f}")
        steps = np.abs(np.diff(body, axis=0))[self.view[1:] & self.view[:-1]]
        noise = 1.4826 * float(np.nanmedian(steps))
        if contrast < _LEAST_NOISES * noise:
            raise _DoubtError(f"noise {contrast / noise:.1f}")
        return noise

    def _rise(self, rays: np.ndarray) -> float:
        """By how much the grey value rises within a few pixels of the wall's inner side."""
        chosen = np.flatnonzero(rays)
        at = np.rint(self.begin[chosen]).astype(int)
        last = self.values.shape[1] - 1
        above = self.values[chosen, np.minimum(at + _EDGE, last)]
        below = self.values[chosen, np.maximum(at - _EDGE, 0)]
        return float(np.nanmedian(above - below))


def _oval(angles: np.ndarray, off: np.ndarray, use: np.ndarray) -> np.ndarray:
    """The oval closest to the places that lie `off` a circle at some angles, fitted to a part."""
    shape = np.stack([np.ones_like(angles), np.cos(2 * angles), np.sin(2 * angles)], axis=1)
    fit, *_ = np.linalg.lstsq(shape[use], off[use], rcond=None)
    return np.asarray(shape @ fit)
