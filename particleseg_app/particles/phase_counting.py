"""Counts the voxels of each phase in each particle, block by block, on all cores.

Near the surface of a particle the scanner mixes it with what is around it, and a rim of grey
values in between would look like a phase. So the voxels of a particle have levels: 2 from 2.5
voxels inside the surface on (all of the 5³ voxels around belong to the particle), 1 from 1.5 voxels
on (the 3³ around), 0 the rest. A particle counts with its voxels of level 2; where these are fewer
than `ENOUGH_VOXELS`, with those from level 1 on; where these are too few as well, with all. The
scan's edge cuts particles but mixes nothing: it is no surface, and the scan is taken to go on
beyond it as at it.

Noise would scatter the voxels of a phase over its neighbours. So a voxel counts with its *local
grey value*, the mean over itself and its 26 neighbours, without those of other particles and
without the rim (level 0) unless it lies there itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.memory_limit import (
    DEFAULT_MEMORY_LIMIT_BYTES,
    bytes_for_pieces,
    pieces_at_once,
)
from particleseg_app.particles.measure import Labels
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape, blocks, slabs

if TYPE_CHECKING:
    from typing import Protocol

    class GreyVolume(Protocol):
        """A scan that is read by boxes, as `volumes.Scan`."""

        @property
        def shape(self) -> Shape: ...
        def read(self, box: Box) -> np.ndarray: ...


LEVELS = 3
ENOUGH_VOXELS = 27  # a cube of 3³: shares in steps of 4 %

_CHUNK_EDGE = 64
_BLOCK_VOXELS = 6 * 2**20
_BYTES_PER_VOXEL = 32  # labels and grey values twice, what is alike, sums
_SLAB_VOXELS = 4 * 2**20

Work = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def count_phases(
    labels: Labels,
    scan: GreyVolume | None,
    thresholds: Collection[float],
    progress: Progress,
    cancel: CancelToken,
    block_shape: tuple[int, int] | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> np.ndarray:
    """Voxels of each level and phase in each particle, int64 (labels.count + 1, 3, phases).

    Row 0 is empty. `labels` (z, y, x) uint32, `scan` of the same shape (None without thresholds);
    `thresholds` as in `Phases`. `block_shape` (z, y) and `memory_limit_bytes` change only how much
    is in memory at a time. Raises `Cancelled`.
    """
    from particleseg_app.particles.phase_kernels import count_phase_voxels

    limits = np.array(list(thresholds), np.float64)

    def work(padded: np.ndarray, grey: np.ndarray, counts: np.ndarray) -> None:
        count_phase_voxels(padded, grey, limits, counts)

    return summed_over_blocks(
        labels,
        scan,
        (labels.count + 1, LEVELS, limits.size + 1),
        work,
        "Counting phases",
        progress,
        cancel,
        block_shape,
        memory_limit_bytes,
    )


def count_phases_of(
    labels: Labels,
    scan: GreyVolume,
    thresholds: Collection[float],
    boxes: Mapping[int, Box],
    cancel: CancelToken,
) -> np.ndarray:
    """The rows that `count_phases` gives for the keys of `boxes`, int64 (boxes, 3, phases).

    Each box must hold all voxels of its particle (it may be larger). Raises `Cancelled`.
    """
    from particleseg_app.particles.phase_kernels import count_phase_voxels

    limits = np.array(list(thresholds), np.float64)
    found = np.zeros((len(boxes), LEVELS, limits.size + 1), np.int64)
    for row, (label, box) in enumerate(boxes.items()):
        counts = np.zeros((2, LEVELS, limits.size + 1), np.int64)
        for slab in slabs(box, _SLAB_VOXELS):
            cancel.check()
            padded = (read_padded(labels, slab, 2) == label).astype(np.uint32)
            if padded[2:-2, 2:-2, 2:-2].any():
                count_phase_voxels(padded, read_padded(scan, slab, 1), limits, counts)
        found[row] = counts[1]
    return found


def shares_of(counts: np.ndarray) -> np.ndarray:
    """Share of each phase, float64 (particles, phases), of counts (particles, 3, phases)."""
    from_level = first_levels(np.asarray(counts, np.int64))
    levels = np.arange(LEVELS)
    used = np.where((levels >= from_level[:, None])[:, :, None], counts, 0).sum(axis=1)
    shares: np.ndarray = used / np.maximum(used.sum(axis=1, keepdims=True), 1)
    return shares


def first_levels(counts: np.ndarray) -> np.ndarray:
    """The level from which on the voxels of each particle count, uint8 (particles,)."""
    voxels = counts.sum(axis=2)
    from_level_1 = voxels[:, 1] + voxels[:, 2] >= ENOUGH_VOXELS
    from_level_2 = voxels[:, 2] >= ENOUGH_VOXELS
    return from_level_1.astype(np.uint8) + (from_level_1 & from_level_2)


def summed_over_blocks(
    labels: Labels,
    scan: GreyVolume | None,
    sums_shape: tuple[int, ...],
    work: Work,
    stage: str,
    progress: Progress,
    cancel: CancelToken,
    block_shape: tuple[int, int] | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> np.ndarray:
    """The sum, int64 of `sums_shape`, of what `work(labels, grey values, sums)` adds up.

    `work` is called for blocks that tile the volume, with two voxels more of labels and one of
    grey values on each side, in several threads, with sums that only it writes to. Without a scan
    grey values are empty. Whole numbers, so neither blocks nor threads change the result.
    """
    if scan is not None and tuple(scan.shape) != tuple(labels.shape):
        raise ValueError(f"labels have shape {labels.shape}, the scan {scan.shape}")
    along_zy = block_shape or _block_shape(labels, memory_limit_bytes)
    boxes = list(blocks(labels.shape, (*along_zy, max(1, labels.shape[2]))))
    spare: SimpleQueue[np.ndarray] = SimpleQueue()
    nothing = np.empty((0, 0, 0), np.uint8)

    def do(box: Box) -> None:
        cancel.check()
        padded = read_padded(labels, box, 2).astype(np.uint32, copy=False)
        # The compiled loops do not check their indices.
        if padded.size and int(padded.max()) > labels.count:
            raise ValueError(f"label {padded.max()} is above the count {labels.count}")
        grey = nothing if scan is None else read_padded(scan, box, 1)
        try:
            sums = spare.get_nowait()
        except Empty:
            sums = np.zeros(sums_shape, np.int64)
        work(padded, grey, sums)
        spare.put(sums)

    sums_bytes = 8 * int(np.prod(sums_shape))
    block_bytes = _BYTES_PER_VOXEL * max((box.size for box in boxes), default=0)
    progress.start(stage, len(boxes), "blocks")
    most = pieces_at_once(memory_limit_bytes, block_bytes + sums_bytes)
    with ThreadPoolExecutor(most, thread_name_prefix="phase-blocks") as threads:
        waiting = [threads.submit(do, box) for box in boxes]
        try:
            for done in as_completed(waiting):
                done.result()
                cancel.check()
                progress.advance()
        except BaseException:
            for one in waiting:
                one.cancel()
            raise
    total = np.zeros(sums_shape, np.int64)
    while not spare.empty():
        total += spare.get()
    return total


def read_padded(volume: GreyVolume, box: Box, more: int) -> np.ndarray:
    """The values of `box` with some voxels more on each side; beyond the scan as at its edge."""
    around = box.expanded(more, volume.shape)
    missing = [
        (more - (b - a), more - (d - c))
        for a, b, c, d in zip(around.start, box.start, box.stop, around.stop, strict=True)
    ]
    return np.pad(volume.read(around), missing, mode="edge")


def _block_shape(labels: Labels, memory_limit_bytes: int) -> tuple[int, int]:
    """Blocks over all of x, aligned with the chunks of the stored volumes (64³)."""
    fitting = bytes_for_pieces(memory_limit_bytes) // 2 // _BYTES_PER_VOXEL
    rows = min(_BLOCK_VOXELS, fitting) // (_CHUNK_EDGE * max(1, labels.shape[2]))
    return _CHUNK_EDGE, max(1, rows // _CHUNK_EDGE) * _CHUNK_EDGE
