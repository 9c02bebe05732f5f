"""How near the proposed particle diameter is to the true one.

    python -m tests.benchmarks.proposed_diameter [CASE ...]
        [--noise 1.2 | --other-seeds | --conditions | --sizes] [--segment]

On the cases of the accuracy table (or those whose names contain CASE), on simulated ones made from
another seed, under the other conditions or of the sizes of docs/accuracy.md. With `--noise` white
noise is added to each case until particles stand out by that many times it. With `--segment` each
scan is segmented with the diameter that the accuracy table states, and with the proposed one.

The true diameter is the mean equivalent diameter of the labelled particles, each counted as much as
it is wide. "threshold" is the proposal of the threshold alone, from which the network's begins.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.models import DEFAULT_MODEL
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.diameter_proposal import propose_diameter
from particleseg_app.volumes import (
    DiameterProposal,
    Scan,
    diameter_by_threshold,
    import_scan,
    inspect_source,
    open_scan,
)
from tests.benchmarks.accuracy_cases import chosen_cases
from tests.benchmarks.accuracy_checks import SEED_STEPS, SIZES, conditions, sized, with_other_seed
from tests.benchmarks.accuracy_methods import LazyPlace, network_method, outcome_of
from tests.benchmarks.measuring import machine
from tests.independent_scans import ALL, LabelledScan

# Below this a labelled body is a speck, not a particle.
_SPECK = 2.0
_NEAR = 1.25
_FIGURES = ("f1_match", "f1_instance", "merger_ratio", "splitter_ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--noise", type=float, metavar="CONTRAST")
    for kind in ("--other-seeds", "--conditions", "--sizes"):
        kinds.add_argument(kind, action="store_true")
    parser.add_argument("--segment", action="store_true")
    arguments = parser.parse_args()
    print(f"{machine()}; diameters in voxels, proposals as shares of the true one\n")
    print(f"{'scan':62}{'true':>6}{'threshold':>14}{'proposed':>14}{'between':>15}{'seconds':>9}")
    ratios: dict[str, list[float]] = {"threshold": [], "proposed": []}
    segmented: list[list[float]] = []
    for case in _scans(arguments):
        true = true_diameter(case.labels)
        with tempfile.TemporaryDirectory() as name, _imported(case.grey, Path(name)) as scan:
            by_threshold = diameter_by_threshold(scan, CancelToken())
            began = time.perf_counter()
            proposal = propose_diameter(scan, Progress(), CancelToken())
            seconds = time.perf_counter() - began
        for title, found in (("threshold", by_threshold), ("proposed", proposal)):
            ratios[title].append(np.nan if found is None else found.diameter_voxels / true)
        between = "" if proposal is None else f"{proposal.low:.1f} to {proposal.high:.1f}"
        print(
            f"{case.name:62}{true:6.1f}{_share(by_threshold, true):>14}{_share(proposal, true):>14}"
            f"{between:>15}{seconds:9.1f}",
            flush=True,
        )
        if arguments.segment and proposal is not None:
            segmented.append(_segmented(case, proposal.diameter_voxels))
    print()
    for title, values in ratios.items():
        factor = np.maximum(values, 1 / np.array(values))
        near = np.count_nonzero(factor <= _NEAR)
        print(
            f"{title}: {near} of {len(values)} within a factor of {_NEAR}; "
            f"median factor {np.nanmedian(factor):.2f}, largest {np.nanmax(factor):.2f}"
        )
    if segmented:
        means = np.mean(segmented, axis=0).reshape(2, -1)
        for title, figures in zip(("stated", "proposed"), means, strict=True):
            told = ", ".join(f"{name} {x:.3f}" for name, x in zip(_FIGURES, figures, strict=True))
            print(f"means with the diameter {title}: {told}")


def _segmented(case: LabelledScan, proposed: float) -> list[float]:
    """`_FIGURES` with the diameter that is stated for the case, then with the proposed one."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        place = LazyPlace(case, Path(folder))
        for misjudged in (1.0, proposed / case.diameter_voxels):
            method = network_method(DEFAULT_MODEL, "standard", misjudged)
            figures = outcome_of(method, case, place).figures
            found += [figures[name] for name in _FIGURES]
    row = " ".join(f"{value:.3f}" for value in found)
    print(f"    {', '.join(_FIGURES)} as stated and as proposed: {row}", flush=True)
    return found


def _scans(arguments: argparse.Namespace) -> Iterator[LabelledScan]:
    if arguments.conditions:
        yield from conditions()
    elif arguments.sizes:
        yield from map(sized, SIZES)
    elif arguments.other_seeds:
        for make in ALL:
            yield with_other_seed(make, SEED_STEPS[0])
    else:
        for make_case in chosen_cases(arguments.cases or None).values():
            case = make_case()
            if case is not None:
                yield case if arguments.noise is None else noisy(case, arguments.noise)


def true_diameter(labels: np.ndarray) -> float:
    voxels = np.bincount(labels.ravel())[1:]
    diameters = np.cbrt(6 * voxels / np.pi)
    diameters = diameters[diameters > _SPECK]
    return float(np.average(diameters, weights=diameters))


def noisy(case: LabelledScan, contrast_to_noise: float) -> LabelledScan:
    """The scan with white noise; 16 bits that hold all of it."""
    inside = case.labels > 0
    contrast = float(np.median(case.grey[inside])) - float(np.median(case.grey[~inside]))
    random = np.random.default_rng(0)
    grey = case.grey + random.normal(0, contrast / contrast_to_noise, case.grey.shape)
    grey -= min(0.0, float(np.percentile(grey, 0.01)))
    grey = (grey * min(1.0, 65_535 / grey.max())).clip(0, 65_535).astype(np.uint16)
    return replace(case, grey=grey)


def _share(proposal: DiameterProposal | None, true: float) -> str:
    if proposal is None:
        return "none"
    return f"{proposal.diameter_voxels / true:.2f} {proposal.confidence}"


def _imported(grey: np.ndarray, folder: Path) -> Scan:
    tifffile.imwrite(folder / "scan.tif", grey)
    source = inspect_source(folder / "scan.tif")
    import_scan(source, folder / "scan.h5", Progress(), CancelToken())
    return open_scan(folder / "scan.h5")


if __name__ == "__main__":
    main()
