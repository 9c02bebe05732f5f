"""Where particles lie in the scan, from the particle table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.units import Box

if TYPE_CHECKING:
    import pandas as pd

BOX_COLUMNS = [f"box_{axis}_{end}" for end in ("min", "max") for axis in "zyx"]


@dataclass(frozen=True)
class Place:
    """Centre (z, y, x) of a particle, where whole numbers are the middles of voxels, and the
    longest edge of its box; both in voxels."""

    centre: tuple[float, float, float]
    size: float


def boxes_of(table: pd.DataFrame) -> dict[int, Box]:
    """The box that holds each particle of a table, by label."""
    return {
        label: Box((z0, y0, x0), (z1, y1, x1))
        for label, z0, y0, x0, z1, y1, x1 in table[["label", *BOX_COLUMNS]]
        .to_numpy(np.int64)
        .tolist()
    }


def place_of(table: pd.DataFrame, label: int, voxel_size_um: float) -> Place | None:
    """Where one particle lies; None for a label that the table does not know."""
    own = table[table["label"] == label]
    box = boxes_of(own).get(label)
    if box is None:
        return None
    z, y, x = (float(own[f"centroid_{axis}_um"].iloc[0]) / voxel_size_um - 0.5 for axis in "zyx")
    return Place((z, y, x), float(max(box.shape)))
