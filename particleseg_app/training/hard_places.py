"""Where in the scenes a network was wrong of late, so that such places are shown more often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.training.scene_pool import BRIDGE_BIT, CONTACT_BIT, NECK_BIT

if TYPE_CHECKING:
    import torch

CELL = 16  # voxels an edge of a cell of the map
RECENT = 0.5  # share of the latest look in what a cell is taken for
EVERYWHERE = 0.1  # of the mean, so that no place is forgotten


def wrong_cells(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Share of each cell in which core is wrong where it joins or cuts particles.

    `logits` (n, 3, z, y, x), `target` (n, z, y, x) encoded; returns float32 (n, z, y, x) of cells,
    on the same device. Wrong is core instead of border or background and the other way round, at
    contacts, bridges and necks.
    """
    from torch.nn import functional

    found, wanted = logits.argmax(1) == 1, target & 3 == 1
    matters = target & (CONTACT_BIT | BRIDGE_BIT | NECK_BIT) > 0
    wrong = ((found != wanted) & matters).float()
    return functional.avg_pool3d(wrong[:, None], CELL)[:, 0]


class HardPlaces:
    """For each of `slots` scenes a coarse map of where the network was wrong; on the processor.

    A scene that nobody has looked at counts as the mean of the others, everywhere.
    """

    def __init__(self, slots: int, edge: int) -> None:
        """`edge` of a scene in voxels; its last cell may be smaller than the others."""
        cells = -(-edge // CELL)
        self.map = np.zeros((slots, cells, cells, cells), np.float32)
        self._totals = np.zeros(slots)  # sums over each map: drawing must not add up all cells
        self._filled = np.zeros(slots, bool)

    def new_scene(self, slot: int) -> None:
        """A scene comes into `slot`, for another or for none."""
        others = self._filled.copy()
        others[slot] = False
        expected = self._totals[others].mean() / self.map[0].size if others.any() else 0.0
        self._set(slot, expected)

    def look(self, slot: int, corner: np.ndarray, cells: np.ndarray) -> None:
        """What `wrong_cells` says of a patch whose first voxel is `corner` (z, y, x).

        The patch need not lie on the map's cells: each of its cells goes to the nearest of these.
        """
        first = np.minimum(
            np.rint(np.asarray(corner) / CELL).astype(int),
            np.array(self.map.shape[1:]) - cells.shape,
        )
        seen = self.map[slot][
            tuple(slice(a, a + n) for a, n in zip(first, cells.shape, strict=True))
        ]
        seen += RECENT * (cells - seen)
        self._totals[slot] = self.map[slot].sum()

    def draw(self, rng: np.random.Generator, slots: np.ndarray) -> tuple[int, np.ndarray]:
        """Index into `slots` and a voxel of that scene (z, y, x), likelier where more was wrong."""
        size = self.map[0].size
        least = EVERYWHERE * self._totals[slots].mean() + 1e-6
        weights = self._totals[slots] + least
        index = int(rng.choice(len(slots), p=weights / weights.sum()))
        chances = self.map[slots[index]].ravel().astype(np.float64) + least / size
        cell = np.unravel_index(
            int(rng.choice(size, p=chances / chances.sum())), self.map.shape[1:]
        )
        return index, np.array(cell) * CELL + rng.integers(CELL, size=3)

    def restore(self, maps: np.ndarray) -> None:
        """Go on from the `map` of an earlier attempt."""
        for slot, values in enumerate(maps):
            self._set(slot, values)

    def _set(self, slot: int, values: np.ndarray | float) -> None:
        self.map[slot] = values
        self._totals[slot] = self.map[slot].sum()
        self._filled[slot] = True


def check_edge(edge: int) -> None:
    """Raises `InvalidValueError` for patches that are not made of whole cells."""
    if edge % CELL:
        raise InvalidValueError(
            f"Patches of {edge} voxels an edge cannot be drawn from hard places.",
            f"Choose a multiple of {CELL}.",
        )
