"""Measures every particle of a label volume in one pass over the volume, block by block."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from particleseg_app.memory_limit import (
    DEFAULT_MEMORY_LIMIT_BYTES,
    bytes_for_pieces,
    pieces_at_once,
)
from particleseg_app.particles.surface import equivalent_diameter, sphericity, surface_area
from particleseg_app.particles.table import COLUMNS
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box, Shape, blocks, check_voxel_size

if TYPE_CHECKING:
    import pandas as pd

# Blocks reach over all of x and are aligned with the chunks of the stored volumes (64³), so that
# every chunk is read once.
_CHUNK_EDGE = 64
_BLOCK_VOXELS = 6 * 2**20
# While a block is worked on and the next one is read: labels, grey values twice, labels padded.
_BYTES_PER_VOXEL = 40
_BYTES_PER_LABEL = 136  # of the sums of one thread
# A particle that comes as near as this to where the field of view ends is cut there: in voxels, and
# as a share of its equivalent diameter, because results may end one working voxel before it.
_LEAST_REACH, _REACH = 2.0, 0.06
_FAR = 64  # voxels; farther away nothing is cut
_NOT_NEAR = np.iinfo(np.int64).max


class Labels(Protocol):
    """A label volume that is read by boxes, as `volumes.LabelVolume`."""

    @property
    def shape(self) -> Shape: ...
    @property
    def count(self) -> int: ...
    def read(self, box: Box) -> np.ndarray: ...


class _Statistics(Protocol):
    @property
    def mean(self) -> float: ...


class _FieldOfView(Protocol):
    @property
    def distance(self) -> np.ndarray: ...


class Greys(Protocol):
    """A scan that is read by boxes, as `volumes.Scan`.

    It knows its mean grey value, and how far each voxel of a slice lies from where its field of
    view ends, None where all of it was seen.
    """

    @property
    def shape(self) -> Shape: ...
    @property
    def statistics(self) -> _Statistics: ...
    @property
    def field_of_view(self) -> _FieldOfView | None: ...
    def read(self, box: Box) -> np.ndarray: ...


def measure_particles(
    labels: Labels,
    scan: Greys | None,
    voxel_size_um: float,
    progress: Progress,
    cancel: CancelToken,
    block_shape: tuple[int, int] | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> pd.DataFrame:
    """Measure every particle; one row a particle, sorted by label, columns as `COLUMNS`.

    `labels` (z, y, x) uint32, 0 background; `scan` of the same shape, or None (the grey columns
    are then empty). `block_shape` (z, y) and `memory_limit_bytes` change only how much is in memory
    at a time, not the result. Labels without a voxel have no row. The voxel size in µm is kept in
    `table.attrs["voxel_size_um"]`. Raises `InvalidValueError` for an impossible voxel size and
    `Cancelled`. Definitions: docs/descriptors.md (003 §2.4).
    """
    check_voxel_size(voxel_size_um)
    if scan is not None and tuple(scan.shape) != tuple(labels.shape):
        raise ValueError(f"labels have shape {labels.shape}, the scan {scan.shape}")
    sums = _Sums(labels.count)
    # A whole number as the origin of the grey values keeps their sums small, and exact for
    # integer scans.
    grey_origin = float(np.rint(scan.statistics.mean)) if scan is not None else 0.0
    to_outside = distance_to_outside(scan)
    block_shape = block_shape or _default_block_shape(labels.shape, memory_limit_bytes)
    boxes = list(blocks(labels.shape, (*block_shape, max(1, labels.shape[2]))))
    lag = _LaggingBlocks(labels.shape)
    spare: SimpleQueue[_Sums] = SimpleQueue()
    progress.start("Measuring particles", len(boxes), "blocks")

    def read(box: Box) -> tuple[np.ndarray, np.ndarray]:
        block = np.ascontiguousarray(labels.read(box), dtype=np.uint32)
        # The compiled loops do not check their indices.
        if block.size and int(block.max()) > labels.count:
            raise ValueError(f"label {block.max()} is above the count {labels.count}")
        if scan is None:
            return block, np.empty((0, 0, 0))
        return block, np.subtract(scan.read(box), grey_origin, dtype=np.float64)

    def measure(block: np.ndarray, grey: np.ndarray, padded: np.ndarray, box: Box) -> _Part:
        cancel.check()
        try:
            own = spare.get_nowait()
        except Empty:
            own = _Sums(labels.count)
        own.add(block, grey, padded, box)
        own.note_cut(block, to_outside, box)
        part = own.taken_out()
        spare.put(own)
        return part

    def take_in(part: _Part) -> None:
        # In the order of the blocks, so that the sums do not depend on how fast each one was.
        sums.merge(part)
        progress.advance()

    block_bytes = _BYTES_PER_VOXEL * max(box.size for box in boxes)
    most = pieces_at_once(memory_limit_bytes, block_bytes + _BYTES_PER_LABEL * labels.count)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="read-blocks") as reader,
        ThreadPoolExecutor(most, thread_name_prefix="measure-blocks") as threads,
    ):
        coming = reader.submit(read, boxes[0])
        waiting: deque[Future[_Part]] = deque()
        for i, box in enumerate(boxes):
            cancel.check()
            block, grey = coming.result()
            if i + 1 < len(boxes):
                coming = reader.submit(read, boxes[i + 1])
            waiting.append(threads.submit(measure, block, grey, lag.padded(block, box), box))
            if len(waiting) == most:
                take_in(waiting.popleft().result())
        while waiting:
            take_in(waiting.popleft().result())
    cancel.check()
    return _table(sums, labels.shape, scan is not None, grey_origin, voxel_size_um)


def _default_block_shape(shape: Shape, memory_limit_bytes: int) -> tuple[int, int]:
    fitting = bytes_for_pieces(memory_limit_bytes) // 2 // _BYTES_PER_VOXEL
    rows = min(_BLOCK_VOXELS, fitting) // (_CHUNK_EDGE * shape[2])
    return _CHUNK_EDGE, max(1, rows // _CHUNK_EDGE) * _CHUNK_EDGE


class _Sums:
    """What is known of each particle so far; row n belongs to label n."""

    def __init__(self, count: int) -> None:
        rows = count + 1
        self.voxels = np.zeros(rows, dtype=np.int64)
        self.coordinates = np.zeros((rows, 3))
        self.boxes = np.zeros((rows, 6), dtype=np.int64)
        self.boxes[:, :3] = np.iinfo(np.int64).max
        self.greys = np.zeros((rows, 2))
        self.exits = np.zeros((rows, 3), dtype=np.int64)
        self.to_outside = np.full(rows, _NOT_NEAR, dtype=np.int64)  # least distance, voxels

    def add(self, block: np.ndarray, grey: np.ndarray, padded: np.ndarray, box: Box) -> None:
        """Add a block's voxels and its ends, these from `_LaggingBlocks.padded`."""
        from particleseg_app.particles.kernels import accumulate_voxels, count_exits

        z, y, _ = box.start
        accumulate_voxels(block, grey, z, y, self.voxels, self.coordinates, self.boxes, self.greys)
        count_exits(padded, self.exits)

    def note_cut(self, block: np.ndarray, to_outside: np.ndarray | None, box: Box) -> None:
        """Note how near the particles of a block come to where the field of view ends."""
        if to_outside is None:
            return
        distance = to_outside[box.slices[1:]]
        near = distance < _FAR
        labels = block[:, near]
        found = labels > 0
        if found.any():
            distances = np.broadcast_to(distance[near], labels.shape)[found].astype(np.int64)
            np.minimum.at(self.to_outside, labels[found], distances)

    def taken_out(self) -> _Part:
        """The rows of the labels that were met, which begin anew here."""
        # Ends are counted later than voxels, so a particle may have only ends in a block.
        met = np.flatnonzero((self.voxels > 0) | self.exits.any(axis=1))
        part = _Part(met, *(array[met] for array in self._arrays))
        for array in self._arrays:
            array[met] = 0
        self.boxes[met, :3] = np.iinfo(np.int64).max
        self.to_outside[met] = _NOT_NEAR
        return part

    def merge(self, part: _Part) -> None:
        self.voxels[part.label] += part.voxels
        self.coordinates[part.label] += part.coordinates
        self.greys[part.label] += part.greys
        self.exits[part.label] += part.exits
        self.to_outside[part.label] = np.minimum(self.to_outside[part.label], part.to_outside)
        low, high = self.boxes[part.label, :3], self.boxes[part.label, 3:]
        self.boxes[part.label, :3] = np.minimum(low, part.boxes[:, :3])
        self.boxes[part.label, 3:] = np.maximum(high, part.boxes[:, 3:])

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.voxels, self.coordinates, self.boxes, self.greys, self.exits, self.to_outside


