"""The mending tools: pure functions from the labels of a crop to the labels after the mend.

Nothing is written, so that each can be shown before it is applied. A crop holds the whole of the
particles concerned, with some voxels around them where the tool may add any. Other particles are
never changed by a tool that is not told to. Where a mend cuts a particle into pieces, the largest
keeps its number and the others become particles of their own, numbered from `new_label`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.pieces import separate_pieces
from particleseg_app.review.splitting import (
    split_by_border_stroke,
    split_by_cut,
    split_by_markers,
)
from particleseg_app.review.to_edge import grow_shrink_to_edge

__all__ = [
    "delete",
    "erase",
    "fill_holes",
    "grow_shrink_to_edge",
    "merge",
    "paint",
    "prepare",
    "smooth",
    "split_by_border_stroke",
    "split_by_cut",
    "split_by_markers",
]

Point = Sequence[float]

MAX_RADIUS = 200.0


def merge(labels: np.ndarray, which: Collection[int], keep: int | None = None) -> np.ndarray:
    """Join two or more particles; the number of the largest (in the crop) stays, or `keep`."""
    wanted = _present(labels, which)
    if len(set(which)) < 2:
        raise InvalidValueError("Only one particle is chosen.", "Choose two or more to merge.")
    if keep is None:
        keep = max(wanted, key=lambda label: (int(np.count_nonzero(labels == label)), -label))
    after = labels.copy()
    for label in wanted:
        after[labels == label] = keep
    return after


def delete(labels: np.ndarray, which: Collection[int]) -> np.ndarray:
    """Make particles background."""
    after = labels.copy()
    for label in _present(labels, which):
        after[labels == label] = 0
    return after


def paint(
    labels: np.ndarray,
    label: int,
    centres: Sequence[Point],
    radius: float,
    *,
    over_all: bool = False,
) -> np.ndarray:
    """Give the balls around `centres` (z, y, x), `radius` voxels, to a particle.

    Only background becomes the particle's, or everything if `over_all`. Balls are cut at the
    crop. `label` may be a new one: then a new particle is painted.
    """
    after = labels.copy()
    for part, ball in _balls(labels.shape, centres, radius):
        here = after[part]
        here[ball if over_all else ball & (here == 0)] = label
    return after


def erase(
    labels: np.ndarray,
    centres: Sequence[Point],
    radius: float,
    new_label: int,
    *,
    label: int | None = None,
    separate: Collection[int] | None = None,
) -> np.ndarray:
    """Make the balls around `centres` background, of one particle or (None) of all.

    Particles that fall to pieces are separated; only those in `separate` if it is given (those
    that are whole in the crop).
    """
    after = labels.copy()
    erased: set[int] = set()
    for part, ball in _balls(labels.shape, centres, radius):
        here = after[part]
        gone = ball & (here != 0 if label is None else here == label)
        erased.update(np.unique(here[gone]).tolist())
        here[gone] = 0
    for one in sorted(erased if separate is None else erased.intersection(separate)):
        new_label = separate_pieces(labels, after, one, new_label)
    return after


def fill_holes(labels: np.ndarray, label: int) -> np.ndarray:
    """Fill the background that a particle encloses on all sides; particles inside it stay.

    A hole that is open towards the crop's faces is not enclosed.
    """
    import cc3d

    inside = labels == label
    _present(labels, (label,))
    outside = cc3d.connected_components(~inside, connectivity=6)
    faces = [outside[s] for axis in range(3) for s in _first_and_last(axis)]
    open_ones = np.zeros(int(outside.max()) + 1, bool)
    for face in faces:
        open_ones[np.unique(face)] = True
    open_ones[0] = True  # the particle itself
    after = labels.copy()
    after[~open_ones[outside] & (labels == 0)] = label
    return after


def smooth(labels: np.ndarray, label: int, new_label: int, *, radius: int = 2) -> np.ndarray:
    """Smooth a particle's surface: a voxel is the particle's where most voxels near it are.

    Near is a rounded cube of about `radius` voxels (two box filters). Other particles have no
    vote and lose nothing, so that contacts stay where they are and do not open.
    """
    from particleseg_app.review.surface_kernels import follow_votes, sum_boxes, votes

    if not 1 <= radius <= 10:
        raise InvalidValueError(f"A radius of {radius} voxels is not possible.", "Enter 1 to 10.")
    _present(labels, (label,))
    radii = (radius + 1) // 2, max(1, radius // 2)
    most = (2 * radii[0] + 1) ** 3 * (2 * radii[1] + 1) ** 3
    counted = np.empty(labels.shape, np.int16 if most <= np.iinfo(np.int16).max else np.int32)
    votes(labels, label, counted)
    for one in radii:
        sum_boxes(counted, one)
    after = labels.copy()
    follow_votes(after, counted, label)
    if not (after == label).any():
        raise InvalidValueError(
            f"Particle {label} is too thin to be smoothed.", "Choose a smaller radius."
        )
    separate_pieces(labels, after, label, new_label)
    return after


def prepare(grey_dtype: np.dtype) -> None:
    """Compile what the tools need, so that the first mend does not wait for it (about 10 s, once
    a computer). Meant for a background thread; `grey_dtype` is that of the scan."""
    from particleseg_app.review.changes import LabelChange
    from particleseg_app.review.gesture import Gesture
    from particleseg_app.review.part_kernels import grey_landscape, spread_parts, thinned
    from particleseg_app.units import Box

    labels = np.zeros((12, 12, 20), np.uint32)
    labels[3:9, 3:9, 3:17] = 1
    grey = (labels * 100).astype(grey_dtype)
    ends = (6, 6, 5), (6, 6, 14)
    halves = (labels * (1 + (np.arange(20) > 9))).astype(np.int32)
    halves[4, 4, 5] = 2  # a fragment that goes to the other half
    split_by_cut(labels, 1, halves, 2)
    split_by_markers(labels, None, 1, ends, 2)
    split_by_markers(labels, grey, 1, ends, 2, by="grey")
    split_by_border_stroke(labels, 1, np.array([(6, 2, 10), (6, 10, 10)]), *ends, 2)
    for radius in (2, 5):  # sums of both sizes
        smoothed = smooth(labels, 1, 2, radius=radius)
    grow_shrink_to_edge(labels, grey, 1, 2)
    inside = np.pad((labels == 1).astype(np.uint8), 1)
    cells = thinned(inside, 2)
    grey_landscape(grey, inside, cells, 2, 0.0, 1.0, np.zeros(0, np.uint8))
    spread_parts(cells.astype(np.int8), inside, 2)
    stored = labels.copy()
    stored.setflags(write=False)  # as the blocks that the journal keeps
    for present in (labels, stored):
        gesture = Gesture(labels.shape, 2, lambda _index, present=present: present)  # type: ignore[misc]
        gesture.add(LabelChange(Box.whole(labels.shape), labels, smoothed))
        gesture.finish()


def _balls(
    shape: tuple[int, ...], centres: Sequence[Point], radius: float
) -> list[tuple[tuple[slice, ...], np.ndarray]]:
    """For each centre the part of the crop it reaches, and which of its voxels are in the ball."""
    if not 0 < radius <= MAX_RADIUS:
        raise InvalidValueError(
            f"A brush of {radius:g} voxels is not possible.", f"Enter up to {MAX_RADIUS:g}."
        )
    balls = []
    for centre in np.asarray(centres, dtype=np.float64).reshape(-1, 3):
        low = np.maximum(np.ceil(centre - radius), 0).astype(int)
        high = np.minimum(np.floor(centre + radius) + 1, shape).astype(int)
        if (low >= high).any():
            continue
        axes = [(np.arange(a, b) - c) ** 2 for a, b, c in zip(low, high, centre, strict=True)]
        squared = axes[0][:, None, None] + axes[1][:, None] + axes[2]
        part = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        balls.append((part, squared <= radius**2))
    return balls


def _present(labels: np.ndarray, which: Collection[int]) -> list[int]:
    """The particles asked for, each once, in order; `InvalidValueError` for one not there."""
    wanted = sorted({int(label) for label in which})
    if not wanted:
        raise InvalidValueError("No particle is chosen.", "Choose one.")
    for label in wanted:
        if label <= 0 or not (labels == label).any():
            raise InvalidValueError(f"Particle {label} is not there.", "Choose another one.")
    return wanted


def _first_and_last(axis: int) -> list[tuple[slice | int, ...]]:
    return [tuple(end if a == axis else slice(None) for a in range(3)) for end in (0, -1)]
