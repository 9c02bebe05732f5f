"""What the window shows of a project, and how it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project, RunEntry, ScanEntry

if TYPE_CHECKING:
    import pandas as pd

    from particleseg_app.projects.review_files import Review
    from particleseg_app.review.mended_labels import MendedLabels
    from particleseg_app.volumes import Scan


@dataclass(frozen=True, eq=False)
class Shown:
    """What the views show: a scan, and the particles of one of its runs if `run` is not None.

    Labels and table are those with all mends.
    """

    entry: ScanEntry
    scan: Scan
    run: RunEntry | None = None
    review: Review | None = None
    table: pd.DataFrame | None = None

    @property
    def labels(self) -> MendedLabels | None:
        return None if self.review is None else self.review.labels

    @property
    def voxel_size_um(self) -> float | None:
        if self.run is not None:
            return float(self.run.settings["voxel_size_um"])
        return self.entry.voxel_size_um

    def close(self) -> None:
        if self.review is not None:
            self.review.close()
        self.scan.close()


def load_scan(project: Project, scan_id: str) -> Shown:
    return Shown(project.scan(scan_id), project.open_scan(scan_id))


def load_run(project: Project, run_id: str, progress: Progress, cancel: CancelToken) -> Shown:
    from particleseg_app.projects.review_files import open_review

    run = project.run(run_id)
    scan = project.open_scan(run.scan_id)
    try:
        review = open_review(project, run_id)
        try:
            table = review.table(scan, progress, cancel)
        except BaseException:
            review.close()
            raise
    except BaseException:
        scan.close()
        raise
    return Shown(project.scan(run.scan_id), scan, run, review, table)
