"""What a case proposes to do about it: cut a merger, unite a splitter, delete a false particle, add
a missed one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.cases import ReviewCase
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.crops import Volume
from particleseg_app.review.evidence import Point, best_meeting, necks
from particleseg_app.review.mending import MOST_VOXELS
from particleseg_app.review.mends import delete, merge
from particleseg_app.review.merge_tree import distance_inside, merge_tree
from particleseg_app.review.missed import unpack_region
from particleseg_app.review.splitting import split_by_cut, split_by_markers
from particleseg_app.units import Box, Shape


def propose_cut(
    labels: np.ndarray,
    label: int,
    new_label: int,
    markers: Sequence[Point] = (),
    smallest_particle: float = 0.0,
) -> np.ndarray | None:
    """The labels of a crop (z, y, x) uint32 after the best cut of one particle, or None.

    `markers`: a point in each part, in voxels of the crop, as `ReviewCase.markers` has them for
    the whole volume; watershed from them, cut at the narrowest. Without markers the lobes of the
    distance map decide, two or more of them. None where the particle has no neck at all. The
    largest part keeps the label, the others are numbered from `new_label`. Every part is
    connected, and none is a crumb of fewer voxels than the run keeps (`smallest_particle`) or than
    `fragments.smallest_part` says; None where such a cut would leave one part.
    """
    if len(markers) >= 2:
        try:
            return split_by_markers(
                labels, None, label, markers, new_label, smallest_particle=smallest_particle
            )
        except InvalidValueError:
            pass  # markers of labels that have been mended since, or all but one in crumbs
    inside = labels == label
    distance = distance_inside(inside)
    tree = merge_tree(distance, inside)
    meeting = best_meeting(tree)
    if meeting is None:
        return None
    cuts = [meeting, *(k for k in necks(tree) if k != meeting)]
    try:
        return split_by_cut(
            labels, label, tree.lobes(cuts), new_label, smallest_particle=smallest_particle
        )
    except InvalidValueError:
        return None  # what is cut off is a crumb


def propose_union(labels: np.ndarray, pair: Sequence[int]) -> np.ndarray:
    """The labels of a crop after uniting two particles under the number of the larger."""
    return merge(labels, pair)


def proposed_change(
    case: ReviewCase, labels: Volume, new_label: int, smallest_particle: float = 0.0
) -> LabelChange | None:
    """What a case proposes, ready for preview and journal; None where nothing can be proposed.

    `labels` as they are now (mended), `new_label` the first free number, `smallest_particle` the
    fewest voxels that the run keeps as a particle. Also None when a label
    of the case is gone or has grown beyond the case's box since, and for particles too large to
    be mended in one crop.
    """
    box = case.box
    if box.size > MOST_VOXELS:
        return None
    before = labels.read(box)
    after: np.ndarray | None
    if case.region:
        region = unpack_region(case.region, box.shape) & (before == 0)
        after = np.where(region, np.uint32(new_label), before)
        return LabelChange(box, before, after, new_label) if region.any() else None
    if not all(_whole_in(before, label, box, labels.shape) for label in case.labels):
        return None
    if case.kind == "merger":
        start = box.start
        markers = [(z - start[0], y - start[1], x - start[2]) for z, y, x in case.markers]
        after = propose_cut(before, case.labels[0], new_label, markers, smallest_particle)
    elif case.kind == "splitter":
        after = propose_union(before, case.labels)
    else:
        after = delete(before, case.labels)
    if after is None or np.array_equal(before, after):
        return None
    return LabelChange(box, before, after, new_label)


def _whole_in(crop: np.ndarray, label: int, box: Box, shape: Shape) -> bool:
    """Whether a crop holds a label, and none of it reaches on beyond the crop inside the volume."""
    inside = crop == label
    if not inside.any():
        return False
    for axis in range(3):
        faces = np.moveaxis(inside, axis, 0)
        if box.start[axis] > 0 and faces[0].any():
            return False
        if box.stop[axis] < shape[axis] and faces[-1].any():
            return False
    return True
