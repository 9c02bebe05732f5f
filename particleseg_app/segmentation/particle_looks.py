"""Looks of a network at a few parts of a scan, as if its particles were of any size one likes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from particleseg_app.models import (
    ModelCard,
    TilePredictor,
    choose_device,
    find_model,
    open_predictor,
    quickest_bundled_model,
)
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.background import background_test
from particleseg_app.segmentation.bounded_reading import read_bounded
from particleseg_app.segmentation.core_unions import UnionRule, union_rule_of, with_grades
from particleseg_app.segmentation.parts_in_memory import united_parts
from particleseg_app.segmentation.working_scale import (
    ScanWithStatistics,
    working_shape,
)
from particleseg_app.units import Box, Shape

# Edge of a part at working scale; every network here halves its grid four times.
PART_EDGE = 96
_STRIDE = 16
# Where parts lie in the scan (shares of the room there is); the later ones while few were found.
_PLACES = ((0.5, 0.5, 0.5), (0.25, 0.7, 0.3), (0.75, 0.3, 0.7), (0.5, 0.25, 0.75))
_ALWAYS = 2
_ENOUGH = 40
# What is less than this wide at working scale may be a speck.
_SPECK = 5.0


@dataclass(frozen=True)
class Look:
    """Whole particles that were found where they were taken to be `assumed` voxels wide.

    `diameters` (n,), equivalent, in voxels of the scan; `parts` (n,) the part each lies in;
    `chances` (n,) of one as large to lie whole in a part. `voxels`: how many were looked at.
    """

    assumed: float
    diameters: np.ndarray
    parts: np.ndarray
    chances: np.ndarray
    voxels: float

    @property
    def count(self) -> int:
        return self.diameters.size

    @property
    def mean(self) -> float:
        return self._mean(np.ones(self.count, bool))

    @property
    def filled(self) -> float:
        """Share of the volume that is particles, those that were cut reckoned in."""
        return float(np.sum(math.pi / 6 * self.diameters**3 / self.chances)) / self.voxels

    def between_parts(self) -> float:
        """By which factor the parts differ, those with few particles less."""
        parts, counts = np.unique(self.parts, return_counts=True)
        means = np.log([self._mean(self.parts == part) for part in parts])
        away = (means - math.log(self.mean)) ** 2
        return math.exp(math.sqrt(float(np.average(away, weights=counts))))

    def _mean(self, which: np.ndarray) -> float:
        diameters = self.diameters[which]
        weights = diameters / self.chances[which]
        return float(np.average(diameters, weights=weights))


@dataclass(frozen=True)
class Looks:
    """Shows parts of a scan to a network at any scale."""

    scan: ScanWithStatistics
    card: ModelCard
    predictor: TilePredictor
    union_rule: UnionRule | None
    cancel: CancelToken

    @classmethod
    def with_quickest_model(cls, scan: ScanWithStatistics, cancel: CancelToken) -> Looks:
        entry = find_model(quickest_bundled_model())
        predictor = open_predictor(entry, choose_device("auto").id, False, cancel)
        return cls(scan, entry.card, predictor, union_rule_of(entry), cancel)

    def at(self, assumed: float) -> Look:
        """What is found where particles are taken to be `assumed` voxels wide."""
        factor = self.card.target_diameter_voxels / assumed
        whole = working_shape(self.scan.shape, factor)
        found: list[tuple[float, int, float]] = []
        voxels = 0
        for index, box in enumerate(_parts(whole)):
            if index >= _ALWAYS and len(found) >= _ENOUGH:
                break
            self.cancel.check()
            voxels += box.intersection(Box.whole(whole)).size
            for diameter, chance in _whole_particles(self._particles(box, whole)):
                if diameter > _SPECK:
                    found.append((diameter / factor, index, chance))
        rows = np.array(found, np.float64).reshape(-1, 3)
        return Look(assumed, rows[:, 0], rows[:, 1], rows[:, 2], voxels / factor**3)

    def _particles(self, box: Box, whole: Shape) -> np.ndarray:
        """Particles (uint32, z, y, x) in a part, as a run would make them of it."""
        import torch

        scaling = self.card.normalisation.for_scan(self.scan.statistics)
        grey = read_bounded(self.scan, whole, box, scaling, self.predictor.device)
        background = background_test(self.scan.statistics, scaling)
        empty = background is not None and bool(background.is_background(grey))
        if empty or bool(grey.amin() == grey.amax()):
            return np.zeros(grey.shape, np.uint32)
        self.cancel.check()
        shares = self.predictor.predict(grey[None, None])[0]
        classes = shares.argmax(dim=0).to(torch.uint8)
        if self.union_rule is not None:
            classes = with_grades(classes, shares, self.union_rule.core_factor)
        inside = Box((0, 0, 0), whole).within(box)  # a part may reach beyond a small scan
        values = classes.cpu().numpy()[tuple(slice(0, along.stop) for along in inside)]
        return united_parts(np.ascontiguousarray(values), self.union_rule, None)


def _parts(whole: Shape) -> Iterator[Box]:
    """Boxes at working scale, spread over the scan; a small scan has fewer."""
    edges = [min(PART_EDGE, -(-length // _STRIDE) * _STRIDE) for length in whole]
    starts = [
        tuple(
            int(max(0, length - edge) * share)
            for length, edge, share in zip(whole, edges, place, strict=True)
        )
        for place in _PLACES
    ]
    for z, y, x in dict.fromkeys(starts):
        yield Box((z, y, x), (z + edges[0], y + edges[1], x + edges[2]))


def _whole_particles(labels: np.ndarray) -> Iterator[tuple[float, float]]:
    """Equivalent diameter of each particle that no face of the part cuts, and its chance of it."""
    from scipy import ndimage

    for label, place in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if place is None or any(
            along.start == 0 or along.stop == length
            for along, length in zip(place, labels.shape, strict=True)
        ):
            continue
        voxels = int(np.count_nonzero(labels[place] == label))
        chance = math.prod(
            max(1 - (along.stop - along.start) / length, 0.05)
            for along, length in zip(place, labels.shape, strict=True)
        )
        yield (6 * voxels / math.pi) ** (1 / 3), chance