class _Part(NamedTuple):
    """What one block tells of the particles in it; row i belongs to `label[i]`."""

    label: np.ndarray
    voxels: np.ndarray
    coordinates: np.ndarray
    boxes: np.ndarray
    greys: np.ndarray
    exits: np.ndarray
    to_outside: np.ndarray


def distance_to_outside(scan: Greys | None) -> np.ndarray | None:
    """How far each voxel of a slice (y, x) lies from what was not seen; None where all was."""
    view = None if scan is None else scan.field_of_view
    return None if view is None else view.distance


class _LaggingBlocks:
    """What is needed to count where particles end, with every block read only once.

    A voxel's last neighbour is one slice and one row further on, so counting lags one slice and
    one row behind the blocks: the last slice of the blocks above and the last two rows of the
    block before are kept. Outside the volume everything is background.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        _, height, width = shape
        # Two rows before the first, one after the last; one column more on either side.
        self._slice_above = np.zeros((height + 3, width + 2), dtype=np.uint32)
        self._slice_here = np.zeros_like(self._slice_above)
        self._rows_before = np.zeros((0, 2, width + 2), dtype=np.uint32)

    def padded(self, block: np.ndarray, box: Box) -> np.ndarray:
        """What `block` completes, as `count_exits` takes it.

        Blocks come in raster order and reach over all of x.
        """
        depth, height, width = self._shape
        layers, rows, _ = block.shape
        y = box.start[1]
        last_rows, last_layers = box.stop[1] == height, box.stop[0] == depth
        if y == 0:
            self._rows_before = np.zeros((layers, 2, width + 2), dtype=np.uint32)
        padded = np.zeros((layers + 1 + last_layers, rows + 2 + last_rows, width + 2), np.uint32)
        padded[0] = self._slice_above[y : y + padded.shape[1]]
        padded[1 : layers + 1, :2] = self._rows_before
        padded[1 : layers + 1, 2 : rows + 2, 1:-1] = block
        self._rows_before = padded[1 : layers + 1, rows : rows + 2].copy()
        self._slice_here[y + 2 : y + 2 + rows, 1:-1] = block[-1]
        if last_rows:
            self._slice_above, self._slice_here = self._slice_here, self._slice_above
        return padded


def _table(
    sums: _Sums, shape: Shape, has_grey: bool, grey_origin: float, voxel_size_um: float
) -> pd.DataFrame:
    import pandas as pd

    label = np.flatnonzero(sums.voxels)
    voxels = sums.voxels[label]
    # Indices point at voxel centres; lengths are measured from the scan's first corner.
    centroid = (sums.coordinates[label] / voxels[:, None] + 0.5) * voxel_size_um
    volume = voxels * voxel_size_um**3
    surface = surface_area(sums.exits[label], voxel_size_um)
    box = sums.boxes[label]
    reach = np.maximum(_LEAST_REACH, _REACH * np.cbrt(6 * voxels / np.pi))
    at_view_edge = sums.to_outside[label] <= reach
    at_face = ((box[:, :3] == 0) | (box[:, 3:] == np.array(shape))).any(axis=1)
    if has_grey:
        grey = sums.greys[label] / voxels[:, None]
        grey_mean = grey[:, 0] + grey_origin
        grey_std = np.sqrt(np.maximum(grey[:, 1] - grey[:, 0] ** 2, 0.0))
    else:
        grey_mean = np.full(label.size, np.nan)
        grey_std = grey_mean
    values = {
        "label": label.astype(np.int64),
        "centroid_z_um": centroid[:, 0],
        "centroid_y_um": centroid[:, 1],
        "centroid_x_um": centroid[:, 2],
        "volume_voxels": voxels,
        "volume_um3": volume,
        "equivalent_diameter_um": equivalent_diameter(volume),
        "surface_area_um2": surface,
        "sphericity": sphericity(volume, surface),
        "box_z_min": box[:, 0],
        "box_y_min": box[:, 1],
        "box_x_min": box[:, 2],
        "box_z_max": box[:, 3],
        "box_y_max": box[:, 4],
        "box_x_max": box[:, 5],
        "grey_mean": grey_mean,
        "grey_std": grey_std,
        "touches_scan_edge": at_face | at_view_edge,
    }
    table = pd.DataFrame({column.name: values[column.name] for column in COLUMNS})
    table.attrs["voxel_size_um"] = float(voxel_size_um)
    return table
