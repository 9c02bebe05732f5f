"""Makes the review queue of a run: every particle and every contact with a calibrated score.

First the shape and the grey values of every particle and contact are looked at; from these a first
probability says which are worth a second look by the network (`network_evidence`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from particleseg_app.errors import UserError
from particleseg_app.models import (
    ModelEntry,
    choose_device,
    choose_inference,
    find_model,
    open_predictor,
)
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.cases import KINDS, ReviewCase, by_expected_error, case_id
from particleseg_app.review.contacts import Contacts, find_contacts
from particleseg_app.review.crops import read_crop
from particleseg_app.review.evidence import (
    Found,
    Point,
    ScanFacts,
    pair_evidence,
    particle_evidence,
)
from particleseg_app.review.network_evidence import (
    SHIFT,
    SecondLook,
    Window,
    pair_network_evidence,
    particle_network_evidence,
)
from particleseg_app.review.scoring import Scores, load_scores
from particleseg_app.review.windows import plan_windows
from particleseg_app.review.wording import in_words
from particleseg_app.segmentation.network_stage import TilePredictor
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.tiles import tile_shape_for
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Box, Shape, scale_factor

if TYPE_CHECKING:
    import pandas as pd

MakePredictor = Callable[[ModelEntry, str, bool, CancelToken], TilePredictor]
# What a first look finds less probable than this is not worth the network's time.
DOUBTFUL = 0.01
# The grey values around a particle say how it stands out.
MARGIN = 5

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Labels(Protocol):
    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


class Statistics(Protocol):
    @property
    def mean(self) -> float: ...


class GreyScan(Protocol):
    @property
    def shape(self) -> Shape: ...
    @property
    def statistics(self) -> Any: ...
    def read(self, box: Box) -> np.ndarray: ...


@dataclass
class Candidate:
    """A particle or a contact on its way to one or two cases."""

    labels: tuple[int, ...]
    box: Box
    evidence: dict[str, float]
    place: Point
    markers: tuple[Point, ...] = ()


@dataclass
class Evidence:
    """All evidence about a run: of each particle, and of each contact."""

    particles: list[Candidate] = field(default_factory=list)
    pairs: list[Candidate] = field(default_factory=list)


def find_cases(
    scan: GreyScan,
    labels: Labels,
    table: pd.DataFrame,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    *,
    make_predictor: MakePredictor | None = None,
    scores: Scores | None = None,
) -> list[ReviewCase]:
    """All cases of a run, the most expected errors first.

    `labels` and `table` are the run's (or the mended ones), `settings` those of the run: its model
    looks again at doubtful particles. If the model is not there any more, or the run was
    ThreshWater's, shape and grey values decide alone, and a note says so. Memory is bounded: one
    particle or one window at a time for each core. Raises `Cancelled`.
    """
    scores = scores or load_scores()
    found = gather_evidence(scan, labels, table, progress, cancel)
    if settings.method == "nnunet":
        doubtful = doubtful_candidates(found, settings.method, scores)
        second_look(
            scan, labels, settings, doubtful, progress, cancel, make_predictor=make_predictor
        )
    return make_cases(found, settings.method, scan.shape, scores)


def gather_evidence(
    scan: GreyScan, labels: Labels, table: pd.DataFrame, progress: Progress, cancel: CancelToken
) -> Evidence:
    """Evidence of shape and grey values about every particle and every contact."""
    if not len(table):
        return Evidence()
    facts = scan_facts(scan, table)
    contacts = find_contacts(labels, progress, cancel)
    boxes = _boxes_of(table)
    volumes = dict(zip(table["label"].tolist(), table["volume_voxels"].tolist(), strict=True))
    edges = dict(zip(table["label"].tolist(), table["touches_scan_edge"].tolist(), strict=True))

    def particle(label: int) -> Candidate:
        box = boxes[label]
        crop = read_crop(labels, scan, box.expanded(MARGIN, scan.shape))
        found = particle_evidence(crop, label, volumes[label], facts)
        found.evidence["at_edge"] = float(edges[label])
        return _candidate((label,), box, found)

    solid: dict[int, float] = {}

    def pair(row: int) -> Candidate:
        first, second = (int(label) for label in contacts.pairs[row])
        box = _span(boxes[first], boxes[second])
        crop = read_crop(labels, scan, box.expanded(1, scan.shape))
        evidence = pair_evidence(
            crop,
            (first, second),
            (volumes[first], volumes[second]),
            (solid[first], solid[second]),
            int(contacts.faces[row]),
            facts,
        )
        low, high = contacts.boxes[row, :3], contacts.boxes[row, 3:]
        z, y, x = ((low + high - 1) / 2).tolist()
        return _candidate((first, second), box, Found(evidence, (z, y, x)))

    known = _pairs_of_table(contacts, boxes)
    # Neighbours one after the other, so that the same parts of the files are read.
    ordered = sorted(boxes, key=lambda label: (boxes[label].start[0] // 64, boxes[label].start))
    particles = list(
        _on_all_cores(particle, ordered, "Looking at particles", "particles", progress, cancel)
    )
    solid.update((found.labels[0], found.evidence["solidity"]) for found in particles)
    pairs = _on_all_cores(pair, known, "Looking at contacts", "contacts", progress, cancel)
    return Evidence(particles, list(pairs))


def scan_facts(scan: GreyScan, table: pd.DataFrame) -> ScanFacts:
    """Median volume, contrast and background of a run, from its table and the scan's mean."""
    volumes = table["volume_voxels"].to_numpy(float)
    inside = float((table["grey_mean"].to_numpy(float) * volumes).sum() / volumes.sum())
    voxels = float(np.prod(scan.shape, dtype=float))
    outside = max(1.0, voxels - volumes.sum())
    background = (voxels * float(scan.statistics.mean) - inside * volumes.sum()) / outside
    contrast = inside - background
    smallest = 1e-3 * max(1.0, abs(inside))
    if not abs(contrast) > smallest:
        contrast = smallest
    return ScanFacts(float(np.median(volumes)), contrast, background)


