"""Evidence for and against a splitter: shape and grey values of two particles in contact.

docs/review.md describes each figure. What belongs to a large label of a crop is found out once for
all its contacts (`shared_crops`), and what belongs to one contact in the crop's part around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particleseg_app.review.evidence import ScanFacts, contact_between
from particleseg_app.review.merge_tree import distance_inside
from particleseg_app.review.shared_crops import SharedCrop, Slices
from particleseg_app.review.solidity import hulled, solidity, solidity_of, thinning
from particleseg_app.units import Box, Shape

# The part of a crop around the smaller particle is looked at by itself when it is this much
# smaller than the crop.
_WORTH_A_PART = 8
_REACH = 5  # voxels of the crop around a contact whose grey values count
_FIRST_MARGIN = 4


@dataclass(frozen=True)
class Touching:
    """One of two particles in contact: label, box and voxels, and the solidity of it alone."""

    label: int
    box: Box
    volume: int
    solidity: float


def pair_evidence(
    shared: SharedCrop, pair: tuple[Touching, Touching], faces: int, facts: ScanFacts
) -> dict[str, float]:
    """Evidence about two particles in contact (names: docs/review.md).

    `shared` holds both with a margin of a voxel, `faces` are the voxel faces they share.
    """
    smaller, larger = sorted(pair, key=lambda particle: particle.volume)
    look = _Look(shared, smaller, larger)
    both = smaller.volume + larger.volume
    whole = look.solidity()
    apart = (smaller.solidity * smaller.volume + larger.solidity * larger.volume) / both
    found = {
        "contact_share": faces / smaller.volume ** (2 / 3),
        "size_ratio": math.log(smaller.volume / larger.volume),
        "smaller_size": math.log(smaller.volume / facts.median_volume),
        "union_size": math.log(both / facts.median_volume),
        "union_solidity": whole,
        "solidity_gain": whole - apart,
        "union_neck": 0.0,
        "contact_grey_difference": 0.0,
        "contact_grey_dip": 0.0,
    }
    # The contact lies in the box of either with a margin of one voxel, and its grey values around.
    place = _wider(look.near, _REACH, look.shape)
    labels = look.crop.labels[place]
    contact = contact_between(labels == pair[0].label, labels == pair[1].label)
    if contact is None:
        return found
    at = np.argwhere(contact.at) + [s.start for s in place]
    found["union_neck"] = look.union_neck(at)
    grey = (look.crop.grey[place].astype(np.float32) - facts.background) / facts.contrast
    found["contact_grey_difference"], found["contact_grey_dip"] = contact.greys(grey)
    return found


class _Look:
    """Two particles in the crop that holds both: whole, or around the smaller one where it takes
    little of it. `near` is the box of the smaller one with a margin of one voxel of the crop."""

    def __init__(self, shared: SharedCrop, smaller: Touching, larger: Touching) -> None:
        self.shared, self.smaller, self.larger = shared, smaller, larger
        self.crop = shared.crop
        self.shape: Shape = self.crop.labels.shape
        self.near = _wider(shared.place(smaller.box), 1, self.shape)
        self.in_part = self.crop.labels.size >= _WORTH_A_PART * self.crop.labels[self.near].size

    def solidity(self) -> float:
        if not self.in_part:
            return solidity(self._union(_whole(self.shape)))
        step = thinning(self.shape)
        start = [s.start // step for s in self.near]
        aligned = tuple(
            slice(a * step, s.stop, step) for a, s in zip(start, self.near, strict=True)
        )
        thin = self.crop.labels[aligned] == self.smaller.label
        own = hulled(thin, (start[0], start[1], start[2]))
        return solidity_of([self.shared.body(self.larger.label).hulled, own])

    def union_neck(self, at: np.ndarray) -> float:
        """Largest distance to the surface of both together at the contact, voxels `at` (n, 3),
        over the lesser one of the largest in each of them."""
        if self.in_part and (found := self._distances_in_part(at)) is not None:
            at_contact, in_smaller = found
            # Beside the smaller one the larger one is not thinner than it is alone.
            if in_smaller <= self.shared.body(self.larger.label).peak:
                return at_contact / max(in_smaller, 1e-6)
        distance = distance_inside(self._union(_whole(self.shape)))
        lesser = min(
            float(distance[self.crop.labels == label].max())
            for label in (self.smaller.label, self.larger.label)
        )
        return float(distance[tuple(at.T)].max()) / max(lesser, 1e-6)

    def _distances_in_part(self, at: np.ndarray) -> tuple[float, float] | None:
        """Largest distance to the surface of both at the contact, and in the smaller one; looked
        at in a part of the crop that is wide enough, None where none is much less than it."""
        import edt

        margin = _FIRST_MARGIN
        while True:
            place = _wider(self.near, margin, self.shape)
            labels = self.crop.labels[place]
            if 2 * labels.size > self.crop.labels.size:
                return None
            distance = edt.edt(self._union(place), black_border=False)
            own = np.argwhere(labels == self.smaller.label)
            own_distance = distance[tuple(own.T)]
            meeting = at - [s.start for s in place]
            meeting_distance = distance[tuple(meeting.T)]
            # A surface beyond the part is farther away than the part's own edge.
            if (own_distance <= _to_beyond(own, place, self.shape)).all() and (
                meeting_distance <= _to_beyond(meeting, place, self.shape)
            ).all():
                return float(meeting_distance.max()), float(own_distance.max())
            margin *= 2

    def _union(self, place: Slices) -> np.ndarray:
        labels = self.crop.labels[place]
        union: np.ndarray = (labels == self.smaller.label) | (labels == self.larger.label)
        return union


def _to_beyond(voxels: np.ndarray, place: Slices, shape: Shape) -> np.ndarray:
    """How far voxels (n, 3) of a part of a crop are at least from what is not in the part;
    there is nothing beyond the crop."""
    nearest = np.full(len(voxels), np.inf)
    for axis, (s, n) in enumerate(zip(place, shape, strict=True)):
        if s.start > 0:
            nearest = np.minimum(nearest, voxels[:, axis] + 1)
        if s.stop < n:
            nearest = np.minimum(nearest, s.stop - s.start - voxels[:, axis])
    return nearest


def _wider(place: Slices, margin: int, shape: Shape) -> Slices:
    z, y, x = (
        slice(max(0, s.start - margin), min(n, s.stop + margin))
        for s, n in zip(place, shape, strict=True)
    )
    return z, y, x


def _whole(shape: Shape) -> Slices:
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
