"""Every particle and every contact of a run, with the evidence of its shape and grey values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.particles.places import boxes_of
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.contacts import Contacts, find_contacts
from particleseg_app.review.crops import read_crop
from particleseg_app.review.evidence import (
    Found,
    Point,
    ScanFacts,
    particle_evidence,
)
from particleseg_app.review.missed import find_missed, pack_region
from particleseg_app.review.pair_evidence import Touching, pair_evidence
from particleseg_app.review.shared_crops import SharedCrops
from particleseg_app.units import Box, Shape, bounding_box

if TYPE_CHECKING:
    import pandas as pd

# The grey values around a particle say how it stands out.
MARGIN = 5

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Labels(Protocol):
    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


class GreyScan(Protocol):
    @property
    def shape(self) -> Shape: ...
    @property
    def statistics(self) -> Any: ...
    def read(self, box: Box) -> np.ndarray: ...


@dataclass
class Candidate:
    """A particle, a contact or a bright body on its way to one or two cases."""

    labels: tuple[int, ...]
    box: Box
    evidence: dict[str, float]
    place: Point
    markers: tuple[Point, ...] = ()
    region: bytes = b""


@dataclass
class Evidence:
    """All evidence about a run: of each particle, of each contact, and of each bright body that
    no particle covers (`region`, packed, says which voxels of its box it has)."""

    particles: list[Candidate] = field(default_factory=list)
    pairs: list[Candidate] = field(default_factory=list)
    missed: list[Candidate] = field(default_factory=list)

    def of(self, kind: str) -> list[Candidate]:
        """The candidates that may be an error of this kind."""
        return {"splitter": self.pairs, "missed particle": self.missed}.get(kind, self.particles)

    def everything(self) -> list[Candidate]:
        return [*self.particles, *self.pairs, *self.missed]


def gather_evidence(
    scan: GreyScan,
    labels: Labels,
    table: pd.DataFrame,
    progress: Progress,
    cancel: CancelToken,
    smallest_share: float = 0.005,
) -> Evidence:
    """Evidence of shape and grey values about every particle, contact and missed body.

    `smallest_share` of the mean volume is the least that a run keeps as a particle.
    """
    if not len(table):
        return Evidence()
    facts = scan_facts(scan, table)
    contacts = find_contacts(labels, progress, cancel)
    boxes = boxes_of(table)
    volumes = dict(zip(table["label"].tolist(), table["volume_voxels"].tolist(), strict=True))
    edges = dict(zip(table["label"].tolist(), table["touches_scan_edge"].tolist(), strict=True))

    def particle(label: int) -> Candidate:
        box = boxes[label]
        crop = read_crop(labels, scan, box.expanded(MARGIN, scan.shape))
        found = particle_evidence(crop, label, volumes[label], facts)
        found.evidence["at_edge"] = float(edges[label])
        return _candidate((label,), box, found)

    solid: dict[int, float] = {}

    crops = SharedCrops(labels, scan)

    def span(row: int) -> Box:
        first, second = (int(label) for label in contacts.pairs[row])
        return bounding_box(boxes[first], boxes[second])

    def pair(row: int) -> Candidate:
        first, second = (int(label) for label in contacts.pairs[row])
        box = span(row)
        one, other = (
            Touching(label, boxes[label], volumes[label], solid[label]) for label in (first, second)
        )
        shared = crops.get(box.expanded(1, scan.shape))
        evidence = pair_evidence(shared, (one, other), int(contacts.faces[row]), facts)
        low, high = contacts.boxes[row, :3], contacts.boxes[row, 3:]
        z, y, x = ((low + high - 1) / 2).tolist()
        return _candidate((first, second), box, Found(evidence, (z, y, x)))

    # Contacts of one large label one after the other, so that its crop is read once.
    known = sorted(
        _pairs_of_table(contacts, boxes), key=lambda row: (span(row).start, span(row).stop)
    )
    # Neighbours one after the other, so that the same parts of the files are read.
    ordered = sorted(boxes, key=lambda label: (boxes[label].start[0] // 64, boxes[label].start))
    particles = list(
        _on_all_cores(particle, ordered, "Looking at particles", "particles", progress, cancel)
    )
    solid.update((found.labels[0], found.evidence["solidity"]) for found in particles)
    pairs = dict(
        zip(
            known,
            _on_all_cores(pair, known, "Looking at contacts", "contacts", progress, cancel),
            strict=True,
        )
    )
    smallest = smallest_share * float(table["volume_voxels"].mean())
    bodies = find_missed(scan, labels, facts, smallest, progress, cancel)
    missed = [
        Candidate((), body.box, body.evidence, body.place, region=pack_region(body.region))
        for body in bodies
    ]
    return Evidence(particles, [pairs[row] for row in sorted(pairs)], missed)


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


def _candidate(labels: tuple[int, ...], box: Box, found: Found) -> Candidate:
    return Candidate(labels, box, found.evidence, found.place, found.markers)


def _pairs_of_table(contacts: Contacts, boxes: dict[int, Box]) -> list[int]:
    """Rows of the contacts between labels that the table knows."""
    return [
        row
        for row, (first, second) in enumerate(contacts.pairs.tolist())
        if first in boxes and second in boxes
    ]


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
    threads = usable_cores()
    progress.start(stage, len(items), unit)
    with ThreadPoolExecutor(threads, thread_name_prefix="evidence") as pool:
        for first in range(0, len(items), threads * 16):
            cancel.check()
            for result in pool.map(do, items[first : first + threads * 16]):
                cancel.check()
                progress.advance()
                yield result
