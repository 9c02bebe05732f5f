"""ThreshWater's first half over a whole scan: block by block to classes (000 §4.3.1)."""

from __future__ import annotations

import math
from pathlib import Path

from particleseg_app.cores import usable_cores
from particleseg_app.durable_files import make_folder
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, pieces_at_once
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.threshold_watershed import threshold_classes, threshold_halo
from particleseg_app.segmentation.workers import ThreadWorkers, Workers
from particleseg_app.segmentation.working_scale import GreyVolume
from particleseg_app.units import Shape, blocks

BLOCK_SHAPE: Shape = (192, 192, 192)
# Grey values, masks and squared distances of one block with its halo.
_BYTES_PER_VOXEL = 24


def run_threshold_stage(
    scan: GreyVolume,
    settings: RunSettings,
    threshold: float,
    folder: Path,
    progress: Progress,
    cancel: CancelToken,
    block_shape: Shape = BLOCK_SHAPE,
    workers: Workers | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> ClassPieces:
    """Classes at the scan's own scale; a later call goes on with the blocks that are missing.

    `workers` are those of a cluster, None for the threads of this process.
    """
    make_folder(folder)
    pieces = ClassPieces(folder, scan.shape, list(blocks(scan.shape, block_shape)))
    missing = [index for index in range(len(pieces.boxes)) if not pieces.finished(index)]
    progress.start(
        "Finding particles by threshold",
        total=len(pieces.boxes),
        unit="blocks",
        done=len(pieces.boxes) - len(missing),
    )
    halo = threshold_halo(settings.opening_radius, settings.erosion_radius)

    def find(index: int) -> None:
        box = pieces.boxes[index]
        outer = box.expanded(halo, scan.shape)
        classes = threshold_classes(
            scan.read(outer), threshold, settings.opening_radius, settings.erosion_radius
        )
        pieces.write(index, classes[box.within(outer)])
        progress.advance()

    def most_at_once() -> int:
        voxels = math.prod(n + 2 * halo for n in block_shape)
        return pieces_at_once(memory_limit_bytes, voxels * _BYTES_PER_VOXEL)

    workers = ThreadWorkers(usable_cores()) if workers is None else workers
    workers.each(find, missing, cancel, at_once=most_at_once)
    return pieces
