"""Makes and reads the review queue of a finished run, for window and command line alike."""

from __future__ import annotations

from dataclasses import dataclass

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects.project import Project
from particleseg_app.projects.project_file import cannot_write
from particleseg_app.projects.review_files import open_review
from particleseg_app.projects.segmentation_job import run_and_scan
from particleseg_app.review.cases import ReviewCase, read_cases, write_cases
from particleseg_app.review.error_rates import EstimatedErrorRates, estimated_error_rates


@dataclass(frozen=True)
class ReviewQueue:
    """The cases of a run, the most expected errors first, and what they say of the whole run."""

    cases: list[ReviewCase]
    rates: EstimatedErrorRates
    particle_count: int


def has_review_queue(project: Project, run_id: str) -> bool:
    return project.review_paths(run_id).cases.exists()


def make_review_queue(
    project: Project, run_id: str, progress: Progress, cancel: CancelToken
) -> ReviewQueue:
    """Score every particle and contact of a run, mends included, and keep the cases with the run.

    An earlier queue is replaced; cases that are still the same keep their id. In a project that is
    open for reading only nothing is kept. Raises `UserError` and `Cancelled`, which leave an
    earlier queue as it is.
    """
    from particleseg_app.review.queue import find_cases
    from particleseg_app.segmentation import RunSettings
    from particleseg_app.segmentation.core_unions import figures_of_scan
    from particleseg_app.segmentation.run_folder import SUMMARY, read_origin, read_run_json

    run, scan_entry = run_and_scan(project, run_id)
    with (
        project.open_scan(scan_entry.id) as scan,
        open_review(project, run_id, read_only=True) as review,
    ):
        settings = RunSettings.from_dict(run.settings)
        table = review.table(scan, progress, cancel)
        folder = project.run_folder(run_id)
        cases = find_cases(
            scan,
            review.labels,
            table,
            settings,
            progress,
            cancel,
            origin=read_origin(folder),
            of_scan=figures_of_scan(read_run_json(folder / SUMMARY)),
        )
    if not project.read_only:
        try:
            write_cases(project.review_paths(run_id).cases, cases)
        except OSError as error:
            raise cannot_write(project.folder, error) from error
    return ReviewQueue(cases, estimated_error_rates(cases, len(table)), len(table))


def read_review_queue(project: Project, run_id: str) -> ReviewQueue:
    """The queue as it was made; raises `ProjectError` where there is none or it is damaged."""
    cases = read_cases(project.review_paths(run_id).cases)
    count = len({label for case in cases if len(case.labels) == 1 for label in case.labels})
    return ReviewQueue(cases, estimated_error_rates(cases, count), count)