def second_look(
    scan: GreyScan,
    labels: Labels,
    settings: RunSettings,
    doubtful: list[Candidate],
    progress: Progress,
    cancel: CancelToken,
    *,
    make_predictor: MakePredictor | None = None,
) -> None:
    """Add the network's evidence to candidates, the most doubtful first in the list."""
    if not doubtful:
        return
    try:
        entry = find_model(settings.model)
        device = choose_device(settings.device)
        predictor = (make_predictor or _fastest)(entry, device.id, False, cancel)
    except UserError as error:
        progress.note(f"The scores rest on shape and grey values alone: {error.sentence}")
        return
    card = entry.card
    factor = scale_factor(
        card.target_diameter_voxels, settings.particle_diameter_um, settings.voxel_size_um
    )
    shape = working_shape(scan.shape, factor)
    scaling = card.normalisation.for_scan(scan.statistics)
    tile = tile_shape_for(shape, card.patch_shape)
    look = SecondLook(scan, labels, shape, tile, scaling, predictor)
    boxes = [look.to_working(candidate.box) for candidate in doubtful]
    windows = plan_windows(boxes, shape, max(SHIFT, min(card.patch_shape) - SHIFT))
    progress.start("Looking again with the network", len(windows), "windows")
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="evidence") as pool:
        for planned in windows:
            cancel.check()
            window = look.window(planned.box)
            margin = window.margin

            def one(
                number: int, window: Window = window, margin: np.ndarray = margin
            ) -> tuple[dict[str, float], list[Point]]:
                part, inside = _part(window, margin, boxes[number].expanded(1, shape))
                candidate = doubtful[number]
                if len(candidate.labels) == 1:
                    return particle_network_evidence(part, candidate.labels[0], inside)
                first, second = candidate.labels
                return pair_network_evidence(part, (first, second), inside), []

            answers = pool.map(one, planned.items)
            for number, (evidence, points) in zip(planned.items, answers, strict=True):
                doubtful[number].evidence.update(evidence)
                if points:
                    doubtful[number].markers = tuple(look.to_scan(point) for point in points)
            progress.advance()


def _fastest(
    entry: ModelEntry, device_id: str, mirroring: bool, cancel: CancelToken
) -> TilePredictor:
    choice = choose_inference(entry, device_id, "auto", cancel)
    return open_predictor(entry, device_id, mirroring, cancel, choice.inference)


