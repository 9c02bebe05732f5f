"""The mending tools on a run: reads the crop a tool needs, previews its change, applies it.

Points, strokes and boxes are in voxels of the whole volume, (z, y, x). A preview writes nothing;
`apply` returns when the mend is on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, Protocol

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.review import mends
from particleseg_app.review.block_codec import BLOCK_EDGE
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.entries import JournalEntry
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels
from particleseg_app.units import Box, Shape, blocks, bounding_box

Point = Sequence[float]
Tool = Callable[[np.ndarray], np.ndarray]

MOST_VOXELS = 400**3  # of a crop; a tool needs about 25 bytes for each
_PIECE_EDGE = 2 * BLOCK_EDGE


class Greys(Protocol):
    """A scan that is read by boxes, as `volumes.Scan`."""

    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


class ChangesByPiece:
    """The changes of a tool that looks at each voxel by itself, made piece by piece when asked.

    So a particle as large as the volume can be deleted or merged in little memory.
    """

    def __init__(self, labels: MendedLabels, boxes: Sequence[Box], tool: Tool) -> None:
        self._labels = labels
        self._tool = tool
        pieces: dict[Box, None] = {}
        for box in boxes:
            for piece in _aligned_pieces(box, labels.shape):
                pieces[piece] = None
        self.boxes = tuple(pieces)

    def __iter__(self) -> Iterator[LabelChange]:
        for box in self.boxes:
            before = self._labels.read(box)
            after = self._tool(before)
            if not np.array_equal(before, after):
                yield LabelChange(box, before, after)


Changes = LabelChange | Iterable[LabelChange]


class Mending:
    """Previews and applies mends of one run. `scan` may be None; tools on grey values need it.

    `smallest_particle`: the fewest voxels that the run keeps as a particle; no split leaves less.
    """

    def __init__(
        self,
        labels: MendedLabels,
        scan: Greys | None,
        boxes: LabelBoxes,
        smallest_particle: float = 0.0,
    ) -> None:
        self.labels = labels
        self.scan = scan
        self.boxes = boxes
        self.smallest_particle = smallest_particle
        self.journal = labels.journal

    def apply(
        self,
        change: Changes,
        kind: str,
        text: str,
        *,
        case_id: str = "",
        case_state: str = "mended",
    ) -> JournalEntry:
        """Write a previewed change into the journal; see `ReviewJournal.append`."""
        return self.journal.append(change, kind, text, case_id=case_id, case_state=case_state)

    def is_there(self, label: int) -> bool:
        """Whether a particle has any voxels now."""
        box = self.boxes.boxes((label,)).get(label)
        return box is not None and any(
            (self.labels.read(piece) == label).any()
            for piece in _aligned_pieces(box, self.labels.shape)
        )

    def crop_of(self, labels: Collection[int], margin: int = 1) -> Box:
        """The box that holds these particles, with `margin` voxels more (cut at the volume)."""
        box: Box | None = None
        for label in labels:
            own = self.boxes.box(label)
            box = own if box is None else bounding_box(box, own)
        if box is None:
            raise InvalidValueError("No particle is chosen.", "Choose one.")
        box = box.expanded(margin, self.labels.shape)
        if box.size > MOST_VOXELS:
            raise InvalidValueError(
                f"The particle is too large for this tool ({' × '.join(map(str, box.shape))} "
                "voxels).",
                "Use brush, merge or delete.",
            )
        return box

    def preview_split_by_cut(self, label: int, box: Box, parts: np.ndarray) -> LabelChange:
        """Split along a proposed cut: `parts` (of `box`'s shape) numbers the parts from 1."""
        whole = bounding_box(self.crop_of((label,)), box)
        placed = np.zeros(whole.shape, np.int32)
        placed[box.within(whole)] = parts
        return self._change(
            whole,
            lambda crop: mends.split_by_cut(
                crop, label, placed, self._free(), smallest_particle=self.smallest_particle
            ),
        )

    def preview_split_by_markers(
        self, label: int, markers: Sequence[Point], *, by: Literal["shape", "grey"] = "shape"
    ) -> LabelChange:
        """Split by one marker in each part; see `splitting.split_by_markers`."""
        box = self.crop_of((label,), 4 if by == "grey" else 1)
        places = _inside(markers, box)
        grey = self._grey(box) if by == "grey" else None
        return self._change(
            box,
            lambda crop: mends.split_by_markers(
                crop,
                grey,
                label,
                places,
                self._free(),
                by=by,
                smallest_particle=self.smallest_particle,
            ),
        )

    def preview_split_by_border_stroke(
        self, label: int, stroke: np.ndarray, marker_a: Point, marker_b: Point
    ) -> LabelChange:
        """Split along a border drawn on a slice; see `splitting.split_by_border_stroke`."""
        box = self.crop_of((label,))
        line = np.array(_inside(stroke, box))
        a, b = _inside((marker_a, marker_b), box)
        return self._change(
            box,
            lambda crop: mends.split_by_border_stroke(
                crop, label, line, a, b, self._free(), smallest_particle=self.smallest_particle
            ),
        )

    def preview_merge(self, labels: Collection[int]) -> Iterable[LabelChange]:
        """Join two or more particles under the number of the largest."""
        wanted = sorted({int(label) for label in labels})
        if len(wanted) < 2:
            raise InvalidValueError("Only one particle is chosen.", "Choose two or more to merge.")
        keep = max(wanted, key=lambda label: (self._voxels(label), -label))
        others = [label for label in wanted if label != keep]
        return self._replaced(others, keep)

    def preview_delete(self, labels: Collection[int]) -> Iterable[LabelChange]:
        """Make particles background."""
        wanted = sorted({int(label) for label in labels})
        for label in wanted:
            self._voxels(label)
        return self._replaced(wanted, 0)

    def preview_paint(
        self, label: int | None, centres: Sequence[Point], radius: float, *, over_all: bool = False
    ) -> LabelChange:
        """Paint balls with a particle's number, or (None) with a new one; see `mends.paint`."""
        box = self._brushed(centres, radius)
        number = self._free() if label is None else label
        places = _inside(centres, box)
        return self._change(
            box, lambda crop: mends.paint(crop, number, places, radius, over_all=over_all)
        )

    def preview_erase(
        self, centres: Sequence[Point], radius: float, *, label: int | None = None
    ) -> LabelChange:
        """Make balls background, of one particle or all; what falls to pieces is separated.

        Particles too large to be looked at whole stay one even in pieces.
        """
        brushed = self._brushed(centres, radius)
        box = brushed
        touched = self.labels.labels_in(brushed).tolist() if label is None else [label]
        for own in self.boxes.boxes(touched).values():
            larger = bounding_box(box, own)
            box = larger if larger.size <= MOST_VOXELS else box
        box = box.expanded(1, self.labels.shape)
        whole = [n for n, own in self.boxes.boxes(touched).items() if bounding_box(box, own) == box]
        places = _inside(centres, box)
        return self._change(
            box,
            lambda crop: mends.erase(
                crop, places, radius, self._free(), label=label, separate=whole
            ),
        )

    def preview_fill_holes(self, labels: Collection[int]) -> list[LabelChange]:
        """Fill what particles enclose; see `mends.fill_holes`."""
        return self._each(labels, 1, lambda crop, box, label, free: mends.fill_holes(crop, label))

    def preview_smooth(self, labels: Collection[int], *, radius: int = 2) -> list[LabelChange]:
        """Smooth particles; see `mends.smooth`."""
        return self._each(
            labels,
            radius + 1,
            lambda crop, box, label, free: mends.smooth(crop, label, free, radius=radius),
        )

    def preview_grow_shrink_to_edge(
        self, labels: Collection[int], *, reach: int = 3
    ) -> list[LabelChange]:
        """Move surfaces to the edge in the grey values; see `mends.grow_shrink_to_edge`."""
        return self._each(
            labels,
            reach + 4,
            lambda crop, box, label, free: mends.grow_shrink_to_edge(
                crop, self._grey(box), label, free, reach=reach
            ),
        )

    def _change(self, box: Box, tool: Tool) -> LabelChange:
        free = self._free()
        before = self.labels.read(box)
        return LabelChange(box, before, tool(before), free)

    def _each(
        self,
        labels: Collection[int],
        margin: int,
        tool: Callable[[np.ndarray, Box, int, int], np.ndarray],
    ) -> list[LabelChange]:
        """The changes of a group; what falls to pieces takes numbers that no other one takes."""
        changes = []
        first = free = self._free()
        for label in sorted({int(label) for label in labels}):
            box = self.crop_of((label,), margin)
            before = self.labels.read(box)
            after = tool(before, box, label, free)
            free = max(free, int(after.max(initial=0)) + 1)
            if not np.array_equal(before, after):
                changes.append(LabelChange(box, before, after, first))
        return changes

    def _replaced(self, labels: Sequence[int], by: int) -> Iterable[LabelChange]:
        """Every voxel of `labels` becomes `by`; in one crop a particle where that is small."""

        def tool(crop: np.ndarray) -> np.ndarray:
            import fastremap

            after: np.ndarray = fastremap.remap(
                crop, dict.fromkeys(labels, by), preserve_missing_labels=True
            )
            return after

        boxes = [self.boxes.box(label) for label in labels]
        if sum(box.size for box in boxes) > MOST_VOXELS:
            return ChangesByPiece(self.labels, boxes, tool)
        return [self._change(box, tool) for box in boxes]

    def _voxels(self, label: int) -> int:
        """How many voxels a particle has now; `InvalidValueError` when it has none."""
        count = 0
        for piece in _aligned_pieces(self.boxes.box(label), self.labels.shape):
            count += int(np.count_nonzero(self.labels.read(piece) == label))
        if not count:
            raise InvalidValueError(f"Particle {label} is not there.", "Choose another one.")
        return count

    def _brushed(self, centres: Sequence[Point], radius: float) -> Box:
        """The part of the volume that the brush reaches."""
        points = np.asarray(centres, dtype=np.float64).reshape(-1, 3)
        if not len(points) or not np.isfinite(points).all():
            raise InvalidValueError("The brush touched nothing.", "Draw inside the scan.")
        low = np.floor(points.min(axis=0) - radius).astype(int).tolist()
        high = (np.ceil(points.max(axis=0) + radius).astype(int) + 1).tolist()
        box = Box(tuple(low), tuple(high)).intersection(Box.whole(self.labels.shape))
        if not box.size:
            raise InvalidValueError("The brush is outside the scan.", "Draw inside the scan.")
        if box.size > MOST_VOXELS:
            raise InvalidValueError("The stroke of the brush is too long.", "Draw it in pieces.")
        return box

    def _grey(self, box: Box) -> np.ndarray:
        if self.scan is None:
            raise InvalidValueError(
                "The scan of this run is not there.", "Use a tool that needs no grey values."
            )
        return np.ascontiguousarray(self.scan.read(box))  # the tools pass over it voxel by voxel

    def _free(self) -> int:
        return self.journal.next_label()


def _inside(points: Sequence[Point] | np.ndarray, box: Box) -> list[list[float]]:
    """Points of the volume as points of the crop `box`."""
    moved = np.asarray(points, dtype=np.float64).reshape(-1, 3) - box.start
    found: list[list[float]] = moved.tolist()
    return found


def _aligned_pieces(box: Box, shape: Shape) -> Iterator[Box]:
    """Pieces of the volume, begun at stored blocks, that together hold `box`."""
    z, y, x = (a // _PIECE_EDGE * _PIECE_EDGE for a in box.start)
    depth, height, width = (b - a for a, b in zip((z, y, x), box.stop, strict=True))
    for piece in blocks((depth, height, width), (_PIECE_EDGE,) * 3):
        start = (piece.start[0] + z, piece.start[1] + y, piece.start[2] + x)
        stop = tuple(min(a + _PIECE_EDGE, n) for a, n in zip(start, shape, strict=True))
        yield Box(start, stop)  # type: ignore[arg-type]
