"""The files of a run's review, and how window and command line open them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from particleseg_app.particles import load_table
from particleseg_app.particles.measure import Greys as MeasuredGreys
from particleseg_app.particles.phase_files import StoredPhases, load_phases
from particleseg_app.particles.phases import without_phases
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.entries import RunEntry
from particleseg_app.projects.review_paths import ReviewPaths
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.label_boxes import LabelBoxes
from particleseg_app.review.mended_labels import MendedLabels, open_mended_labels
from particleseg_app.review.mended_table import changed_labels, measured_again
from particleseg_app.review.mending import Greys, Mending
from particleseg_app.review.training_patch import save_training_patch
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.units import Box

if TYPE_CHECKING:
    import pandas as pd

    from particleseg_app.projects.project import Project


class Review:
    """The labels of a finished run with its mends. A context manager."""

    def __init__(
        self,
        paths: ReviewPaths,
        labels: MendedLabels,
        segmented: pd.DataFrame,
        smallest_particle: float,
    ) -> None:
        """Use `open_review`. `segmented`: the table as it was before any mend;
        `smallest_particle`: the fewest voxels that the run keeps as a particle."""
        self.paths = paths
        self.labels = labels
        self.segmented_table = segmented
        self.smallest_particle = smallest_particle
        self.phases: StoredPhases | None = None
        self.boxes = LabelBoxes(segmented, labels.journal)

    @property
    def journal(self) -> ReviewJournal:
        return self.labels.journal

    def mending(self, scan: Greys | None) -> Mending:
        """The mending tools on this run; `scan` is not closed by the review."""
        return Mending(self.labels, scan, self.boxes, self.smallest_particle)

    def read_phases(self) -> None:
        """Take up the phases that the run has now, or none; tables have their columns from then on.

        Raises `ProjectError` when they are damaged.
        """
        phases, plain = load_phases(self.paths.table.parent), without_phases(self.segmented_table)
        self.segmented_table = plain if phases is None else phases.table_with_phases(plain)
        self.phases = phases

    def table(
        self, scan: MeasuredGreys | None, progress: Progress, cancel: CancelToken
    ) -> pd.DataFrame:
        """The particle table with all mends; only particles that changed are measured again."""
        return self.table_after(
            self.segmented_table, changed_labels(self.labels), scan, progress, cancel
        )

    def table_after(
        self,
        table: pd.DataFrame,
        changed: Collection[int],
        scan: MeasuredGreys | None,
        progress: Progress,
        cancel: CancelToken,
    ) -> pd.DataFrame:
        """A table brought up to date after a mend, undo or redo that changed these labels.

        It must have the phases that were read last.
        """
        phases = None if self.phases is None else self.phases.phases
        return measured_again(
            table, changed, self.labels, self.boxes, scan, progress, cancel, phases
        )

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        self.labels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_review(project: Project, run_id: str, *, read_only: bool | None = None) -> Review:
    """Open the labels and mends of a finished run; to be read only if the project is.

    Raises `ScanError` and `ProjectError` for files that are missing or damaged.
    """
    paths = project.review_paths(run_id)
    table = load_table(paths.table)
    only = project.read_only if read_only is None else read_only or project.read_only
    labels = open_mended_labels(paths.labels, paths.journal, read_only=only)
    review = Review(paths, labels, table, _smallest_particle(project.run(run_id), table))
    try:
        review.read_phases()
    except BaseException:
        review.close()
        raise
    return review


def _smallest_particle(run: RunEntry, table: pd.DataFrame) -> float:
    """The fewest voxels that a run keeps as a particle."""
    share = RunSettings.from_dict(run.settings).min_relative_volume
    return share * float(table["volume_voxels"].mean()) if len(table) else 0.0


def save_patch(
    project: Project, run_id: str, review: Review, box: Box, folder: Path, name: str | None = None
) -> list[Path]:
    """Save a region of a run as a labelled patch for training, named after run and region.

    Sizes are those the run was made with. Raises `InvalidValueError` and `ExportError`.
    """
    run = project.run(run_id)
    name = name or "_".join((project.name, run.id, *(str(n) for n in box.start)))
    with project.open_scan(run.scan_id) as scan:
        return save_training_patch(
            scan,
            review.labels,
            box,
            float(run.settings["voxel_size_um"]),
            float(run.settings["particle_diameter_um"]),
            folder,
            re.sub(r"[^\w -]", "-", name)[:100].strip(),
        )
