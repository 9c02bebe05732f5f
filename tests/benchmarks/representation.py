"""What target diameter and border thickness allow at best, with a network that makes no mistake.

    python -m tests.benchmarks.representation [--cases NAME …] [--targets 14 20 …]
        [--thicknesses 1.5 2 …] [--per-case]

The true labels of each case of the accuracy benchmark are brought to the working scale, become
border-core classes, and these become particles on the scan's grid again as in a run. The score
against the true labels is the ceiling that the representation sets. *Blurred*: each voxel takes the
class that is strongest after the classes were blurred by σ = 0.7 working voxels, as if the network
saw a little less sharply; this shows what margin a thickness leaves. *Cost*: working voxels per
particle, relative to a target diameter of 26.

Prints one table, means over the cases. Where a case would have more than 16 million working voxels
its middle is taken, at a target of 60 a part of most of them (it prints how many particles).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from particleseg_app.evaluation import Score, evaluate
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings
from particleseg_app.segmentation.border_core import (
    BACKGROUND,
    BORDER,
    CORE,
    labels_to_border_core,
)
from particleseg_app.segmentation.containers import may_hold_containers
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.segmentation.scan_grid import ScanGrid
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import open_labels
from tests.benchmarks.accuracy_cases import chosen_cases
from tests.independent_scans import LabelledScan

TARGETS = (14.0, 20.0, 26.0, 36.0, 60.0)
THICKNESSES = (1.0, 1.5, 2.0, 3.0)
REFERENCE_TARGET = 26.0
BLUR_VOXELS = 0.7
MOST_WORKING_VOXELS = 16e6


@dataclass(frozen=True)
class Ceiling:
    """Scores of a case at one target diameter (working voxels) and border thickness (the same)."""

    sharp: Score
    blurred: Score


class _InMemory:
    """Classes uint8 (z, y, x) with the reading interface of a classes volume."""

    def __init__(self, classes: np.ndarray) -> None:
        self._classes = classes

    @property
    def shape(self) -> Shape:
        z, y, x = self._classes.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        return self._classes[box.slices]


def middle_of(case: LabelledScan, target: float) -> LabelledScan:
    """The case, or the middle of it that stays within the working voxels allowed at a target.

    As in the cases themselves, crumbs of which less than a third is in view are taken out.
    """
    factor = target / case.diameter_voxels
    share = (MOST_WORKING_VOXELS / (case.labels.size * factor**3)) ** (1 / 3)
    if share >= 1:
        return case
    edges = [max(1, int(n * share)) for n in case.labels.shape]
    middle = tuple(
        slice((n - edge) // 2, (n - edge) // 2 + edge)
        for n, edge in zip(case.labels.shape, edges, strict=True)
    )
    labels = case.labels[middle]
    whole = np.bincount(case.labels.ravel())
    crumbs = 3 * np.bincount(labels.ravel(), minlength=whole.size) < whole
    return replace(case, labels=np.where(crumbs[labels], 0, labels), grey=case.grey[middle])


def at_working_scale(labels: np.ndarray, factor: float) -> np.ndarray:
    """Labels (z, y, x) on the working grid, each voxel's from the nearest voxel of the scan."""
    z, y, x = labels.shape
    grid = ScanGrid((z, y, x), working_shape((z, y, x), factor))
    return labels[np.ix_(*(grid.sources(axis) for axis in range(3)))]


def blurred(classes: np.ndarray, sigma: float = BLUR_VOXELS) -> np.ndarray:
    """The class that is strongest at each voxel (uint8) once all were blurred, σ in voxels."""
    core, border = (
        ndimage.gaussian_filter((classes == value).astype(np.float32), sigma)
        for value in (CORE, BORDER)
    )
    background = 1 - core - border
    chosen = np.where(core > border, CORE, BORDER).astype(np.uint8)
    chosen[background >= np.maximum(core, border)] = BACKGROUND
    return chosen


