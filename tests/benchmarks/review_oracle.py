"""An oracle that knows the reference: what it does about the particles that a case shows.

It has the tools of the window and no others: the case's proposal, a split by markers (by shape or
by grey values) or by a border drawn on one slice, join, delete, and the brush that begins a new
particle. Like a person it looks at the previews and takes the one that is best.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.evaluation import Overlaps, count_overlaps, score
from particleseg_app.review.cases import ReviewCase
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.crops import Volume
from particleseg_app.review.mends import delete, merge, paint
from particleseg_app.review.merge_tree import distance_inside
from particleseg_app.review.proposals import proposed_change
from particleseg_app.review.splitting import split_by_border_stroke, split_by_markers
from particleseg_app.units import Box

# The oracle places a marker in every reference of which a particle holds this much.
HELD = 0.3
# What lies this near to the particles of a case is seen in its slices, in voxels.
IN_VIEW = 8
MARGIN = 4


class Agreement:
    """Shared voxels of every reference and every present label, kept up as labels change."""

    def __init__(self, reference: np.ndarray, labels: np.ndarray) -> None:
        self.reference = reference
        found = count_overlaps(reference, labels)
        self.reference_sizes = dict(
            zip(found.reference_labels.tolist(), found.reference_sizes.tolist(), strict=True)
        )
        self.sizes = dict(
            zip(found.predicted_labels.tolist(), found.predicted_sizes.tolist(), strict=True)
        )
        self.shared = {
            (int(found.reference_labels[r]), int(found.predicted_labels[c])): int(n)
            for r, c, n in zip(found.rows, found.columns, found.shared, strict=True)
        }

    def after(self, change: LabelChange) -> Agreement:
        """The agreement when `change` is made."""
        result = Agreement.__new__(Agreement)
        result.reference, result.reference_sizes = self.reference, self.reference_sizes
        result.sizes, result.shared = dict(self.sizes), dict(self.shared)
        changed = change.before != change.after
        moves = np.stack(
            [self.reference[change.box.slices][changed], change.before[changed],
             change.after[changed]]
        )  # fmt: skip
        kinds, counts = np.unique(moves, axis=1, return_counts=True)
        for (owner, old, new), count in zip(kinds.T.tolist(), counts.tolist(), strict=True):
            for label, step in ((old, -count), (new, count)):
                if label:
                    result.sizes[label] = result.sizes.get(label, 0) + step
                    if owner:
                        pair = (owner, label)
                        result.shared[pair] = result.shared.get(pair, 0) + step
        return result

    def overlaps(self) -> Overlaps:
        references = np.array(sorted(self.reference_sizes), np.int64)
        predicted = np.array(sorted(k for k, n in self.sizes.items() if n), np.int64)
        entries = sorted((r, p, n) for (r, p), n in self.shared.items() if n)
        rows, columns, shared = np.array(entries, np.int64).reshape(-1, 3).T
        return Overlaps(
            references,
            np.array([self.reference_sizes[k] for k in references.tolist()], np.int64),
            predicted,
            np.array([self.sizes[k] for k in predicted.tolist()], np.int64),
            np.searchsorted(references, rows),
            np.searchsorted(predicted, columns),
            shared,
        )

    def worth(self) -> tuple[float, float]:
        figures = score(self.overlaps())
        return round(figures.f1_match, 12), figures.f1_instance

    def held_by(self, label: int) -> list[int]:
        """References of which a label holds more than `HELD`."""
        return [
            r
            for (r, p), n in self.shared.items()
            if p == label and n > HELD * self.reference_sizes[r]
        ]

    def inside(self, label: int) -> int:
        """Voxels of a label in any reference."""
        return sum(n for (_, p), n in self.shared.items() if p == label)

    def owner(self, label: int) -> int:
        """The reference that holds more than half of a label, or 0."""
        for (r, p), n in self.shared.items():
            if p == label and 2 * n > self.sizes[label]:
                return r
        return 0

    def pieces_of(self, reference: int) -> list[int]:
        """Labels that are mostly this reference."""
        return sorted(
            p
            for (r, p), n in self.shared.items()
            if r == reference and self.sizes.get(p, 0) and 2 * n > self.sizes[p]
        )

    def missed(self) -> set[int]:
        """References of which labels hold no more than half."""
        held = dict.fromkeys(self.reference_sizes, 0)
        for (r, _), n in self.shared.items():
            held[r] += n
        return {r for r, n in held.items() if 2 * n <= self.reference_sizes[r]}


@dataclass(frozen=True)
class Mend:
    """A change that the oracle would make; `clicks` 0 for the case's own proposal."""

    kind: str
    change: LabelChange
    clicks: int


