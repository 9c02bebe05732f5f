"""Cases from real data that lie beside the repository (`../shared/data`) and may be absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from tests.independent_scans import rendering
from tests.independent_scans.labelled_scan import LabelledScan

DATA_VARIABLE = "PARTICLESEG_SHARED_DATA"


def data_folder() -> Path:
    """Where the real data is looked for."""
    override = os.environ.get(DATA_VARIABLE)
    return Path(override) if override else Path(__file__).resolve().parents[3] / "shared" / "data"


def nuclei() -> LabelledScan | None:
    """The one real labelled scan at hand: cell nuclei in a light microscope; None if absent."""
    folder = data_folder()
    if not (folder / "nuclei_labels.tif").exists():
        return None
    labels = tifffile.imread(folder / "nuclei_labels.tif").astype(np.uint32)
    volumes = np.bincount(labels.ravel())[1:]
    diameters = (6 / np.pi * volumes[volumes > 0]) ** (1 / 3)
    return LabelledScan(
        "nuclei (real)", tifffile.imread(folder / "nuclei_16bit.tif"), labels,
        round(float(diameters.mean()), 1), "real: light microscopy of cell nuclei, no micro-CT",
    )  # fmt: skip


def grain_packing(shape: tuple[int, int, int] = (144, 144, 144)) -> LabelledScan | None:
    """Real packed grains, separated by a watershed and rendered anew; None if absent."""
    path = data_folder() / "grain_packing_binary.tif"
    if not path.exists():
        return None
    solid = (
        tifffile.imread(path)[180 : 180 + shape[0], 150 : 150 + shape[1], 90 : 90 + shape[2]] > 0
    )
    labels = separated(solid)
    random = np.random.default_rng(92_001)
    grey = rendering.minerals(random, labels, 0.25, (0.75, 0.9), None, 0.0, 3, 0.05, 0.03)
    rendering.contact_gaps(random, grey, labels, 0.25)
    grey = ndimage.gaussian_filter(grey, 0.8)
    grey += rendering.noise(random, labels.shape, 0.06, 0.6)
    volumes = np.bincount(labels.ravel())[1:]
    diameter = float(((6 / np.pi * volumes) ** (1 / 3)).mean())
    return LabelledScan(
        "real grain shapes", rendering.sixteen_bit(grey, -0.2, 1.5), labels, round(diameter),
        "a real packing of grains, rendered; labels from a watershed",
    )  # fmt: skip


def separated(solid: np.ndarray) -> np.ndarray:
    """Grains of a binary packing, labels 1…n: watershed of the smoothed distance to the void.

    Crumbs below a fiftieth of the mean volume become void: in the picture as in the labels.
    """
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    solid = ndimage.median_filter(solid.astype(np.uint8), 3) > 0
    distance = ndimage.distance_transform_edt(solid).astype(np.float32)
    distance = ndimage.gaussian_filter(distance, 1.0) * solid
    seeds, _ = ndimage.label(h_maxima(distance, 0.8), np.ones((3, 3, 3)))
    grains = watershed(-distance, seeds, mask=solid)
    volumes = np.bincount(grains.ravel())
    volumes[0] = 0
    keep = volumes >= volumes[volumes > 0].mean() / 50
    numbers = np.zeros(len(volumes), np.uint32)
    numbers[keep] = np.arange(1, keep.sum() + 1)
    return numbers[grains]
