"""Touching-particle augmentation (000 §3.2.4): one more particle, set against one of the patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ATTEMPTS = 8  # directions tried before the patch is left as it is


@dataclass(frozen=True)
class Donor:
    """A whole particle of the data set in its bounding box, (z, y, x)."""

    grey: np.ndarray
    mask: np.ndarray  # bool, never empty


def whole_particles(grey: np.ndarray, labels: np.ndarray, least_voxels: int = 27) -> list[Donor]:
    """Particles of a labelled volume that its faces do not cut and that are not mere specks."""
    from scipy import ndimage

    donors = []
    for index, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if box is None or any(
            side.start == 0 or side.stop == n for side, n in zip(box, labels.shape, strict=True)
        ):
            continue
        mask = labels[box] == index
        if mask.sum() >= least_voxels:
            donors.append(Donor(grey[box].copy(), mask))
    return donors


def add_touching_particle(
    rng: np.random.Generator, grey: np.ndarray, labels: np.ndarray, donor: Donor
) -> tuple[np.ndarray, np.ndarray] | None:
    """Set `donor`, turned at random, face to face against a random particle of the patch.

    `grey` and `labels` (z, y, x) are left alone; returns changed copies in which the particle has
    the next free number, or None where there is no particle or no room. Only background changes.
    """
    present = np.unique(labels)
    present = present[present > 0]
    if len(present) == 0:
        return None
    donor_grey, mask = _turned(rng, donor)
    particle = labels == present[int(rng.integers(len(present)))]
    inside, body = np.argwhere(particle), np.argwhere(mask)
    for _ in range(ATTEMPTS):
        start = inside[int(rng.integers(len(inside)))] - body[int(rng.integers(len(body)))]
        corner = _moved_until_free(rng, particle, mask, start)
        here, there = _windows(labels.shape, mask.shape, corner)
        placed = np.zeros(labels.shape, bool)
        placed[here] = mask[there]
        if not labels[placed].any() and _share_a_face(particle, placed):
            new_grey, new_labels = grey.copy(), labels.copy()
            new_grey[here][mask[there]] = donor_grey[there][mask[there]]
            new_labels[placed] = labels.max() + 1
            return new_grey, new_labels
    return None


def _turned(rng: np.random.Generator, donor: Donor) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and mask of the donor, mirrored and its axes exchanged at random."""
    axes = rng.permutation(3)
    flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in rng.random(3) < 0.5)
    return np.transpose(donor.grey, axes)[flips], np.transpose(donor.mask, axes)[flips]


def _moved_until_free(
    rng: np.random.Generator, particle: np.ndarray, mask: np.ndarray, corner: np.ndarray
) -> np.ndarray:
    """First corner along a random direction at which `mask` no longer overlaps `particle`.

    One axis at a time, so that the last overlapping voxel ends face to face with the particle.
    """
    direction = rng.standard_normal(3)
    steps = np.where(direction < 0, -1, 1)
    share = np.abs(direction) / np.abs(direction).sum()
    due = np.zeros(3)
    corner = corner.copy()
    while True:
        here, there = _windows(particle.shape, mask.shape, corner)
        if not (particle[here] & mask[there]).any():
            return corner
        due += share
        axis = int(due.argmax())
        due[axis] -= 1
        corner[axis] += steps[axis]


def _windows(
    shape: tuple[int, ...], size: tuple[int, ...], corner: np.ndarray
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of the patch and of a box of `size` at `corner` where the two overlap."""
    low = [max(0, int(c)) for c in corner]
    high = [max(a, min(n, int(c) + m)) for a, n, m, c in zip(low, shape, size, corner, strict=True)]
    here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    there = tuple(slice(a - int(c), b - int(c)) for a, b, c in zip(low, high, corner, strict=True))
    return here, there


def _share_a_face(one: np.ndarray, other: np.ndarray) -> bool:
    from scipy import ndimage

    return bool((ndimage.binary_dilation(other) & one).any())