class Oracle:
    """What to do about what a case shows, with the labels (`volume`) as they are now."""

    def __init__(
        self, reference: np.ndarray, grey: np.ndarray, smallest_particle: float = 0.0
    ) -> None:
        self.reference, self.grey = reference, grey
        self.smallest_particle = smallest_particle
        places = _boxes(reference)
        self._tops = {r: _top(reference, r, box) for r, box in places.items()}
        self._places = places

    def mends(
        self, case: ReviewCase, volume: Volume, now: Agreement, new_label: int
    ) -> Iterator[Mend]:
        """All mends worth a preview, the proposal first; none where nothing is wrong."""
        alive = [label for label in case.labels if now.sizes.get(label, 0)]
        wrong = [label for label in alive if _is_wrong(label, now)]
        view = case.box.expanded(IN_VIEW, self.reference.shape)
        missed = [
            r
            for r in sorted(now.missed())
            if all(
                a <= c < b for a, c, b in zip(view.start, self._tops[r][0], view.stop, strict=True)
            )
        ]
        joined = case.kind == "splitter" and len(alive) < 2
        if (wrong or missed) and not joined and len(alive) == len(case.labels):
            change = proposed_change(case, volume, new_label, self.smallest_particle)
            if change is not None:
                yield Mend(case.kind, change, 0)
        for label in wrong:
            yield from self._of_particle(label, volume, now, new_label)
        for one in missed:
            yield self._painted(one, volume, new_label)

    def _of_particle(
        self, label: int, volume: Volume, now: Agreement, new_label: int
    ) -> Iterator[Mend]:
        labels = volume.read(Box.whole(self.reference.shape))
        if 2 * now.inside(label) <= now.sizes[label]:
            box = _span([_box_of(labels, label)], self.reference.shape)
            before = labels[box.slices]
            yield Mend("delete", LabelChange(box, before, delete(before, [label]), new_label), 1)
        owner = now.owner(label)
        pieces = now.pieces_of(owner) if owner else []
        if len(pieces) > 1:
            box = _span([_box_of(labels, piece) for piece in pieces], self.reference.shape)
            before = labels[box.slices]
            yield Mend("merge", LabelChange(box, before, merge(before, pieces)), len(pieces))
        held = now.held_by(label)
        if len(held) > 1:
            box = _span([_box_of(labels, label)], self.reference.shape)
            yield from self._splits(label, held, labels[box.slices], box, new_label)

    def _splits(
        self, label: int, held: list[int], before: np.ndarray, box: Box, new_label: int
    ) -> Iterator[Mend]:
        reference, grey = self.reference[box.slices], self.grey[box.slices]
        inside = before == label
        markers = [_deepest(inside & (reference == one)) for one in held]
        least = {"smallest_particle": self.smallest_particle}
        attempts = [
            lambda: split_by_markers(before, None, label, markers, new_label, **least),
            lambda: split_by_markers(before, grey, label, markers, new_label, by="grey", **least),
        ]
        clicks = [len(markers)] * 2
        if len(held) == 2:
            stroke = _border(inside, reference, held)
            if stroke is not None:
                attempts.append(
                    lambda: split_by_border_stroke(
                        before, label, stroke, *markers, new_label, **least
                    )
                )
                clicks.append(3)
        for attempt, count in zip(attempts, clicks, strict=True):
            try:
                after = attempt()
            except InvalidValueError:
                continue
            yield Mend("split", LabelChange(box, before, after, new_label), count)

    def _painted(self, missed: int, volume: Volume, new_label: int) -> Mend:
        """A new particle with one stroke of the brush, as thick as the reference is."""
        top, radius = self._tops[missed]
        place = self._places[missed]
        inside = self.reference[place.slices] == missed
        distance = distance_inside(inside)
        along = np.argwhere(distance >= 0.8 * distance.max())[:: max(1, inside.sum() // 200)]
        box = place.expanded(MARGIN, self.reference.shape)
        centres = [np.array(top) - box.start, *(along + np.array(place.start) - box.start)]
        before = volume.read(box)
        after = paint(before, new_label, centres, max(1.0, radius))
        return Mend("paint", LabelChange(box, before, after, new_label), 1)


def _is_wrong(label: int, now: Agreement) -> bool:
    owner = now.owner(label)
    return (
        2 * now.inside(label) <= now.sizes[label]
        or len(now.held_by(label)) > 1
        or (owner > 0 and len(now.pieces_of(owner)) > 1)
    )


def _deepest(mask: np.ndarray) -> tuple[float, float, float]:
    top = int(np.argmax(distance_inside(mask) * mask))
    z, y, x = np.unravel_index(top, mask.shape)
    return float(z), float(y), float(x)


def _border(inside: np.ndarray, reference: np.ndarray, held: list[int]) -> np.ndarray | None:
    """The border between two references on the slice that shows most of it, point by point."""
    from scipy import ndimage

    first, second = (inside & (reference == one) for one in held)
    if not first.any() or not second.any():
        return None
    nearer = distance_to(first) <= distance_to(second)
    border = inside & nearer & ndimage.binary_dilation(inside & ~nearer)
    if not border.any():
        return None
    axis, index = max(
        ((a, i) for a in range(3) for i in range(border.shape[a])),
        key=lambda place: int(np.take(border, place[1], place[0]).sum()),
    )
    plane = np.argwhere(np.take(border, index, axis)).astype(float)
    middle = plane.mean(axis=0)
    direction = np.linalg.svd(plane - middle, full_matrices=False)[2][0]
    plane = plane[np.argsort((plane - middle) @ direction)]
    return np.insert(plane, axis, float(index), axis=1)


def distance_to(mask: np.ndarray) -> np.ndarray:
    return distance_inside(~mask)


def _boxes(labels: np.ndarray) -> dict[int, Box]:
    from scipy import ndimage

    found = {}
    for label, place in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if place is not None:
            found[label] = Box(
                tuple(s.start for s in place),
                tuple(s.stop for s in place),  # type: ignore[arg-type]
            )
    return found


def _top(reference: np.ndarray, label: int, box: Box) -> tuple[tuple[int, ...], float]:
    """The voxel of a reference that is farthest from its surface, and how far."""
    inside = np.pad(reference[box.slices] == label, 1)
    distance = distance_inside(inside)
    top = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return tuple(int(t) - 1 + a for t, a in zip(top, box.start, strict=True)), float(distance.max())


def _box_of(labels: np.ndarray, label: int) -> Box:
    places = [
        np.flatnonzero((labels == label).any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))
    ]
    return Box(tuple(int(p[0]) for p in places), tuple(int(p[-1]) + 1 for p in places))  # type: ignore[arg-type]


def _span(boxes: list[Box], shape: tuple[int, int, int]) -> Box:
    start = tuple(min(box.start[axis] for box in boxes) for axis in range(3))
    stop = tuple(max(box.stop[axis] for box in boxes) for axis in range(3))
    return Box(start, stop).expanded(MARGIN, shape)  # type: ignore[arg-type]
