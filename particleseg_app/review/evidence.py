"""Evidence for and against a merger and a false particle: shape and grey values.

Every figure is free of units: lengths are divided by lengths, grey values by the contrast between
particles and background, so that one set of weights serves all scans. docs/review.md describes
each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particleseg_app.review.crops import Crop
from particleseg_app.review.merge_tree import MergeTree, distance_inside, merge_tree
from particleseg_app.review.solidity import solidity

Point = tuple[float, float, float]

SMALLEST_LOBE_SHARE = 0.03
# A neck this wide, compared with the smaller lobe, still parts two lobes that may be particles.
WIDEST_NECK = 0.8


@dataclass(frozen=True)
class ScanFacts:
    """What a whole run says of its particles: median volume (voxels), grey levels.

    `contrast` is the mean grey value of the particles less that of the background (may be
    negative), never 0.
    """

    median_volume: float
    contrast: float
    background: float


@dataclass(frozen=True)
class Found:
    """Evidence by name, where it is, and a point in each part of a particle that may be several:
    (z, y, x) in voxels of the scan."""

    evidence: dict[str, float]
    place: Point
    markers: tuple[Point, ...] = ()


def particle_evidence(crop: Crop, label: int, volume: int, facts: ScanFacts) -> Found:
    """Evidence about one particle from its shape and grey values (names: docs/review.md).

    The place is its neck, or its middle where it has none.
    """
    mask = crop.labels == label
    distance = distance_inside(mask)
    tree = merge_tree(distance, mask)
    meeting = best_meeting(tree)
    middle = mask
    markers: tuple[Point, ...] = ()
    found = {
        "relative_size": math.log(volume / facts.median_volume),
        "solidity": solidity(mask),
        "neck_ratio": 1.0,
        "lobe_share": 0.0,
        "lobe_radius_ratio": 0.0,
        "lobe_grey_difference": 0.0,
        "neck_grey_dip": 0.0,
        "thickness": float(distance.max(initial=0.0)) * crop.stride
        / max(1.0, (3 * volume / (4 * math.pi)) ** (1 / 3)),
    }  # fmt: skip
    grey = (crop.grey.astype(np.float32) - facts.background) / facts.contrast
    if meeting is not None:
        lobes = tree.lobes([meeting])
        found |= {
            "neck_ratio": float(tree.saddle[meeting] / tree.peaks[tree.lesser[meeting]]),
            "lobe_share": float(tree.volumes[meeting] / tree.size),
            "lobe_radius_ratio": float(
                tree.peaks[tree.lesser[meeting]] / max(tree.peaks[1:].max(), 1e-6)
            ),
        }
        first, second = grey[lobes == 1], grey[lobes == 2]
        found["lobe_grey_difference"] = abs(float(first.mean()) - float(second.mean()))
        contact = contact_between(lobes == 1, lobes == 2)
        if contact is not None:
            _, found["neck_grey_dip"] = contact.greys(grey)
            middle = contact.at
        cuts = [meeting, *(k for k in necks(tree) if k != meeting)]
        markers = tuple(_in_scan(crop, point) for point in tree.tops(distance, cuts))
    found |= surroundings_evidence(crop, mask, grey)
    return Found(found, _place(crop, middle), markers)


def surroundings_evidence(crop: Crop, mask: np.ndarray, grey: np.ndarray) -> dict[str, float]:
    """How the particle stands out, how even it is inside, how much of it touches others."""
    shell = (distance_inside(~mask) <= 2) & ~mask
    background = shell & (crop.labels == 0)
    inside = grey[mask]
    others = shell & (crop.labels > 0)
    outside = float(grey[background].mean()) if background.any() else 0.0
    return {
        "stands_out": float(inside.mean()) - outside if inside.size else 0.0,
        "unevenness": float(inside.std()) if inside.size else 0.0,
        "touching_share": float(others.sum() / max(1, shell.sum())),
    }


@dataclass(frozen=True)
class Contact:
    """Where two bodies meet: `at` bool (z, y, x), voxels of either with the other beside them;
    `place` the slices of a box around it, `first`, `second` the distance to each body in there.
    """

    at: np.ndarray
    place: tuple[slice, ...]
    first: np.ndarray
    second: np.ndarray

    def greys(self, grey: np.ndarray) -> tuple[float, float]:
        """How much the grey values of the two differ within 4 voxels of the contact, and how far
        the grey value at it lies below the lower of the two, 2 to 5 voxels away."""
        grey = grey[self.place]
        inside = [(self.first == 0) & (self.second <= 5), (self.second == 0) & (self.first <= 5)]
        further = [inside[0] & (self.second > 2), inside[1] & (self.first > 2)]
        if not all(side.any() for side in further):
            return 0.0, 0.0
        means = [float(grey[side].mean()) for side in further]
        return abs(means[0] - means[1]), min(means) - float(grey[self.at[self.place]].mean())


def contact_between(first: np.ndarray, second: np.ndarray) -> Contact | None:
    """Where two bodies (bool, z, y, x) share voxel faces, or None."""
    side = first.astype(np.uint8) + 2 * second.astype(np.uint8)
    at = np.zeros(side.shape, bool)
    for axis in range(3):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        touching = (side[low] + side[high] == 3) & (side[low] > 0) & (side[high] > 0)
        at[low] |= touching
        at[high] |= touching
    if not at.any():
        return None
    place = tuple(
        slice(max(0, int(found.min()) - 5), int(found.max()) + 6) for found in np.nonzero(at)
    )
    return Contact(at, place, distance_inside(~first[place]), distance_inside(~second[place]))


def _place(crop: Crop, where: np.ndarray) -> Point:
    if not where.any():
        where = np.ones(where.shape, bool)
    z, y, x = (float(index.mean()) for index in np.nonzero(where))
    return _in_scan(crop, (z, y, x))


def _in_scan(crop: Crop, point: Point) -> Point:
    z, y, x = (a + crop.stride * p for a, p in zip(crop.box.start, point, strict=True))
    return z, y, x


def necks(tree: MergeTree) -> list[int]:
    """Meetings narrow enough to part lobes of some size, the narrowest first."""
    ratio = tree.saddle / np.maximum(tree.peaks[tree.lesser], 1e-6)
    share = tree.volumes / max(1, tree.size)
    chosen = np.flatnonzero((ratio <= WIDEST_NECK) & (share >= 2 * SMALLEST_LOBE_SHARE))
    return [int(k) for k in chosen[np.argsort(ratio[chosen], kind="stable")]]


def best_meeting(tree: MergeTree, smallest_share: float = SMALLEST_LOBE_SHARE) -> int | None:
    """The meeting of two hills that is most of a neck: narrow, between two lobes of some size."""
    if not tree.lesser.size:
        return None
    share = tree.volumes / max(1, tree.size)
    share = np.minimum(share, 1 - share)
    narrow = 1 - tree.saddle / np.maximum(tree.peaks[tree.lesser], 1e-6)
    worth = narrow * np.sqrt(np.minimum(share, 0.25) / 0.25)
    worth[share < smallest_share] = -1
    best = int(np.argmax(worth))
    return best if worth[best] > 0 else None
