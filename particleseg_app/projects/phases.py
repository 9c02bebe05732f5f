"""Proposes, sets and removes the phases of a finished run, for window and command line alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.errors import ProjectError
from particleseg_app.memory_limit import DEFAULT_MEMORY_LIMIT_BYTES, cache_bytes
from particleseg_app.particles import load_table
from particleseg_app.particles.interior_histogram import InteriorHistogram
from particleseg_app.particles.phase_counting import count_phases, shares_of
from particleseg_app.particles.phase_files import load_phases, remove_phases, save_phases
from particleseg_app.particles.phase_files import rename_phases as rename_stored_phases
from particleseg_app.particles.phase_proposal import PhaseProposal, propose_phases
from particleseg_app.particles.phases import MAIN_PHASE, Phases, phase_names, share_column
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.project import Project
from particleseg_app.projects.review_files import open_review
from particleseg_app.volumes import open_labels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PhaseSummary:
    """A phase over all particles: its share of their volume, and of how many it is the main one."""

    name: str
    above: float | None
    up_to: float | None
    volume_share: float
    particles: int


def propose_run_phases(
    project: Project, run_id: str, progress: Progress, cancel: CancelToken
) -> PhaseProposal:
    """Propose phases for a finished run, mends included; nothing is kept.

    Raises `ScanError`, `ProjectError` and `Cancelled`.
    """
    run = project.run(run_id)
    with (
        project.open_scan(run.scan_id) as scan,
        open_review(project, run_id, read_only=True) as review,
    ):
        return propose_phases(review.labels, scan, progress, cancel)


def set_run_phases(
    project: Project,
    run_id: str,
    phases: Phases,
    histogram: InteriorHistogram,
    progress: Progress,
    cancel: CancelToken,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> None:
    """Count the phases of every particle and keep them with the run, in place of earlier ones.

    With the thresholds that are there already only the names change. Raises `UserError` and
    `Cancelled`, which leave everything as it was.
    """
    project.check_writable()
    folder = project.run_folder(run_id)
    paths = project.review_paths(run_id)
    stored = load_phases(folder)
    if (
        stored is not None
        and stored.phases.thresholds == phases.thresholds
        and stored.shares_path.exists()
    ):
        try:
            rename_stored_phases(folder, stored, phases.names)
        except OSError as error:
            raise _cannot_write(project, error) from error
        return
    label = load_table(paths.table)["label"].to_numpy()
    cache = cache_bytes(memory_limit_bytes)
    with (
        project.open_scan(project.run(run_id).scan_id, cache) as scan,
        # As segmented: mended particles are counted again whenever they are shown.
        open_labels(paths.labels, cache) as labels,
    ):
        counts = count_phases(
            labels,
            scan,
            phases.thresholds,
            progress,
            cancel,
            memory_limit_bytes=memory_limit_bytes,
        )
    try:
        save_phases(folder, phases, histogram, label, shares_of(counts[label]))
    except OSError as error:
        raise _cannot_write(project, error) from error


def remove_run_phases(project: Project, run_id: str) -> None:
    """Take the phases of a run away; its other results stay as they are."""
    project.check_writable()
    try:
        remove_phases(project.run_folder(run_id))
    except OSError as error:
        raise _cannot_write(project, error) from error


def phase_summaries(table: pd.DataFrame, phases: Phases) -> list[PhaseSummary]:
    """What each phase holds in a table that has the columns of these phases, darkest first."""
    if phase_names(table) != phases.names:
        raise ValueError("the table has other phases")
    volume = table["volume_voxels"].to_numpy(np.float64)
    total = max(1.0, float(volume.sum()))
    main = table[MAIN_PHASE].cat.codes.to_numpy()
    limits = (None, *phases.thresholds, None)
    return [
        PhaseSummary(
            name,
            limits[number],
            limits[number + 1],
            float((table[share_column(name)].to_numpy() * volume).sum()) / total,
            int(np.count_nonzero(main == number)),
        )
        for number, name in enumerate(phases.names)
    ]


def _cannot_write(project: Project, error: OSError) -> ProjectError:
    return ProjectError(
        f"The phases cannot be kept in {project.folder} ({error.strerror or error}).",
        "Check your permissions and the free space of the disk.",
    )
