"""A simulated scan in memory as a run would show it to a network: without its noise where noisy.

A run denoises scans that are noisier than a model's card says it can take
(`segmentation.denoised_scan`). What denoising leaves (worn films, rounded corners, blotches of
coarse noise) a network has to have seen in its training.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from particleseg_app.models import GreyScaling, Normalisation
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.denoised_scan import DenoisedScan, denoising_for
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
    """`grey`: float32, `scaling` its grey scale. `labels`: without the particles that are too small
    to be told from the noise, which a run leaves out, too."""

    grey: np.ndarray
    labels: np.ndarray
    scaling: GreyScaling


def without_noise(
    grey: np.ndarray,
    labels: np.ndarray,
    normalisation: Normalisation,
    least_contrast_to_noise: float,
    diameter_voxels: float,
    scale_factor: float = 1.0,
) -> ShownScan | None:
    """What a run makes of a scan that is too noisy for a model; None where it is not.

    `grey`, `labels`: (z, y, x), `diameter_voxels`: mean of its particles, in its own voxels,
    `scale_factor`: working voxels for each of them along an axis.
    """
    if least_contrast_to_noise <= 0:
        return None
    scan, cancel = ScanInMemory(grey), CancelToken()
    denoising = denoising_for(
        scan,
        normalisation,
        least_contrast_to_noise,
        diameter_voxels,
        scale_factor,
        Progress(),
        cancel,
    )
    if denoising is None:
        return None
    shown = DenoisedScan(scan, denoising.weight, cancel).read(Box.whole(scan.shape))
    sizes = np.bincount(labels.ravel())
    told = sizes >= denoising.least_voxels
    told[0] = False
    return ShownScan(shown, np.where(told[labels], labels, 0), denoising.scaling)
