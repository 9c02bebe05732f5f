"""Makes every part of a split particle connected, and leaves no part that is a crumb."""

from __future__ import annotations

import heapq
from collections import defaultdict

import numpy as np

# Fewer voxels than these are no particle, and less than this share of the particle that is split:
# what is small as a whole may be split into small parts.
FEWEST_VOXELS = 20
LEAST_SHARE = 0.1


def smallest_part(volume: int, smallest_particle: float) -> int:
    """The fewest voxels that a part of a particle of `volume` voxels may have.

    `smallest_particle`: what the run keeps as a particle, in voxels (its smallest relative volume
    times the mean volume).
    """
    own = min(FEWEST_VOXELS, LEAST_SHARE * volume)
    return max(1, int(np.ceil(max(own, smallest_particle))))


def tidy_parts(parts: np.ndarray, smallest: int) -> None:
    """Give crumbs and loose fragments of parts to the parts beside them, in place.

    `parts` (z, y, x) int, with a margin of one voxel: 1…n in the particle, else 0 or less. Of each
    part only the largest 26-connected fragment stays; the others, and then every part of fewer
    than `smallest` voxels, the smallest first, go to the part they share the most voxel faces with
    (edges and corners where there are no faces). Fragments that touch no other part were apart
    from the rest of the particle before; they stay with their part, and a part that is a crumb
    apart from the rest goes to the nearest one. At least one part is left; no voxel is lost.
    """
    from particleseg_app.review.fragment_kernels import (
        BEYOND,
        FIRST,
        FRAGMENT,
        PART,
        fragment_contacts,
        number_fragments,
        runs_of_parts,
        write_runs,
    )

    runs, rows = runs_of_parts(parts)
    count = number_fragments(runs, rows, parts.shape)
    if not count:
        return
    lengths = (runs[:, BEYOND] - runs[:, FIRST]).astype(float)
    sizes = np.bincount(runs[:, FRAGMENT], lengths, count).astype(np.int64)
    part_of = np.zeros(count, np.int64)
    part_of[runs[:, FRAGMENT]] = runs[:, PART]
    fewest = sizes.copy()
    main: dict[int, int] = {}
    for fragment in np.argsort(-sizes, kind="stable").tolist():
        main.setdefault(int(part_of[fragment]), fragment)
    in_question = np.ones(count, bool)
    kept = np.array(list(main.values()))
    in_question[kept] = fewest[kept] < smallest
    if not in_question.any():
        return
    pieces = _Pieces(sizes, part_of, main)
    for row in fragment_contacts(runs, rows, parts.shape, in_question).tolist():
        pieces.beside[row[0]][row[1]] += np.array(row[2:])
    pieces.join_loose()
    while (crumb := pieces.smallest_crumb(smallest)) is not None:
        if not pieces.join_crumb(crumb):
            pieces.join_parts(crumb, _nearest_part(parts, pieces.final_parts(), runs, crumb))
    write_runs(parts, runs, pieces.final_parts())


class _Pieces:
    """The fragments of all parts while they are joined: which one each has gone with."""

    def __init__(self, sizes: np.ndarray, part_of: np.ndarray, main: dict[int, int]) -> None:
        self.sizes = sizes.tolist()
        self.part_of = part_of.tolist()
        self.main = main  # of each part that is left, its fragment
        self.gone_with = list(range(len(self.sizes)))
        self.followed: dict[int, int] = {}  # parts that are gone, and the one they went with
        self.beside: dict[int, dict[int, np.ndarray]] = defaultdict(
            lambda: defaultdict(lambda: np.zeros(2, np.int64))
        )

    def join_loose(self) -> None:
        """Give every fragment that is not its part's largest to what is beside it."""
        kept = set(self.main.values())
        waiting = [(size, n) for n, size in enumerate(self.sizes) if n not in kept]
        heapq.heapify(waiting)
        while waiting:
            size, fragment = heapq.heappop(waiting)
            if self._now(fragment) != fragment or size != self.sizes[fragment]:
                continue  # gone, or larger by now and waiting anew
            other = self._best_neighbour(fragment)
            if other is None:
                continue
            self._join(fragment, other)
            if other not in kept:
                heapq.heappush(waiting, (self.sizes[other], other))

    def smallest_crumb(self, smallest: int) -> int | None:
        """The smallest part, if it is a crumb and not the only one."""
        voxels: dict[int, int] = defaultdict(int)
        for fragment, size in enumerate(self.sizes):
            if self._now(fragment) == fragment:
                voxels[self._part_now(fragment)] += size
        part = min(voxels, key=lambda part: (voxels[part], part))
        return part if len(voxels) > 1 and voxels[part] < smallest else None

    def join_crumb(self, part: int) -> bool:
        """Give a part to the one beside it; False where nothing is beside it."""
        other = self._best_neighbour(self.main[part])
        if other is None:
            return False
        joined = self._part_now(other)
        self._join(self.main[part], other)
        self.join_parts(part, joined)
        return True

    def join_parts(self, part: int, other: int) -> None:
        """From now on all that was `part` is `other`."""
        self.followed[part] = other
        self.main.pop(part)

    def final_parts(self) -> np.ndarray:
        """The part of each fragment as it is now."""
        return np.array([self._part_now(self._now(n)) for n in range(len(self.sizes))])

    def _part_now(self, fragment: int) -> int:
        part: int = self.part_of[fragment]
        while part in self.followed:
            part = self.followed[part]
        return part

    def _now(self, fragment: int) -> int:
        while self.gone_with[fragment] != fragment:
            self.gone_with[fragment] = self.gone_with[self.gone_with[fragment]]
            fragment = self.gone_with[fragment]
        return fragment

    def _best_neighbour(self, fragment: int) -> int | None:
        """What shares the most voxel faces with a fragment, else the most edges and corners."""
        shared: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(2, np.int64))
        for other, contact in self.beside[fragment].items():
            shared[self._now(other)] += contact
        shared.pop(fragment, None)
        if not shared:
            return None
        return max(shared, key=lambda n: (*shared[n].tolist(), -n))

    def _join(self, fragment: int, other: int) -> None:
        self.gone_with[fragment] = other
        self.sizes[other] += self.sizes[fragment]
        for beyond, contact in self.beside.pop(fragment).items():
            self.beside[other][beyond] += contact


def _nearest_part(parts: np.ndarray, final: np.ndarray, runs: np.ndarray, part: int) -> int:
    """The other part that has the voxel nearest to any of `part`."""
    from scipy.ndimage import distance_transform_edt

    from particleseg_app.review.fragment_kernels import write_runs

    now = parts.copy()
    write_runs(now, runs, final)
    away = distance_transform_edt(now != part)
    away[(now <= 0) | (now == part)] = np.inf
    return int(now.reshape(-1)[np.argmin(away)])