def particles_of(classes: np.ndarray, case: LabelledScan, factor: float) -> np.ndarray:
    """Particles of classes at working scale, on the scan's grid, by the rules of a run."""
    z, y, x = case.labels.shape
    with tempfile.TemporaryDirectory() as folder:
        particles_from_classes(
            _InMemory(classes),
            (z, y, x),
            factor,
            Path(folder) / "work",
            Path(folder) / "labels.h5",
            RunSettings(1.0, case.diameter_voxels).min_relative_volume,
            Progress(),
            CancelToken(),
            leave_out_running_through=may_hold_containers(z, case.diameter_voxels),
        )
        with open_labels(Path(folder) / "labels.h5") as labels:
            return labels.read(Box.whole(labels.shape))


def ceilings(
    case: LabelledScan, target: float, thicknesses: list[float]
) -> Iterator[tuple[float, Ceiling]]:
    """What each border thickness allows at one target diameter."""
    factor = target / case.diameter_voxels
    labels = at_working_scale(case.labels, factor)
    for thickness in thicknesses:
        classes = labels_to_border_core(labels, thickness)
        sharp, soft = (
            evaluate(case.labels, particles_of(made, case, factor))
            for made in (classes, blurred(classes))
        )
        yield thickness, Ceiling(sharp, soft)


FIGURES = ("f1_match", "f1_instance", "merger_ratio", "splitter_ratio")


def table(found: dict[tuple[float, float], list[Ceiling]]) -> list[str]:
    """One row per target diameter and thickness, means over the cases."""
    lines = [
        "| target diameter | cost | border thickness | F1_match | F1_instance | merger | splitter "
        "| blurred: F1_match | F1_instance | merger | splitter |",
        "|" + "---|" * 11,
    ]
    for (target, thickness), scores in found.items():
        values = [
            f"{np.mean([getattr(getattr(score, kind), name) for score in scores]):.3f}"
            for kind in ("sharp", "blurred")
            for name in FIGURES
        ]
        cost = (target / REFERENCE_TARGET) ** 3
        lines.append(f"| {target:g} | {cost:.2f} | {thickness:g} | " + " | ".join(values) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="parts of names; all without")
    parser.add_argument("--targets", nargs="+", type=float, default=list(TARGETS),
                        metavar="VOXELS", help="diameters at working scale")  # fmt: skip
    parser.add_argument("--thicknesses", nargs="+", type=float, default=list(THICKNESSES),
                        metavar="VOXELS", help="of the border, at working scale")  # fmt: skip
    parser.add_argument("--per-case", action="store_true", help="print each case's figures, too")
    options = parser.parse_args()
    try:
        cases = chosen_cases(options.cases)
    except ValueError as error:
        parser.error(str(error))
    found: dict[tuple[float, float], list[Ceiling]] = {
        (target, thickness): [] for target in options.targets for thickness in options.thicknesses
    }
    for key, make in cases.items():
        began = time.monotonic()
        case = make()
        if case is None:
            print(f"Skipped: {key}, its data is not beside the repository.", flush=True)
            continue
        counts = []
        for target in options.targets:
            part = middle_of(case, target)
            counts.append(np.unique(part.labels[part.labels > 0]).size)
            for thickness, ceiling in ceilings(part, target, options.thicknesses):
                found[target, thickness].append(ceiling)
                if options.per_case:
                    both = [
                        " ".join(f"{getattr(score, name):.3f}" for name in FIGURES)
                        for score in (ceiling.sharp, ceiling.blurred)
                    ]
                    print(f"  {target:g} / {thickness:g}: {both[0]} | {both[1]}", flush=True)
        seen = f"{max(counts)} particles"
        if min(counts) < max(counts):
            seen += f" ({min(counts)} of them at the largest target)"
        print(f"{case.name}: {seen}, {time.monotonic() - began:.0f} s", flush=True)
    print("\n" + "\n".join(table(found)))


if __name__ == "__main__":
    main()
