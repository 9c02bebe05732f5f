"""Evidence about contacts: the same figures as from the whole crop of both, however it is found."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review import crops
from particleseg_app.review.candidates import gather_evidence, scan_facts
from particleseg_app.review.evidence import ScanFacts, contact_between
from particleseg_app.review.merge_tree import distance_inside
from particleseg_app.review.solidity import solidity
from particleseg_app.units import Box
from particleseg_app.volumes.grey_counting import GreyCounter


class Volume:
    field_of_view = None  # all of it is seen

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape
        self.count = int(values.max())
        self.read_voxels = 0
        counter = GreyCounter(values.dtype)
        counter.add(values)
        self.statistics = counter.result()

    def read(self, box: Box) -> np.ndarray:
        self.read_voxels += box.size
        return self.values[box.slices].copy()


def plainly(
    crop: crops.Crop, pair: tuple[int, int], rows: list[pd.Series], alone: list[float],
    faces: int, facts: ScanFacts,
) -> dict[str, float]:  # fmt: skip
    """The figures from the crop of both, all of it."""
    first, second = crop.labels == pair[0], crop.labels == pair[1]
    volumes = [int(row["volume_voxels"]) for row in rows]
    small, large = min(volumes), max(volumes)
    whole = solidity(first | second)
    apart = sum(a * v for a, v in zip(alone, volumes, strict=True)) / (small + large)
    found = {
        "contact_share": faces / small ** (2 / 3),
        "size_ratio": math.log(small / large),
        "smaller_size": math.log(small / facts.median_volume),
        "union_size": math.log((small + large) / facts.median_volume),
        "union_solidity": whole,
        "solidity_gain": whole - apart,
        "union_neck": 0.0,
        "contact_grey_difference": 0.0,
        "contact_grey_dip": 0.0,
    }
    contact = contact_between(first, second)
    if contact is not None:
        distance = distance_inside(first | second)
        peaks = min(float(distance[first].max()), float(distance[second].max()))
        found["union_neck"] = float(distance[contact.at].max()) / max(peaks, 1e-6)
        grey = (crop.grey.astype(np.float32) - facts.background) / facts.contrast
        found["contact_grey_difference"], found["contact_grey_dip"] = contact.greys(grey)
    return found


def cells(seed: int, shape: tuple[int, int, int], count: int, giant: float) -> np.ndarray:
    """Cells around random points, with background between them; `giant`: the share of all cells
    that one label has."""
    random = np.random.default_rng(seed)
    points = np.full(shape, True)
    points[tuple(random.integers(0, n, count) for n in shape)] = False
    nearest = ndimage.distance_transform_edt(points, return_distances=False, return_indices=True)
    numbers = np.arange(points.size).reshape(shape)[tuple(nearest)]
    _, labels = np.unique(numbers, return_inverse=True)
    labels = labels.reshape(shape) + 2
    joined = random.random(int(labels.max()) + 1) < giant
    labels = np.where(joined[labels], 1, labels)
    holes = ndimage.gaussian_filter(random.normal(size=shape), 2)
    labels[holes > np.quantile(holes, 0.7)] = 0
    _, inverse = np.unique(labels, return_inverse=True)
    return inverse.reshape(shape).astype(np.uint32)


@pytest.mark.parametrize(
    ("seed", "shape", "count", "giant", "most"),
    [
        (0, (30, 40, 36), 30, 0.0, 400_000),  # an ordinary scan
        (1, (44, 40, 48), 150, 0.6, 400_000),  # a label that touches most others
        (2, (52, 47, 50), 160, 0.5, 12_000),  # the same, thinned
    ],
)
def test_the_figures_are_those_of_the_whole_crop(
    seed: int,
    shape: tuple[int, int, int],
    count: int,
    giant: float,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole_crop = crops.read_crop
    monkeypatch.setattr(
        "particleseg_app.review.shared_crops.read_crop",
        lambda labels, scan, box: whole_crop(labels, scan, box, most),
    )
    labels = cells(seed, shape, count, giant)
    grey = np.random.default_rng(seed).normal(1000 + 900 * (labels > 0), 150).astype(np.uint16)
    volume, scan = Volume(labels), Volume(grey)
    table = measure_particles(volume, scan, 10.0, Progress(), CancelToken())
    found = gather_evidence(scan, volume, table, Progress(), CancelToken())
    facts = scan_facts(scan, table)
    row_of = {int(row["label"]): row for _, row in table.iterrows()}
    alone = {c.labels[0]: c.evidence["solidity"] for c in found.particles}
    assert len(found.pairs) > 30
    assert [c.labels for c in found.pairs] == sorted(c.labels for c in found.pairs)
    for candidate in found.pairs:
        first, second = candidate.labels
        crop = whole_crop(volume, scan, candidate.box.expanded(1, shape), most)
        faces = round(
            candidate.evidence["contact_share"]
            * min(row_of[n]["volume_voxels"] for n in candidate.labels) ** (2 / 3)
        )
        expected = plainly(
            crop,
            (first, second),
            [row_of[first], row_of[second]],
            [alone[first], alone[second]],
            faces,
            facts,
        )
        assert candidate.evidence == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_crop_of_a_giant_is_not_read_for_each_of_its_contacts() -> None:
    labels = cells(3, (48, 48, 48), 400, 0.6)
    grey = (1000 + 900 * (labels > 0)).astype(np.uint16)
    volume, scan = Volume(labels), Volume(grey)
    table = measure_particles(volume, scan, 10.0, Progress(), CancelToken())
    volume.read_voxels = 0
    found = gather_evidence(scan, volume, table, Progress(), CancelToken())
    giant = int(table.loc[table["volume_voxels"].idxmax(), "label"])
    contacts = sum(giant in pair.labels for pair in found.pairs)
    assert contacts > 100
    assert volume.read_voxels < 0.3 * contacts * labels.size
