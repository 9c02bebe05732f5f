"""Where the files of a run's review lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReviewPaths:
    """Where the labels, the table, the journal of mends and the scored cases of a run lie.

    Only the first two are there for every finished run.
    """

    labels: Path
    table: Path
    journal: Path
    cases: Path


def review_paths(run_folder: Path) -> ReviewPaths:
    return ReviewPaths(
        labels=run_folder / "labels.h5",
        table=run_folder / "particles.parquet",
        journal=run_folder / "review.sqlite",
        cases=run_folder / "review_cases.parquet",
    )
