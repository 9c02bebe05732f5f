"""Small results with plausible values, for widgets that only show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from particleseg_app.gui.panels.particle_table_model import ParticleTableModel


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


def write_scan(folder: Path, shape: tuple[int, int, int] = (48, 64, 64), seed: int = 3) -> Path:
    """A folder of 16-bit TIFF slices with bright balls of about 12 voxels in a dark matrix."""
    random = np.random.default_rng(seed)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    grey = np.full(shape, 12_000.0)
    step = 16
    for cz in range(8, shape[0] - 7, step):
        for cy in range(8, shape[1] - 7, step):
            for cx in range(8, shape[2] - 7, step):
                centre = np.array([cz, cy, cx]) + random.uniform(-1.5, 1.5, 3)
                radius = random.uniform(4.5, 7.5)
                inside = (
                    (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
                ) <= radius**2
                grey[inside] = random.uniform(30_000, 42_000)
    grey += random.normal(0, 900, shape)
    folder.mkdir(parents=True)
    for number, plane in enumerate(grey.clip(0, 65_535).astype(np.uint16)):
        tifffile.imwrite(
            folder / f"slice_{number:04d}.tif",
            plane,
            imagej=True,
            resolution=(0.1, 0.1),
            metadata={"unit": "um", "spacing": 10.0},
        )
    return folder


def column_of(model: ParticleTableModel, name: str) -> int:
    """Where the table has the column of that name."""
    return [column.name for column in model.columns].index(name)
