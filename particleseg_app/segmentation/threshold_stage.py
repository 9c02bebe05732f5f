"""ThreshWater's first half over a whole scan: block by block to classes (000 §4.3.1)."""

from __future__ import annotations

from pathlib import Path

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.threshold_watershed import threshold_classes, threshold_halo
from particleseg_app.segmentation.workers import ThreadWorkers, Workers
from particleseg_app.segmentation.working_scale import GreyVolume
from particleseg_app.units import Shape, blocks

BLOCK_SHAPE: Shape = (192, 192, 192)


def run_threshold_stage(
    scan: GreyVolume,
    settings: RunSettings,
    threshold: float,
    folder: Path,
    progress: Progress,
    cancel: CancelToken,
    block_shape: Shape = BLOCK_SHAPE,
    workers: Workers | None = None,
) -> ClassPieces:
    """Classes at the scan's own scale; a later call goes on with the blocks that are missing.

    `workers` are those of a cluster, None for this thread alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
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

    workers = ThreadWorkers(1) if workers is None else workers
    workers.each(find, missing, cancel)
    return pieces
