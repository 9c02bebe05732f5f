"""What the journal knows of each mend, and which labels it was made for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from particleseg_app.review.block_codec import (
    DamagedBlobError,
    LabelTrace,
    block_box,
    blocks_of,
    decode_traces,
)
from particleseg_app.units import Box, Shape

REVERT = "revert"
APPLIED, UNDONE, DROPPED, REVERTED = "applied", "undone", "dropped", "reverted"
ACCEPTED, MENDED = "accepted", "mended"  # states of a case that a mend gave it
CASE_STATES = ("", ACCEPTED, "rejected", MENDED, "skipped")

_SAMPLES = 64
_SAMPLE_BYTES = 64 * 2**10


class BaseLabels(Protocol):
    """The labels of a segmentation, as `volumes.LabelVolume`; they never change."""

    @property
    def shape(self) -> Shape: ...
    @property
    def count(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def read(self, box: Box) -> np.ndarray: ...
    def read_slice(self, axis: int, index: int) -> np.ndarray: ...


@dataclass(frozen=True)
class JournalEntry:
    """One mend. `made_at` is ISO 8601 with time zone; `box` holds all voxels that changed.

    `labels_before` lost voxels, `labels_after` gained some. `state`: "applied"; "undone" (can be
    redone); "dropped" (undone, then another mend was made); "reverted" (applied, but taken back
    by a later return to the segmentation).
    """

    id: int
    kind: str
    text: str
    user: str
    made_at: str
    state: str
    box: Box
    voxels: int
    labels_before: tuple[int, ...]
    labels_after: tuple[int, ...]
    case_id: str = ""
    traces: tuple[LabelTrace, ...] = field(default=(), repr=False, compare=False)

    @property
    def labels(self) -> frozenset[int]:
        """Labels that gained or lost voxels."""
        return frozenset(self.labels_before) | frozenset(self.labels_after)

    @property
    def highest_label(self) -> int:
        return max(self.labels_after, default=0)


def entry_from_row(row: Sequence[Any], shape: Shape) -> JournalEntry:
    """An entry as stored; raise `DamagedBlobError` for what the journal cannot have written."""
    number, kind, text, user, made_at, state, box_text, voxels, labels, case_id = row
    texts = (kind, text, user, made_at, state, box_text, case_id)
    if (
        not all(isinstance(value, str) for value in texts)
        or not all(isinstance(value, int) for value in (number, voxels))
        or not isinstance(labels, bytes)
        or state not in (APPLIED, UNDONE, DROPPED)
    ):
        raise DamagedBlobError("an entry holds values of the wrong kind")
    traces = tuple(decode_traces(labels, shape))
    return JournalEntry(
        id=number,
        kind=kind,
        text=text,
        user=user,
        made_at=made_at,
        state=state,
        box=_box_from_text(box_text, shape),
        voxels=voxels,
        labels_before=tuple(t.label for t in traces if t.before),
        labels_after=tuple(t.label for t in traces if t.after),
        case_id=case_id,
        traces=traces,
    )


def box_to_text(box: Box) -> str:
    return json.dumps([box.start, box.stop])


def _box_from_text(text: str, shape: Shape) -> Box:
    try:
        start, stop = json.loads(text)
        box = Box(tuple(map(int, start)), tuple(map(int, stop)))  # type: ignore[arg-type]
        inside = all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, shape, strict=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedBlobError("a box cannot be read") from error
    if not inside:
        raise DamagedBlobError("a box lies outside the volume")
    return box


def about_labels(base: BaseLabels) -> dict[str, str]:
    """What tells labels from others: shape, highest label, and a hash of what is stored.

    Of a file on disk the size and 64 evenly spaced pieces are hashed, because reading all of a
    large one would take long at every start; other labels differ in all of them, since they are
    compressed. Of labels in memory all voxels are hashed.
    """
    path = getattr(base, "path", None)
    digest = hashlib.sha256()
    if path is not None:
        _hash_pieces(Path(path), digest)
    else:
        whole = Box.whole(base.shape)
        for index in blocks_of(whole):
            digest.update(np.ascontiguousarray(base.read(block_box(index, base.shape))).tobytes())
    return {
        "shape": json.dumps(list(base.shape)),
        "count": str(int(base.count)),
        "labels": digest.hexdigest(),
    }


def _hash_pieces(path: Path, digest: Any) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(str(size).encode())
        step = max(_SAMPLE_BYTES, size // _SAMPLES)
        for place in range(0, size, step):
            file.seek(place)
            digest.update(file.read(_SAMPLE_BYTES))
