"""What every case hands over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelledScan:
    """Grey values uint8 or uint16 and labels uint32, both (z, y, x).

    `diameter_voxels`: the rough mean particle diameter a user would give. `about`: what makes the
    case what it is, in a few words.
    """

    name: str
    grey: np.ndarray
    labels: np.ndarray
    diameter_voxels: float
    about: str = ""
