"""The labels of a run as they are after all mends, read like the labels of the segmentation."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from particleseg_app.review.block_codec import DamagedBlobError
from particleseg_app.review.entries import BaseLabels
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.journal_file import damaged
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import LabelVolume, open_labels
from particleseg_app.volumes.chunked_store import SMALLEST_CACHE_BYTES

# A mend reads the particle's box when it is previewed and again when it is applied: enough for
# unpacked labels of some 400³ voxels, the largest box of a tool.
MENDING_CACHE_BYTES = 256 * 2**20


class MendedLabels:
    """Labels (z, y, x) uint32: the segmentation with the blocks that the journal changed over it.

    The same interface as `volumes.LabelVolume`; may be read from several threads while mends are
    made. `count` is the highest label there may be: numbers stay with their particle, so some
    below it may belong to no voxel. A pickle opens the same files again, to be read only.
    """

    def __init__(self, base: BaseLabels, journal: ReviewJournal) -> None:
        if journal.base is not base:
            raise ValueError("the journal was opened for other labels")
        self.base = base
        self.journal = journal
        self.shape: Shape = base.shape
        self.dtype = np.dtype(np.uint32)

    @property
    def path(self) -> Path:
        """The file of the segmentation's labels."""
        path: Path = self.base.path  # type: ignore[attr-defined]
        return path

    @property
    def count(self) -> int:
        return self.journal.highest_label()

    def read(self, box: Box) -> np.ndarray:
        """The labels of `box`, (z, y, x) uint32; may be changed. The box must lie in the volume."""
        labels = self.base.read(box)
        self._paste(box, labels)
        return labels

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        """The 2-D slice at `index` along `axis` (0 z, 1 y, 2 x); the other axes stay in order."""
        labels = self.base.read_slice(axis, index)
        start, stop = [0, 0, 0], list(self.shape)
        start[axis], stop[axis] = index, index + 1
        box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
        self._paste(box, np.expand_dims(labels, axis))
        return labels

    def labels_in(self, box: Box) -> np.ndarray:
        """The labels that have a voxel in `box`, ascending, without 0."""
        import fastremap

        found: np.ndarray = fastremap.unique(self.read(box))
        return found[found > 0]

    def close(self) -> None:
        """Close the journal and the labels of the segmentation. May be called twice."""
        self.journal.close()
        if isinstance(self.base, LabelVolume):
            self.base.close()

    def _paste(self, box: Box, labels: np.ndarray) -> None:
        try:
            self.journal.present.overlay.paste(box, labels)
        except DamagedBlobError as error:
            raise damaged(self.journal.path) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return open_mended_labels, (self.path, self.journal.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_mended_labels(
    labels_path: Path, journal_path: Path, *, read_only: bool = True
) -> MendedLabels:
    """Open a run's labels with its mends; without a journal they are those of the segmentation.

    Raises `ScanError` for bad labels and `ProjectError` for a bad journal.
    """
    least = SMALLEST_CACHE_BYTES if read_only else MENDING_CACHE_BYTES
    base = open_labels(labels_path, least_cache_bytes=least)
    try:
        return MendedLabels(base, ReviewJournal.open(journal_path, base, read_only=read_only))
    except BaseException:
        base.close()
        raise
