"""A finished run with one particle too few, one too many and one that is none, to be reviewed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.durable_files import write_json
from particleseg_app.particles import measure_particles, save_table
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.review.cases import ReviewCase, case_id, write_cases
from particleseg_app.units import Box
from particleseg_app.volumes import inspect_source, open_labels
from particleseg_app.volumes.labels import LabelWriter

SHAPE = (48, 80, 80)
VOXEL_UM = 10.0
# Centres (z, y, x) and radius: 1 is two balls joined, 2 and 3 are halves of one, 4 is a speck.
FIRST, SECOND = (24, 22, 22), (24, 22, 39)
HALVED, SPECK, GOOD = (24, 56, 26), (10, 10, 66), (24, 56, 60)
RADIUS = 10
MERGED, LEFT_HALF, RIGHT_HALF, FALSE, RIGHT = 1, 2, 3, 4, 5


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def true_labels() -> np.ndarray:
    """The particles as they should be: balls 1 to 4."""
    labels = np.zeros(SHAPE, np.uint32)
    for number, centre in enumerate((FIRST, SECOND, HALVED, GOOD), start=1):
        labels[ball(centre, RADIUS) & (labels == 0)] = number
    return labels


def found_labels() -> np.ndarray:
    """The particles as a run might find them, with its errors."""
    labels = np.zeros(SHAPE, np.uint32)
    labels[ball(FIRST, RADIUS) | ball(SECOND, RADIUS)] = MERGED
    whole = ball(HALVED, RADIUS)
    labels[whole] = LEFT_HALF
    labels[whole & (np.arange(SHAPE[2]) > HALVED[2])] = RIGHT_HALF
    labels[ball(SPECK, 2)] = FALSE
    labels[ball(GOOD, RADIUS)] = RIGHT
    return labels


def make_project(folder: Path) -> tuple[Path, str]:
    """A project with that run and its queue of three cases; the folder and the run's id."""
    random = np.random.default_rng(5)
    labels = found_labels()
    grey = np.where((labels > 0) & (labels != FALSE), 30_000.0, 12_000.0)
    grey = (grey + random.normal(0, 700, SHAPE)).astype(np.uint16)
    slices = folder / "slices"
    slices.mkdir(parents=True)
    for number, plane in enumerate(grey):
        tifffile.imwrite(slices / f"slice_{number:04d}.tif", plane)
    place = folder / "project"
    with Project.create(place, "Review") as project:
        scan = project.add_scan(inspect_source(slices), Progress(), CancelToken())
        settings = {
            "voxel_size_um": VOXEL_UM,
            "particle_diameter_um": 2 * RADIUS * VOXEL_UM,
            "method": "threshwater",
        }
        project.set_scan_answers(scan.id, VOXEL_UM, 2 * RADIUS * VOXEL_UM)
        run = project.new_run(scan.id, settings)
        run_folder = project.run_folder(run.id)
        with LabelWriter(run_folder / "labels.h5", SHAPE, int(labels.max())) as writer:
            writer.write(Box.whole(SHAPE), labels)
        with open_labels(run_folder / "labels.h5") as stored, project.open_scan(scan.id) as greys:
            table = measure_particles(stored, greys, VOXEL_UM, Progress(), CancelToken())
        save_table(table, run_folder / "particles.parquet")
        write_json(
            run_folder / "provenance.json",
            {"voxel_size_um": VOXEL_UM, "run": run.id, "particle_count": int(labels.max())},
        )
        write_json(run_folder / "settings.json", settings)
        write_json(
            run_folder / "summary.json",
            {"particle_count": int(labels.max()), "method": "threshwater", "seconds": 1.0},
        )
        write_cases(project.review_paths(run.id).cases, _cases(labels))
        return place, run.id


def _cases(labels: np.ndarray) -> list[ReviewCase]:
    middle = tuple((a + b) / 2 for a, b in zip(FIRST, SECOND, strict=True))
    rows = (
        ("merger", (MERGED,), 0.9, middle, (FIRST, SECOND)),
        ("splitter", (LEFT_HALF, RIGHT_HALF), 0.6, HALVED, ()),
        ("false particle", (FALSE,), 0.3, SPECK, ()),
    )
    return [
        ReviewCase(
            id=case_id(kind, which),
            kind=kind,
            labels=which,
            probability=probability,
            weight=1.0,
            evidence={},
            text="There is a reason for this.",
            box=_box(labels, which),
            centre=tuple(float(c) for c in centre),  # type: ignore[arg-type]
            markers=markers,
        )
        for kind, which, probability, centre, markers in rows
    ]


def _box(labels: np.ndarray, which: tuple[int, ...]) -> Box:
    places = np.argwhere(np.isin(labels, which))
    low, high = places.min(axis=0) - 2, places.max(axis=0) + 3
    start = tuple(max(0, int(n)) for n in low)
    stop = tuple(min(n, int(m)) for n, m in zip(SHAPE, high, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]
