"""The methods side by side, run through the program's own path from TIFF to labels.

Results are kept in the benchmark cache, under a key made of the voxels, the method, its weights and
the code that decides on its result, so that a measurement that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tifffile

from particleseg_app.durable_files import write_bytes
from particleseg_app.errors import ModelError
from particleseg_app.evaluation import count_overlaps, matched_pairs, score
from particleseg_app.models import choose_device, find_model, list_models, model_card, model_folder
from particleseg_app.models.model_folder import model_root
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import (
    RunSettings,
    border_core,
    completed_classes,
    containers,
    core_unions,
    denoised_scan,
    even_slices,
    large_particles,
    noise,
    plan,
    rings,
    running_median,
    segment,
    threshold_watershed,
    tiles,
    total_variation,
    tube_rays,
    tube_ring,
    tube_wall,
    working_scale,
)
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from tests.benchmarks.accuracy_record import code_version, scan_digest
from tests.benchmarks.slice_network import SlicePredictor, cache_folder, find_slice_network
from tests.independent_scans import LabelledScan

VOXEL_SIZE_UM = 10.0
GOOD_DICE = 0.5  # a particle counts as right in the pictures from here on
FIGURES = (
    "f1",
    "f1_match",
    "f1_instance",
    "merger_ratio",
    "splitter_ratio",
    "volumetric_similarity",
    "elongation_deviation",
    "flatness_deviation",
)


@dataclass(frozen=True)
class Outcome:
    """What one method made of one case.

    `figures`: as `FIGURES`, plus counts. `plane`: the predicted labels in the case's picture slice
    (`picture_slice`); `right`: those of them that agree with a particle of the reference.
    """

    figures: dict[str, float]
    plane: np.ndarray
    right: np.ndarray
    missed: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Method:
    """A method by its short name, the title in the tables, and how it segments a case.

    `version` tells when its results may change (`version_of`); `cache_key` is that and whatever
    else its results in the cache depend on, empty where they are not kept.
    """

    name: str
    title: str
    run: Callable[[Workplace], Outcome]
    cache_key: str = ""
    version: str = ""


# The rules that decide on particles once there are classes, and on what a network is shown. The
# code that follows them block by block, on whatever device, is held to them by its own tests.
PARTICLE_RULES = (border_core, containers, tube_rays, tube_ring, tube_wall)
NETWORK_RULES = (
    *PARTICLE_RULES,
    tiles,
    working_scale,
    noise,
    total_variation,
    denoised_scan,
    even_slices,
    model_card,
)
LARGE_RULES = (large_particles, completed_classes)
RULE_VALUES = (
    f"smallest {RunSettings.min_relative_volume}, containers {containers.CONTAINER_DIAMETERS}"
)


def _room_of(module: ModuleType) -> list[Path]:
    """The source files beside a module."""
    return sorted(Path(str(module.__file__)).parent.glob("*.py"))


def version_of(name: str, preset: str = "standard") -> str | None:
    """Version of a method as it is now, None for a model that is not there."""
    if name == "threshwater":
        grid = f"{THRESHOLD_SHARES}{FINER_STEP}{OPENINGS}{EROSION_SHARES}"
        return code_version((*PARTICLE_RULES, threshold_watershed), name, grid, RULE_VALUES)
    if name == "otsu":
        return code_version((*PARTICLE_RULES, threshold_watershed), name, RULE_VALUES)
    if name == "slices":
        # Its weights lie in the cache of one machine; trained again, it is measured again.
        sources = sorted((Path(__file__).parent / "slice_network").glob("*.py"))
        return code_version((*NETWORK_RULES, *sources), name, RULE_VALUES)
    try:
        overlap = f"{plan.OVERLAP_VOXELS[preset]} {plan.OVERLAP_SHARE[preset]}"
        passes = f"{overlap} {plan.MIRRORING[preset]}"
        entry = find_model(name)
        rule = core_unions.union_rule_of(entry)
        unions = "none" if rule is None else rule.fingerprint()
        rules = (*NETWORK_RULES, core_unions, rings, running_median, *LARGE_RULES)
        return code_version(rules, entry.fingerprint(), passes, RULE_VALUES, unions)
    except ModelError:
        return None


class Workplace:
    """A case on disk, imported, ready to be segmented again and again."""

    def __init__(self, case: LabelledScan, folder: Path) -> None:
        self.case, self.folder, self._runs = case, folder, 0
        tifffile.imwrite(folder / "scan.tif", case.grey)
        source = inspect_source(folder / "scan.tif")
        import_scan(source, folder / "scan.h5", Progress(), CancelToken())

    def settings(self, misjudged: float = 1.0, **choices: Any) -> RunSettings:
        diameter = self.case.diameter_voxels * VOXEL_SIZE_UM * misjudged
        return RunSettings(VOXEL_SIZE_UM, diameter, **choices)

    def labels(self, settings: RunSettings, **how: Any) -> np.ndarray:
        """Labels uint32 (z, y, x) of one run."""
        self._runs += 1
        run = self.folder / f"run{self._runs}"
        with open_scan(self.folder / "scan.h5") as scan:
            result = segment(run, scan, settings, Progress(), CancelToken(), **how)
        with open_labels(result.labels_path) as labels:
            return labels.read(Box.whole(labels.shape))

    def outcome(self, labels: np.ndarray, note: str = "") -> Outcome:
        """Score labels against the reference."""
        return judged(self.case, labels, note)


class LazyPlace:
    """A workplace that is made only when a method really has to run."""

    def __init__(self, case: LabelledScan, folder: Path) -> None:
        self._case, self._folder = case, folder
        self._place: Workplace | None = None

    def __call__(self) -> Workplace:
        self._place = self._place or Workplace(self._case, self._folder)
        return self._place


def picture_slice(labels: np.ndarray) -> int:
    """The slice with the most particles in the middle half of the volume."""
    depth = labels.shape[0]
    middle = range(depth // 4, max(depth // 4 + 1, 3 * depth // 4))
    return max(middle, key=lambda z: len(np.unique(labels[z])))


def judged(case: LabelledScan, labels: np.ndarray, note: str = "") -> Outcome:
    """All figures of predicted labels, and what the pictures need."""
    overlaps = count_overlaps(case.labels, labels)
    scored = score(overlaps)
    pairs = matched_pairs(overlaps)
    figures: dict[str, float] = {
        name: float(value) for name, value in scored.as_dict().items()
    }  # fmt: skip
    figures["volumetric_similarity"] = (
        float(pairs["volumetric_similarity"].mean()) if len(pairs) else float("nan")
    )
    expected, found = axis_ratios(case.labels), axis_ratios(labels)
    for index, name in enumerate(("elongation_deviation", "flatness_deviation")):
        gap = expected[pairs["reference"], index] - found[pairs["predicted"], index]
        figures[name] = float(np.nanmean(np.abs(gap))) if len(pairs) else float("nan")
    good = pairs[pairs["dice"] >= GOOD_DICE]
    plane = labels[picture_slice(case.labels)]
    missed = np.setdiff1d(np.unique(case.labels), [0, *good["reference"]])
    right = np.intersect1d(np.unique(plane), good["predicted"])
    return Outcome(figures, plane, right, missed, note)


def axis_ratios(labels: np.ndarray) -> np.ndarray:
    """Elongation and flatness per label, (max label + 1, 2), from the principal axes.

    Ratios of the standard deviations of a particle's voxels along its principal axes: middle to
    longest, shortest to middle. NaN where there is no particle. Cheaper than the oriented boxes of
    docs/descriptors.md and as good for a deviation between two outlines of one particle.
    """
    where = np.flatnonzero(labels)
    owner = labels.ravel()[where].astype(np.int64)
    most = int(labels.max(initial=0)) + 1
    count = np.bincount(owner, minlength=most).astype(float)
    count[count == 0] = np.nan
    positions = [p.astype(float) for p in np.unravel_index(where, labels.shape)]
    means = [np.bincount(owner, p, most) / count for p in positions]
    offsets = [p - mean[owner] for p, mean in zip(positions, means, strict=True)]
    moments = np.zeros((most, 3, 3))
    for a, b in itertools.product(range(3), repeat=2):
        moments[:, a, b] = np.bincount(owner, offsets[a] * offsets[b], most) / count
    moments += np.eye(3) / 12  # the extent of a voxel itself
    known = ~np.isnan(count)
    ratios = np.full((most, 2), np.nan)
    axes = np.sqrt(np.maximum(np.linalg.eigvalsh(moments[known]), 0))
    ratios[known, 0] = axes[:, 1] / axes[:, 2]
    ratios[known, 1] = axes[:, 0] / axes[:, 1]
    return ratios


# ThreshWater's choices per volume: thresholds between the two grey levels, opening, erosion.
THRESHOLD_SHARES, FINER_STEP = (0.3, 0.5, 0.7), 0.1
OPENINGS = (1, 2)
EROSION_SHARES = (0.08, 0.13, 0.2)  # of the diameter, at least one voxel


def _tuned_threshwater(place: Workplace) -> Outcome:
    """ThreshWater with the settings that suit this volume best, the reference at hand.

    The best F1_instance decides: first over thresholds and erosions at an opening of one voxel,
    then a finer threshold, then the wider opening, each beside the best so far.
    """
    case = place.case
    inside, outside = (
        float(np.median(case.grey[mask])) for mask in (case.labels > 0, case.labels == 0)
    )
    erosions = sorted({max(1, round(share * case.diameter_voxels)) for share in EROSION_SHARES})
    tried: dict[tuple[float, int, int], tuple[float, np.ndarray]] = {}

    def attempt(share: float, opening: int, erosion: int) -> None:
        choices = {
            "threshold": outside + share * (inside - outside),
            "opening_radius": opening,
            "erosion_radius": erosion,
        }
        labels = place.labels(place.settings(method="threshwater", **choices))
        value = score(count_overlaps(case.labels, labels)).f1_instance
        kept = max(tried.values(), key=lambda entry: entry[0])[0] if tried else -1.0
        # Only the best volume is kept in memory.
        tried[share, opening, erosion] = value, labels if value > kept else np.zeros(0)

    def best() -> tuple[float, int, int]:
        return max(tried, key=lambda choice: tried[choice][0])

    for share, erosion in itertools.product(THRESHOLD_SHARES, erosions):
        attempt(share, OPENINGS[0], erosion)
    share, opening, erosion = best()
    for finer in (share - FINER_STEP, share + FINER_STEP):
        attempt(finer, opening, erosion)
    share, _, erosion = best()
    for wider in OPENINGS[1:]:
        attempt(share, wider, erosion)
    found = dict(zip(("threshold share", "opening", "erosion"), best(), strict=True))
    return place.outcome(tried[best()][1], json.dumps(found))


def _otsu_threshwater(place: Workplace) -> Outcome:
    return place.outcome(place.labels(place.settings(method="threshwater")))


def _network(
    model: str, preset: str, misjudged: float, denoise: bool
) -> Callable[[Workplace], Outcome]:
    def run(place: Workplace) -> Outcome:
        settings = place.settings(misjudged, model=model, preset=preset, denoise=denoise)
        return place.outcome(place.labels(settings))

    return run


def network_method(
    model: str, preset: str = "standard", misjudged: float = 1.0, denoise: bool = True
) -> Method:
    """A bundled or other model."""
    card = find_model(model).card
    title = f"{card.name} {card.version}"
    if preset != "standard":
        title += f", {preset}"
    name = model if misjudged == 1 else f"{model} × {misjudged:.3g}"
    if not denoise:
        title, name = f"{title}, noise kept", f"{name}, noise kept"
    version = version_of(model, preset) or ""
    # The cache is for a measurement that goes on: any change of the program makes it begin anew.
    program = [path for module in (plan, model_folder) for path in _room_of(module)]
    shown = f"{misjudged:.4f} {denoise}"
    key = f"{version} {shown} {choose_device('auto').title} {code_version(program)}"
    return Method(name, title, _network(model, preset, misjudged, denoise), key, version)


def slice_method() -> Method:
    """The slice-wise 2D U-Net; it must have been trained."""
    entry = find_slice_network()
    assert entry is not None

    def run(place: Workplace) -> Outcome:
        # Tiles that overlap along z would tell a 2D network nothing new.
        settings = place.settings(model=str(entry.folder), preset="fast")
        return place.outcome(place.labels(settings, make_predictor=SlicePredictor))

    version = version_of("slices") or ""
    key = f"{version} {entry.fingerprint()}"
    return Method("slices", "2D U-Net, slice by slice", run, key, version)


def threshwater_method() -> Method:
    """ThreshWater tuned on the reference of each volume."""
    version = version_of("threshwater") or ""
    return Method("threshwater", "ThreshWater, tuned", _tuned_threshwater, version, version)


def otsu_method() -> Method:
    """ThreshWater as a user gets it without choosing anything."""
    version = version_of("otsu") or ""
    return Method("otsu", "ThreshWater, Otsu", _otsu_threshwater, version, version)


def other_bundled_models() -> list[str]:
    """Models beside the default one that come with the program."""
    return [
        entry.name
        for entry in list_models()
        if entry.folder.parent == model_root() and entry.name != "default"
    ]


def outcome_of(method: Method, case: LabelledScan, place: Callable[[], Workplace]) -> Outcome:
    """The outcome of a method, from the cache where it is kept there."""
    path = None
    if method.cache_key:
        text = f"{scan_digest(case)} {FIGURES} {method.cache_key}"
        name = f"{Path(method.name).name}_{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        path = cache_folder() / "accuracy" / name
        if path.exists():
            return _read(path)
    began = time.monotonic()
    outcome = method.run(place())
    outcome.figures["seconds"] = time.monotonic() - began
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, outcome)
    return outcome


def _write(path: Path, outcome: Outcome) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        text=np.array([json.dumps(outcome.figures), outcome.note]),
        plane=outcome.plane,
        right=outcome.right,
        missed=outcome.missed,
    )
    write_bytes(path, buffer.getvalue())


def _read(path: Path) -> Outcome:
    with np.load(path, allow_pickle=False) as data:
        figures, note = (str(text) for text in data["text"])
        return Outcome(json.loads(figures), data["plane"], data["right"], data["missed"], note)
