"""What a whole job will cost before it is started: the run, and the table after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import Scan, open_labels

if TYPE_CHECKING:
    from particleseg_app.segmentation import CostEstimate, RunSettings
    from particleseg_app.segmentation.trial import ScanPart


def estimate_job(
    scan: Scan,
    settings: RunSettings,
    cancel: CancelToken,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> CostEstimate:
    """Cost of `run_segmentation_job` on a scan, with a time from a trial of some seconds.

    Raises the same `UserError` as the job itself would, and `Cancelled`.
    """
    from particleseg_app.particles import measure_particles
    from particleseg_app.segmentation import estimate_cost

    def measure(labels_path: Path, part: ScanPart) -> None:
        with open_labels(labels_path) as labels:
            measure_particles(labels, part, settings.voxel_size_um, Progress(), cancel)

    return estimate_cost(scan.shape, settings, cancel, scan, measure, memory_limit_bytes)
