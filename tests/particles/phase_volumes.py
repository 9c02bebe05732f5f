"""Scans of several phases, and phases counted plainly on the whole volume."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

from particleseg_app.particles.phase_counting import ENOUGH_VOXELS
from particleseg_app.particles.phase_proposal import PhaseProposal, propose_phases
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes.grey_counting import GreyCounter
from tests.particles.particle_bodies import Volume


def scan_of(grey: np.ndarray) -> Volume:
    """Grey values with the statistics that an import gives them."""
    volume = Volume(grey)
    counter = GreyCounter(grey.dtype)
    counter.add(grey.copy())
    volume.statistics = counter.result()
    return volume


def proposed(labels: np.ndarray, grey: np.ndarray) -> PhaseProposal:
    return propose_phases(
        Volume(labels.astype(np.uint32)), scan_of(grey), Progress(), CancelToken()
    )


def plain_counts(labels: np.ndarray, grey: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """int64 (labels, 3, phases), on the whole volume by the definition."""
    around, greys = np.pad(labels, 2, mode="edge"), np.pad(grey, 1, mode="edge")
    inner = _around(around, lambda part, own: part == own, 1)
    inner &= around[1:-1, 1:-1, 1:-1] > 0
    deep = _around(inner, lambda part, own: part, 1)
    level = inner[1:-1, 1:-1, 1:-1].astype(int) + deep
    voxels, total = np.zeros(labels.shape), np.zeros(labels.shape)
    z, y, x = labels.shape
    for dz, dy, dx in np.ndindex(3, 3, 3):
        part = np.s_[dz : dz + z, dy : dy + y, dx : dx + x]
        same = around[1:-1, 1:-1, 1:-1][part] == labels
        takes = same & (inner[part] | (level == 0))
        voxels += takes
        total += np.where(takes, greys[part].astype(np.float64), 0.0)
    above = (total / np.maximum(voxels, 1))[..., None] > np.array(thresholds).reshape(1, 1, 1, -1)
    counts = np.zeros((int(labels.max()) + 1, 3, len(thresholds) + 1), np.int64)
    np.add.at(counts, (labels, level, above.sum(axis=-1)), 1)
    counts[0] = 0
    return counts


def _around(values: np.ndarray, holds, reach: int) -> np.ndarray:
    """Whether something holds for each voxel and all of its neighbours; smaller by `reach`."""
    z, y, x = (n - 2 * reach for n in values.shape)
    own = values[reach:-reach, reach:-reach, reach:-reach]
    result = np.ones(own.shape, bool)
    for dz, dy, dx in np.ndindex(*[2 * reach + 1] * 3):
        result &= holds(values[dz : dz + z, dy : dy + y, dx : dx + x], own)
    return result


def plain_shares(counts: np.ndarray) -> np.ndarray:
    rows = []
    for row in counts:
        used = [row[2], row[1:].sum(axis=0), row.sum(axis=0)]
        rows.append(next((u for u in used if u.sum() >= ENOUGH_VOXELS), used[-1]))
    return np.array([row / max(1, row.sum()) for row in rows])


def grain_scan(
    levels: tuple[float, ...],
    noise: float = 600.0,
    blur: float = 1.0,
    seed: int = 0,
    matrix: float = 9000.0,
) -> SimpleNamespace:
    """64 balls of 17 voxels, phase n of each `levels[n]`, as a scanner sees them.

    `labels`, `grey` uint16 (68, 68, 68) and `phase` (65,), which has the true phase of each label.
    """
    random = np.random.default_rng(seed)
    labels = np.zeros((68, 68, 68), np.uint32)
    grid = np.indices((17, 17, 17)) - 8
    ball = (grid**2).sum(axis=0) <= 68
    for label, corner in enumerate(np.ndindex(4, 4, 4), start=1):
        place = tuple(slice(17 * c, 17 * c + 17) for c in corner)
        labels[place][ball] = label
    phase = random.permutation(np.arange(65) % len(levels))
    truth = np.append(matrix, levels)[np.where(labels > 0, 1 + phase[labels], 0)]
    grey = gaussian_filter(truth, blur) + random.normal(0, noise, labels.shape)
    return SimpleNamespace(
        labels=labels, grey=grey.round().clip(0, 65535).astype(np.uint16), phase=phase
    )
