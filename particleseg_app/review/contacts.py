"""Which particles touch which, where, and over how many voxel faces; found block by block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape, blocks

_BLOCK_SHAPE: Shape = (128, 128, 128)


class Labels(Protocol):
    """Labels (z, y, x) that are read box by box: a `LabelVolume` or `MendedLabels`."""

    @property
    def shape(self) -> Shape: ...

    def read(self, box: Box) -> np.ndarray: ...


@dataclass(frozen=True)
class Contacts:
    """One row for each pair of labels that share voxel faces, sorted by pair.

    `pairs` (n, 2) int64, the smaller label first; `faces` (n,) how many voxel faces they share;
    `boxes` (n, 6) int64: minimum z, y, x, then maximum z, y, x (exclusive) of the voxels there.
    """

    pairs: np.ndarray
    faces: np.ndarray
    boxes: np.ndarray


def find_contacts(
    labels: Labels,
    progress: Progress,
    cancel: CancelToken,
    block_shape: Shape = _BLOCK_SHAPE,
) -> Contacts:
    """All contacts of a label volume. `block_shape` changes the memory needed, not the result."""
    boxes = list(blocks(labels.shape, block_shape))
    progress.start("Finding contacts", len(boxes), "blocks")

    def one(box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from particleseg_app.review.kernels import contact_faces

        cancel.check()
        stop = tuple(min(b + 1, n) for b, n in zip(box.stop, labels.shape, strict=True))
        block = np.ascontiguousarray(labels.read(Box(box.start, stop)), np.uint32)  # type: ignore[arg-type]
        pairs, places = contact_faces(block, np.array(box.shape, np.int64))
        progress.advance()
        return _gathered(
            pairs.astype(np.uint64)[:, 0] << np.uint64(32) | pairs[:, 1],
            np.ones(len(pairs), np.int64),
            np.concatenate([places, places + 2], axis=1) + np.array(box.start * 2, np.int64),
        )

    keys, faces, found = (
        np.zeros(0, np.uint64),
        np.zeros(0, np.int64),
        np.zeros((0, 6), np.int64),
    )
    threads = usable_cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="contacts") as pool:
        try:
            # In batches, so that no more results wait than threads make in a moment.
            for first in range(0, len(boxes), threads * 8):
                parts = list(pool.map(one, boxes[first : first + threads * 8]))
                keys, faces, found = _gathered(
                    np.concatenate([keys, *(part[0] for part in parts)]),
                    np.concatenate([faces, *(part[1] for part in parts)]),
                    np.concatenate([found, *(part[2] for part in parts)]),
                )
        finally:
            pool.shutdown(cancel_futures=True)
    pairs = np.stack([keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)], axis=1)
    found[:, 3:] = np.minimum(found[:, 3:], np.array(labels.shape))
    return Contacts(pairs.astype(np.int64), faces, found)


def _gathered(
    keys: np.ndarray, faces: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of equal keys joined: faces added, boxes spanned; keys come back rising."""
    if not keys.size:
        return keys, faces, boxes.reshape(0, 6)
    order = np.argsort(keys, kind="stable")
    keys, faces, boxes = keys[order], faces[order], boxes[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return (
        keys[first],
        np.add.reduceat(faces, first),
        np.concatenate(
            [
                np.minimum.reduceat(boxes[:, :3], first),
                np.maximum.reduceat(boxes[:, 3:], first),
            ],
            axis=1,
        ),
    )
