"""Small results with plausible values, for widgets that only show them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def made_up_table(count: int, seed: int = 1) -> pd.DataFrame:
    """A particle table with plausible values, labels 1…count."""
    random = np.random.default_rng(seed)
    diameter = random.lognormal(np.log(180), 0.35, count)
    volume = np.pi / 6 * diameter**3
    sphericity = random.uniform(0.55, 0.98, count)
    low = random.integers(0, 200, (count, 3))
    size = random.integers(5, 30, (count, 3))
    columns: dict[str, np.ndarray] = {"label": np.arange(1, count + 1, dtype=np.uint32)}
    for axis, name in enumerate("zyx"):
        columns[f"centroid_{name}_um"] = (low[:, axis] + size[:, axis] / 2) * 10.0
    columns["volume_voxels"] = (volume / 1000).astype(np.int64)
    columns["volume_um3"] = volume
    columns["equivalent_diameter_um"] = diameter
    columns["surface_area_um2"] = np.pi * diameter**2 / sphericity
    columns["sphericity"] = sphericity
    for axis, name in enumerate("zyx"):
        columns[f"box_{name}_min"] = low[:, axis]
    for axis, name in enumerate("zyx"):
        columns[f"box_{name}_max"] = low[:, axis] + size[:, axis]
    columns["grey_mean"] = random.uniform(20_000, 45_000, count)
    columns["grey_std"] = random.uniform(500, 3000, count)
    columns["touches_scan_edge"] = random.random(count) < 0.1
    return pd.DataFrame(columns)
