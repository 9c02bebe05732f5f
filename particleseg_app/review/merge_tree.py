"""The lobes of a body: which hills a height map has inside it, and how deep the saddles between.

The height map may be the distance to the outside (a neck of the shape) or the network's certainty
of being inside a particle (a neck of its opinion). Voxels are visited from the highest down, as a
watershed by flooding does; whenever two hills meet, the lower one ends in the higher, and the
place and height of the meeting are kept (the merge tree, or persistence, of the map).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MergeTree:
    """Hills of a height map inside a mask (z, y, x).

    `basins` int32, 0 outside and 1…n the hill each voxel belongs to; `peaks` (n + 1) their highest
    values. Meeting k, from the highest down: hill `lesser[k]` ends in hill `greater[k]` at height
    `saddle[k]`; `volumes[k]` are the voxels of the lesser hill with all that ended in it.
    """

    basins: np.ndarray
    peaks: np.ndarray
    lesser: np.ndarray
    greater: np.ndarray
    saddle: np.ndarray
    volumes: np.ndarray

    @property
    def size(self) -> int:
        return int(np.count_nonzero(self.basins))

    def lobes(self, meetings: list[int]) -> np.ndarray:
        """The body cut at `meetings`: uint8 (z, y, x), 0 outside, 1 the rest, 2… one lobe each."""
        lobe = np.zeros(self.peaks.size, np.int64)
        cut = {int(self.lesser[k]): number for number, k in enumerate(meetings, start=2)}
        lobe[1:] = 1
        # From the last meeting to the first: a hill follows the one it ended in, unless cut off.
        for k in range(self.lesser.size - 1, -1, -1):
            child = int(self.lesser[k])
            lobe[child] = cut.get(child, lobe[self.greater[k]])
        lobe[0] = 0
        return lobe.astype(np.uint8)[self.basins]

    def tops(self, height: np.ndarray, meetings: list[int]) -> list[tuple[float, float, float]]:
        """The highest voxel (z, y, x) of each lobe of the body cut at `meetings`."""
        lobes = self.lobes(meetings)
        found = []
        for lobe in range(1, len(meetings) + 2):
            inside = np.flatnonzero(lobes == lobe)
            if inside.size:
                top = inside[int(np.argmax(height.ravel()[inside]))]
                z, y, x = np.unravel_index(int(top), lobes.shape)
                found.append((float(z), float(y), float(x)))
        return found


def merge_tree(height: np.ndarray, mask: np.ndarray) -> MergeTree:
    """The merge tree of `height` (float, z, y, x) inside `mask` (bool), 26 neighbours."""
    from particleseg_app.review.kernels import flood_from_the_top

    padded = np.zeros(tuple(n + 2 for n in mask.shape), bool)
    inner = (slice(1, -1),) * 3
    padded[inner] = mask
    values = np.zeros(padded.shape, np.float32)
    values[inner] = height
    where = np.flatnonzero(padded)
    order = where[np.argsort(-values.ravel()[where], kind="stable")]
    _, ny, nx = padded.shape
    steps = np.array(
        [
            (z * ny + y) * nx + x
            for z in (-1, 0, 1)
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
            if (z, y, x) != (0, 0, 0)
        ],
        np.int64,
    )
    basins, peaks, lesser, greater, saddle = flood_from_the_top(
        values.ravel(), order, steps, padded.size
    )
    volumes = np.bincount(basins, minlength=peaks.size).astype(np.int64)
    ended = np.zeros(lesser.size, np.int64)
    for k in range(lesser.size):
        ended[k] = volumes[lesser[k]]
        volumes[greater[k]] += ended[k]
    return MergeTree(
        np.ascontiguousarray(basins.reshape(padded.shape)[inner]),
        peaks,
        lesser,
        greater,
        saddle,
        ended,
    )


def distance_inside(mask: np.ndarray) -> np.ndarray:
    """Distance of each voxel of a bool mask (z, y, x) to the nearest outside it, in voxels.

    Beyond the array there is no outside: a particle cut by the scan's edge has no surface there.
    """
    import edt

    distance = edt.edt(np.ascontiguousarray(mask), black_border=False)
    # A mask that fills its array has no outside at all.
    return np.where(np.isfinite(distance), distance, float(max(mask.shape)))
