"""Segmented scans with a reference, for everything that measures the review queue.

Each scan is kept in a folder: scan.h5, reference.h5, and for each method a folder with
run/labels.h5, particles.parquet, scan.json and evidence.json. All are made once, so that fitting
and measuring can be repeated in minutes.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tifffile

from particleseg_app.durable_files import write_json
from particleseg_app.models import find_model
from particleseg_app.particles import load_table, measure_particles, save_table
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.candidates import Candidate, Evidence, gather_evidence
from particleseg_app.review.cases import ReviewCase, read_cases, write_cases
from particleseg_app.review.network_evidence import PAIR_NAMES, PARTICLE_NAMES
from particleseg_app.review.queue import (
    doubtful_candidates,
    find_cases,
    make_cases,
    second_look,
    within_reach,
)
from particleseg_app.review.scoring import SCORES_FILE, Scores
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.segmentation.core_unions import figures_of_scan
from particleseg_app.segmentation.run import finished_result
from particleseg_app.units import Box
from particleseg_app.volumes import (
    import_scan,
    inspect_source,
    open_labels,
    open_scan,
)
from particleseg_app.volumes.labels import LabelWriter
from tests.benchmarks.review_truth import Truth, truth
from tests.independent_scans import LabelledScan

# Stated diameters of the simulated scans in voxels, round by round of all presets. Most are the
# default model's target diameter, so that the scan is segmented at its own scale; coarse and fine
# scans are there because enlarging blurs and reducing sharpens. The true diameters are 0.6 to 1.7
# times these, so that misjudged sizes are part of what the scores learn.
TARGET_DIAMETER = 26.0
STATED_DIAMETERS = (*[TARGET_DIAMETER] * 7, 9.0, 14.0, 45.0)
MISJUDGED = (0.6, 1.7)
# Two tiles of the network at working scale, so that a scan costs little and the second look can
# still be shifted.
SIMULATED_SHAPE = (112, 96, 96)
FEWEST = 5
# Of the median volume: what the scan's edge leaves of a particle may be next to nothing.
CRUMB_SHARE = 0.1
LABELLED, SIMULATED = "labelled", "simulated"
RESOURCES = Path(__file__).absolute().parents[2] / "resources"
VOXEL_SIZE_UM = 10.0
PARTS = ("particles", "pairs", "missed")


@dataclass(frozen=True)
class SegmentedScan:
    """One finished run with its reference, on disk."""

    folder: Path

    @property
    def name(self) -> str:
        return str(self._facts["name"])

    @property
    def settings(self) -> RunSettings:
        return RunSettings.from_dict(self._facts["settings"])

    @property
    def _facts(self) -> dict:
        return json.loads((self.folder / "scan.json").read_text(encoding="utf-8"))

    @property
    def _of_scan(self) -> np.ndarray | None:
        return figures_of_scan(finished_result(self.folder / "run").summary)

    @property
    def labels_path(self) -> Path:
        return self.folder / "run" / "labels.h5"

    def scan(self):
        return open_scan(self.folder.parent / "scan.h5")

    def labels(self):
        return open_labels(self.labels_path)

    def table(self):
        return load_table(self.folder / "particles.parquet")

    def reference(self) -> np.ndarray:
        return whole(self.folder.parent / "reference.h5")

    def predicted(self) -> np.ndarray:
        return whole(self.labels_path)

    def truth(self) -> Truth:
        return truth(self.reference(), self.predicted())

    def truth_without_crumbs(self) -> Truth:
        """What the scores learn from: nobody could find a crumb that is in a larger particle."""
        reference = self.reference()
        sizes = np.bincount(reference.ravel())[1:]
        crumb = CRUMB_SHARE * float(np.median(sizes[sizes > 0]))
        return truth(reference, self.predicted(), math.ceil(crumb))

    def evidence(self) -> Evidence:
        """All evidence about every particle and contact, of the network too; kept on disk."""
        path = self.folder / "evidence.json"
        if path.exists():
            raw = json.loads(path.read_text(encoding="utf-8"))
            if set(PARTS) <= set(raw):
                return Evidence(*([_candidate(item) for item in raw[part]] for part in PARTS))
        progress, cancel = Progress(), CancelToken()
        with self.scan() as scan, self.labels() as labels:
            found = gather_evidence(scan, labels, self.table(), progress, cancel)
            if self.settings.method == "nnunet":
                everything = found.everything()
                second_look(
                    scan, labels, self.settings, everything, progress, cancel, of_scan=self._of_scan
                )
        write_json(path, {part: [_raw(c) for c in getattr(found, part)] for part in PARTS})
        return found

    def queue(self) -> list[ReviewCase]:
        """The queue that a user gets; kept on disk until the scores change."""
        path = self.folder / "queue.parquet"
        scores = RESOURCES / SCORES_FILE
        if not path.exists() or path.stat().st_mtime < scores.stat().st_mtime:
            progress, cancel = Progress(), CancelToken()
            with self.scan() as scan, self.labels() as labels:
                found = find_cases(
                    scan, labels, self.table(), self.settings, progress, cancel,
                    of_scan=self._of_scan,
                )  # fmt: skip
            write_cases(path, found)
        return read_cases(path)

    def queue_with(self, scores: Scores) -> list[ReviewCase]:
        """The queue that other scores would give, from the evidence kept on disk: what they would
        not have looked at again loses the network's evidence."""
        found = self.evidence()
        method = self.settings.method
        doubtful = doubtful_candidates(found, method, scores)
        if method == "nnunet":
            doubtful = within_reach(doubtful, self.table(), self.settings)
        looked_at = {id(candidate) for candidate in doubtful}
        for candidate in found.everything():
            if id(candidate) not in looked_at:
                for name in (*PARTICLE_NAMES, *PAIR_NAMES):
                    candidate.evidence.pop(name, None)
        with self.scan() as scan:
            return make_cases(found, method, scan.shape, scores)