def make_cases(found: Evidence, method: str, shape: Shape, scores: Scores) -> list[ReviewCase]:
    """Cases of all candidates, with probabilities, texts and order."""
    cases = []
    for kind in KINDS:
        candidates = found.pairs if kind == "splitter" else found.particles
        full = scores.models.get(f"{method}/{kind}/network")
        usable = [full is not None and full.usable(candidate.evidence) for candidate in candidates]
        for network in (False, True):
            chosen = [c for c, u in zip(candidates, usable, strict=True) if u == network]
            if not chosen:
                continue
            model = scores.model(method, kind, network)
            probabilities = model.probabilities([candidate.evidence for candidate in chosen])
            for candidate, probability in zip(chosen, probabilities.tolist(), strict=True):
                cases.append(
                    ReviewCase(
                        case_id(kind, candidate.labels),
                        kind,
                        candidate.labels,
                        probability,
                        model.mean_excess,
                        candidate.evidence,
                        in_words(kind, candidate.evidence, model.pushes(candidate.evidence)),
                        candidate.box.expanded(MARGIN, shape),
                        candidate.place,
                        candidate.markers if kind == "merger" else (),
                    )
                )
    return by_expected_error(cases)


def doubtful_candidates(found: Evidence, method: str, scores: Scores) -> list[Candidate]:
    """Candidates that a first look finds probable enough, the most probable first."""
    first: dict[int, float] = {}
    candidates = [*found.particles, *found.pairs]
    for kind in KINDS:
        chosen = found.pairs if kind == "splitter" else found.particles
        model = scores.model(method, kind, False)
        probabilities = model.probabilities([candidate.evidence for candidate in chosen])
        for candidate, probability in zip(chosen, probabilities.tolist(), strict=True):
            first[id(candidate)] = max(first.get(id(candidate), 0.0), probability)
    chosen = [candidate for candidate in candidates if first[id(candidate)] >= DOUBTFUL]
    return sorted(chosen, key=lambda candidate: (-first[id(candidate)], candidate.labels))


def _part(window: Window, margin: np.ndarray, box: Box) -> tuple[Window, np.ndarray]:
    """The part of a window around one candidate."""
    box = box.intersection(window.box)
    inside = box.within(window.box)
    every = slice(None)
    return (
        Window(
            box,
            window.shares[(every, every, *inside)],
            window.labels[inside],
            window.parts[(every, *inside)],
        ),
        margin[inside],
    )


def _candidate(labels: tuple[int, ...], box: Box, found: Found) -> Candidate:
    return Candidate(labels, box, found.evidence, found.place, found.markers)


def _boxes_of(table: pd.DataFrame) -> dict[int, Box]:
    names = ["label", *(f"box_{axis}_{end}" for end in ("min", "max") for axis in "zyx")]
    return {
        label: Box((z0, y0, x0), (z1, y1, x1))
        for label, z0, y0, x0, z1, y1, x1 in table[names].to_numpy(np.int64).tolist()
    }


def _pairs_of_table(contacts: Contacts, boxes: dict[int, Box]) -> list[int]:
    """Rows of the contacts between labels that the table knows."""
    return [
        row
        for row, (first, second) in enumerate(contacts.pairs.tolist())
        if first in boxes and second in boxes
    ]


def _span(first: Box, second: Box) -> Box:
    return Box(
        tuple(min(a, b) for a, b in zip(first.start, second.start, strict=True)),  # type: ignore[arg-type]
        tuple(max(a, b) for a, b in zip(first.stop, second.stop, strict=True)),  # type: ignore[arg-type]
    )


def _on_all_cores(
    do: Callable[[_Item], _Result],
    items: Iterable[_Item],
    stage: str,
    unit: str,
    progress: Progress,
    cancel: CancelToken,
) -> Iterator[_Result]:
    """Results of `do` in the order of `items`; few wait at a time, so that memory stays small."""
    items = list(items)
    threads = os.cpu_count() or 1
    progress.start(stage, len(items), unit)
    with ThreadPoolExecutor(threads, thread_name_prefix="evidence") as pool:
        for first in range(0, len(items), threads * 16):
            cancel.check()
            for result in pool.map(do, items[first : first + threads * 16]):
                cancel.check()
                progress.advance()
                yield result
