"""A simulated scan in memory as a run would show it to a network: even slices, and not too noisy.

A run evens out slices of uneven brightness (`segmentation.even_slices`) and denoises scans that are
noisier than a model's card says it can take (`segmentation.denoised_scan`). What that leaves (worn
films, rounded corners, blotches of coarse noise) a network has to have seen in its training. Ring
artefacts, which a run takes off where it finds their axis (`segmentation.rings`), are left in for
the scans in which it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from particleseg_app.models import GreyScaling, Normalisation
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.denoised_scan import DenoisedScan, denoising_for
from particleseg_app.segmentation.even_slices import EvenedScan, evening_for
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import GreyStatistics
from particleseg_app.volumes.grey_counting import GreyCounter


@dataclass(frozen=True)
class ScanInMemory:
    """Grey values (z, y, x) that are read like a stored scan."""

    grey: np.ndarray
    statistics: GreyStatistics = field(init=False)

    def __post_init__(self) -> None:
        counter = GreyCounter(self.grey.dtype)
        counter.add(np.ascontiguousarray(self.grey))
        object.__setattr__(self, "statistics", counter.result())

    @property
    def shape(self) -> Shape:
        return self.grey.shape

    def read(self, box: Box) -> np.ndarray:
        return self.grey[box.slices]


@dataclass(frozen=True)
class ShownScan:
    """`grey`: float32. `scaling`: its grey scale, None for that of the scan as it was taken.
    `labels`: without the particles that are too small to be told from the noise, which a run leaves
    out, too."""

    grey: np.ndarray
    labels: np.ndarray
    scaling: GreyScaling | None


def as_in_a_run(
    grey: np.ndarray,
    labels: np.ndarray,
    normalisation: Normalisation,
    least_contrast_to_noise: float,
    diameter_voxels: float,
    scale_factor: float = 1.0,
) -> ShownScan | None:
    """What a run makes of a scan whose slices are uneven or that is too noisy for a model.

    None where it takes the scan as it is. `grey`, `labels`: (z, y, x), `diameter_voxels`: mean of
    its particles, in its own voxels, `scale_factor`: working voxels for each of them along an axis.
    """
    scan, cancel = ScanInMemory(grey), CancelToken()
    evening = evening_for(scan, cancel)
    even = scan if evening is None else EvenedScan(scan, evening.offsets)
    denoising = denoising_for(
        even,
        normalisation,
        least_contrast_to_noise,
        diameter_voxels,
        scale_factor,
        Progress(),
        cancel,
    )
    whole = Box.whole(scan.shape)
    if denoising is None:
        return None if evening is None else ShownScan(even.read(whole), labels, None)
    shown = DenoisedScan(even, denoising.weight, cancel).read(whole)
    told = np.bincount(labels.ravel()) >= denoising.least_voxels
    told[0] = False
    return ShownScan(shown, np.where(told[labels], labels, 0), denoising.scaling)
