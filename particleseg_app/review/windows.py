"""Which windows at working scale to predict again, so that every doubtful particle lies in one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from particleseg_app.units import Box, Shape, bounding_box

# What the network needs to see around a particle, in voxels at working scale.
MARGIN = 6
# A window of this edge takes 0.5 GB; a particle that needs more keeps its evidence of shape.
LONGEST_EDGE = 192
# Edges of windows of several tiles, which suit crowded items better than one tile for each.
WIDER_EDGES = (128, 160, 192)


@dataclass(frozen=True)
class PlannedWindow:
    """A box at working scale, and which of the items given lie in it with a margin."""

    box: Box
    items: tuple[int, ...]


def plan_windows(items: list[Box], shape: Shape, edge: int) -> list[PlannedWindow]:
    """Windows of at most `edge` voxels (longer only for items that need it) that hold all items.

    `items`: boxes at working scale, the most doubtful first; those that are too large are left
    out. Each item is in exactly one window. A window is no larger than its items and their margin.
    """
    wanted = [box.expanded(MARGIN, shape) for box in items]
    cells: dict[Shape, list[int]] = defaultdict(list)
    for number, box in enumerate(wanted):
        cells[_cell(box, edge)].append(number)
    placed: set[int] = set()
    windows = []
    for number, box in enumerate(wanted):
        if number in placed or max(box.shape) > LONGEST_EDGE:
            continue
        reach = _around(box, shape, edge)
        inside = []
        z, y, x = _cell(box, edge)
        for cell in (
            (z + dz, y + dy, x + dx) for dz in (-1, 0, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)
        ):
            for other in cells.get(cell, ()):
                if other not in placed and wanted[other].intersection(reach) == wanted[other]:
                    inside.append(other)
        inside.sort()
        placed.update(inside)
        windows.append(PlannedWindow(bounding_box(*(wanted[i] for i in inside)), tuple(inside)))
    return windows


def _cell(box: Box, edge: int) -> Shape:
    z, y, x = ((a + b) // 2 // edge for a, b in zip(box.start, box.stop, strict=True))
    return z, y, x


def _around(box: Box, shape: Shape, edge: int) -> Box:
    """A window with `box` in its middle, moved so that it reaches no further than the volume."""
    start, stop = [], []
    for a, b, n in zip(box.start, box.stop, shape, strict=True):
        length = min(n, max(edge, b - a))
        first = min(max(0, (a + b - length) // 2), n - length)
        start.append(first)
        stop.append(first + length)
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
