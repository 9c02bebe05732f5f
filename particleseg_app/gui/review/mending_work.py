"""From what is drawn on the slices to the change that a mending tool proposes; no Qt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.gui.review.neighbourhood import Neighbourhood
from particleseg_app.review.changes import LabelChange, as_changes
from particleseg_app.review.mending import Mending
from particleseg_app.units import Shape

if TYPE_CHECKING:
    from particleseg_app.review.cases import ReviewCase

Point = tuple[float, float, float]
Changes = LabelChange | Iterable[LabelChange]


@dataclass(frozen=True)
class Drawing:
    """What was drawn, points (z, y, x) in voxels of the neighbourhood; `amount` of the slider."""

    amount: int = 0
    markers: tuple[Point, ...] = ()
    border: tuple[Point, ...] = ()
    joined: frozenset[int] = frozenset()
    new: bool = False  # paint a new particle
    by_grey: bool = False  # split where the grey values are lowest, not at the necks


def tool_changes(
    mending: Mending, tool: str, particles: Sequence[int], drawing: Drawing, origin: Shape
) -> Changes | None:
    """What a tool would change; None while there is not enough drawn yet.

    `origin` (z, y, x) is the first voxel of the neighbourhood. Raises `InvalidValueError` with
    what to do when the tool cannot work like this.
    """
    markers = [_moved(point, origin) for point in drawing.markers]
    border = [_moved(point, origin) for point in drawing.border]
    if tool == "split":
        if not border:
            if len(markers) < 2:
                return None
            return mending.preview_split_by_markers(
                _split_one(mending, particles, markers),
                markers,
                by="grey" if drawing.by_grey else "shape",
            )
        if len(markers) < 2:
            return None
        if len(markers) > 2:
            raise InvalidValueError(
                "A drawn border has two sides.", "Leave one marker on each side of it."
            )
        label = _split_one(mending, particles, markers)
        return mending.preview_split_by_border_stroke(label, np.array(border), *markers)
    if tool == "join":
        wanted = {*particles, *drawing.joined}
        return mending.preview_merge(wanted) if len(wanted) > 1 else None
    if tool == "delete":
        return mending.preview_delete(particles)
    if tool == "holes":
        return mending.preview_fill_holes(particles)
    if tool == "smooth":
        return mending.preview_smooth(particles, radius=drawing.amount)
    if tool == "grow":
        return mending.preview_grow_shrink_to_edge(particles, reach=drawing.amount)
    centres = along(border, drawing.amount / 2)
    if tool == "paint":
        return mending.preview_paint(None if drawing.new else particles[0], centres, drawing.amount)
    if tool == "erase":
        return mending.preview_erase(centres, drawing.amount, label=particles[0])
    raise ValueError(f"unknown tool {tool!r}")


def along(points: Sequence[Point], step: float) -> list[Point]:
    """Points on the line through `points`, at most `step` voxels apart."""
    result = [points[0]]
    for start, end in itertools.pairwise(points):
        count = max(1, math.ceil(math.dist(start, end) / max(step, 0.5)))
        for i in range(1, count + 1):
            z, y, x = (a + (b - a) * i / count for a, b in zip(start, end, strict=True))
            result.append((z, y, x))
    return result


def shown_with(neighbourhood: Neighbourhood, changes: Changes | None) -> Neighbourhood:
    """The neighbourhood as it would be after the changes."""
    if changes is not None:
        for change in as_changes(changes):
            neighbourhood = neighbourhood.with_change(change.box, change.before, change.after)
    return neighbourhood


def changes_anything(changes: Changes) -> bool:
    return any(change.changes_anything for change in as_changes(changes))


def proposed_parts(case: ReviewCase, changes: Changes | None) -> int:
    """How many parts the proposal of a case makes of a merger; 0 for other cases.

    While there is no proposal, as many as the case has markers.
    """
    if case.kind != "merger":
        return 0
    if isinstance(changes, LabelChange) and changes.brings_new_labels:
        # One part keeps the number, the others have the first numbers that were free.
        return int(changes.after.max()) - changes.next_label + 2
    return len(case.markers)


def _split_one(mending: Mending, particles: Sequence[int], markers: Sequence[Point]) -> int:
    """The particle that the markers stand on, if several are shown."""
    if len(particles) == 1:
        return particles[0]
    box = mending.crop_of(particles)
    labels = mending.labels.read(box)
    hit: list[int] = []
    for marker in markers:
        voxel = tuple(math.floor(m) - a for m, a in zip(marker, box.start, strict=True))
        if all(0 <= v < n for v, n in zip(voxel, labels.shape, strict=True)):
            hit.append(int(labels[voxel]))
    for particle in particles:
        if particle in hit:
            return particle
    raise InvalidValueError("No marker stands on a particle.", "Click inside the particle.")


def _moved(point: Point, origin: Shape) -> Point:
    z, y, x = (p + o for p, o in zip(point, origin, strict=True))
    return z, y, x