def _candidate(raw: dict) -> Candidate:
    box = Box(tuple(raw["box"]["start"]), tuple(raw["box"]["stop"]))
    return Candidate(
        tuple(raw["labels"]),
        box,
        raw["evidence"],
        tuple(raw["place"]),
        tuple(tuple(point) for point in raw.get("markers", ())),
        base64.b64decode(raw["region"]),
    )


def _raw(candidate: Candidate) -> dict:
    return asdict(candidate) | {"region": base64.b64encode(candidate.region).decode()}


def whole(path: Path) -> np.ndarray:
    """All labels of a file (z, y, x)."""
    with open_labels(path) as labels:
        return labels.read(Box.whole(labels.shape))


def keep(case: LabelledScan, folder: Path) -> None:
    """Write scan and reference of a case into `folder`, unless they are there."""
    if (folder / "reference.h5").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / "scan.tif", case.grey)
    source = inspect_source(folder / "scan.tif")
    import_scan(source, folder / "scan.h5", Progress(), CancelToken())
    (folder / "scan.tif").unlink()
    with LabelWriter(folder / "reference.h5", case.labels.shape) as writer:
        writer.write(Box.whole(case.labels.shape), case.labels)
        writer.count = int(case.labels.max())


def segmented(folder: Path, name: str, diameter_voxels: float, method: str) -> SegmentedScan:
    """The run of a kept scan with the default model (or ThreshWater), made if it is missing.

    A run of another version of the model is made anew.
    """
    model = find_model("default").fingerprint() if method == "nnunet" else method
    place = folder / method
    result = SegmentedScan(place)
    if (place / "scan.json").exists() and result._facts["model"] == model:
        return result
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    settings = RunSettings(VOXEL_SIZE_UM, diameter_voxels * VOXEL_SIZE_UM, method=method)
    with open_scan(folder / "scan.h5") as scan:
        made = segment(place / "run", scan, settings, Progress(), CancelToken())
        with open_labels(made.labels_path) as labels:
            table = measure_particles(labels, scan, VOXEL_SIZE_UM, Progress(), CancelToken())
    save_table(table, place / "particles.parquet")
    facts = {"name": name, "settings": settings.as_dict(), "model": model}
    write_json(place / "scan.json", facts)
    return result


def labelled_benchmark(
    folder: Path, method: str = "nnunet", only_there: bool = False
) -> Iterator[SegmentedScan]:
    """The labelled scans of docs/accuracy.md, segmented; `only_there` those that are already."""
    if only_there:
        for path in sorted((folder / LABELLED).glob(f"*/{method}/scan.json")):
            yield SegmentedScan(path.parent)
        return
    from tests.benchmarks.accuracy_cases import CASES

    for make in CASES.values():
        case = make()
        if case is None:
            continue
        place = folder / LABELLED / case.name.replace(" ", "_")
        keep(case, place)
        yield segmented(place, case.name, case.diameter_voxels, method)


def simulated_there(folder: Path, method: str) -> list[SegmentedScan]:
    """The simulated scans that `simulated` left in `folder`, segmented and with evidence."""
    return [
        SegmentedScan(path.parent)
        for path in sorted((folder / SIMULATED).glob(f"*/{method}/evidence.json"))
    ]


def simulated(
    folder: Path, seeds: Iterable[int], method: str = "nnunet"
) -> Iterator[SegmentedScan]:
    """Simulated scans of the training generator with seeds that trained nothing, segmented.

    All presets by turns, easy ones as well as hard ones: a fit on hard ones alone would find too
    many errors everywhere. Noisy, zoned and flawed scans are left out: with them no more errors
    were shown and more were foretold (docs/review.md). The first seven rounds have particles of the
    target diameter.
    """
    from particleseg_app.training import PRESETS, simulate_scan
    from particleseg_app.training.harder_scans import HARDER

    for number, seed in enumerate(seeds):
        preset = PRESETS[seed % len(PRESETS)]
        if preset in HARDER:
            continue
        stated = STATED_DIAMETERS[number // len(PRESETS) % len(STATED_DIAMETERS)]
        z, y, x = (round(n * stated / TARGET_DIAMETER) for n in SIMULATED_SHAPE)
        place = folder / SIMULATED / f"{preset}_{seed}_{z}x{y}x{x}"
        name = f"{preset} {seed}"
        if not (place / "reference.h5").exists():
            low, high = np.log(MISJUDGED)
            true = stated * math.exp(np.random.default_rng(seed).uniform(low, high))
            own_scale = stated == TARGET_DIAMETER  # the generator draws the same range by itself
            made = simulate_scan(preset, seed, (z, y, x), None if own_scale else max(6.0, true))
            if made.labels.max() < FEWEST:
                continue
            keep(LabelledScan(name, made.grey, made.labels, stated), place)
        yield segmented(place, name, stated, method)
