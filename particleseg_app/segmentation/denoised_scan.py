"""A noisy scan as the network is shown it: without its noise, by total variation denoising.

The network knows noise up to a certain strength from its training. Stronger noise it takes for
structure: particles fall into pieces, and specks become particles. Then the scan's noise is taken
off first (`total_variation`), box by box when it is read, so that nothing is stored; and because no
denoising tells a small particle from a speck of noise, what is too small to be told is left out.
"""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from particleseg_app.models import GreyScaling, Normalisation
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.background import background_test
from particleseg_app.segmentation.noise import NoiseFigures, measure_noise, spread_boxes
from particleseg_app.segmentation.total_variation import HALO, denoised
from particleseg_app.segmentation.working_scale import GreyVolume, ScanWithStatistics
from particleseg_app.units import Box, Shape, blocks, format_micrometres
from particleseg_app.volumes import GreyStatistics
from particleseg_app.volumes.grey_counting import GreyCounter

# Weight of the total variation in standard deviations of the noise: `STRENGTH` over the contrast to
# noise, for weaker noise needs less than its share, and at most `STRONGEST`, for more wears away
# particles. Chosen on simulated scans (docs/noise.md).
STRENGTH, STRONGEST = 0.95, 0.9
# A particle must have as many voxels as it takes for its mean grey value to stand out by this many
# standard deviations of the noise, if the noise of all voxels were independent.
STANDING_OUT = 15.0
# But no more than this share of an average particle: half its diameter. Else a scan of particles
# that are a few voxels wide would be left without any.
MOST_LEFT_OUT = 1 / 8
# Boxes are denoised in parts of this edge, one at a time, which bounds the memory taken (210 MB).
PART_EDGE = 128
_ONE_AT_A_TIME = threading.Lock()
# A part's grey values as read and as float32, the answer, and six parts of the dual field.
_BYTES_PER_VOXEL = 36
# The pieces that grey statistics are taken from: their edge, and how many along each axis.
PIECE_EDGE, PIECES_ALONG = 80, 3


@dataclass(frozen=True)
class Denoising:
    """What a run does about the noise of its scan; figures in grey values and voxels of the scan.

    `weight`: of the total variation. `scaling`, `darkest_limit`: the grey scale of the denoised
    scan (`GreyScaling`, `BackgroundTest`). `least_voxels`: smaller particles cannot be told from
    noise. Kept with the run, so that it goes on with the same figures wherever it does.
    """

    contrast_to_noise: float
    weight: float
    least_voxels: float
    scaling: GreyScaling
    darkest_limit: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> Denoising:
        """Raises `KeyError`, `TypeError` or `ValueError` where something is missing or wrong."""
        limit = raw["darkest_limit"]
        values = Denoising(
            float(raw["contrast_to_noise"]),
            float(raw["weight"]),
            float(raw["least_voxels"]),
            GreyScaling(**{name: float(value) for name, value in raw["scaling"].items()}),
            None if limit is None else float(limit),
        )
        scaling = values.scaling
        # Written so that NaN is refused, too.
        possible = (
            0 < values.contrast_to_noise < math.inf
            and 0 < values.weight < math.inf
            and 0 <= values.least_voxels < math.inf
            and scaling.low <= scaling.high
            and math.isfinite(scaling.mean)
            and 0 < scaling.std < math.inf
            and (values.darkest_limit is None or math.isfinite(values.darkest_limit))
        )
        if not possible:
            raise ValueError("impossible figures")
        return values


class DenoisedScan:
    """A scan that is read without its noise, float32; the same voxels in whatever box.

    `weight`: of the total variation, in grey values. Reading a large box takes seconds, so that
    `cancel` ends it.
    """

    def __init__(self, scan: GreyVolume, weight: float, cancel: CancelToken) -> None:
        self.scan = scan
        self.weight = weight
        self.cancel = cancel

    @property
    def shape(self) -> Shape:
        return self.scan.shape

    @property
    def reading_bytes(self) -> int:
        """The most memory that reading takes at one time, beside the box that is asked for."""
        return math.prod(min(n, PART_EDGE + 2 * HALO) for n in self.shape) * _BYTES_PER_VOXEL

    def read(self, box: Box) -> np.ndarray:
        """Raises `Cancelled`."""
        result = np.empty(box.shape, np.float32)
        for part in blocks(box.shape, (PART_EDGE,) * 3):
            own = part.moved(box.start)
            outer = own.expanded(HALO, self.scan.shape)
            with _ONE_AT_A_TIME:  # each takes all cores of this process
                self.cancel.check()
                grey = denoised(self.scan.read(outer), self.weight)
                result[part.slices] = grey[own.within(outer)]
                del grey
        return result


def denoising_for(
    scan: ScanWithStatistics,
    normalisation: Normalisation,
    least_contrast_to_noise: float,
    diameter_voxels: float,
    scale_factor: float,
    progress: Progress,
    cancel: CancelToken,
) -> Denoising | None:
    """What a model needs done about the noise of a scan; None where it is used to as much.

    `normalisation` and `least_contrast_to_noise` are those of its card, `diameter_voxels` that of
    an average particle in voxels of the scan.
    """
    if least_contrast_to_noise <= 0:
        return None
    progress.start("Measuring the noise")
    figures = measure_noise(scan, diameter_voxels, scale_factor, cancel)
    if min(figures.contrast, figures.noise) <= 0:
        return None
    if figures.contrast_to_noise >= least_contrast_to_noise:
        return None
    weight = denoising_weight(figures)
    statistics = _denoised_statistics(DenoisedScan(scan, weight, cancel))
    scaling = normalisation.for_scan(statistics)
    background = background_test(statistics, scaling)
    reduction = max(1.0, 1 / scale_factor)
    told_from_noise = (STANDING_OUT / figures.contrast_to_noise) ** 2 * reduction**3
    return Denoising(
        contrast_to_noise=figures.contrast_to_noise,
        weight=weight,
        least_voxels=min(told_from_noise, MOST_LEFT_OUT * math.pi / 6 * diameter_voxels**3),
        scaling=scaling,
        darkest_limit=None if background is None else background.darkest_limit,
    )


def denoising_weight(figures: NoiseFigures) -> float:
    """Weight of the total variation, in grey values."""
    return figures.noise * min(STRONGEST, STRENGTH / figures.contrast_to_noise)


def denoising_note(denoising: Denoising, voxel_size_um: float) -> str:
    """What a run says of a noisy scan and of what it did."""
    return (
        f"The scan is noisy (particles stand out by {denoising.contrast_to_noise:.1f} times the "
        "noise), so it was denoised before particles were looked for. Particles below about "
        f"{smallest_diameter(denoising, voxel_size_um)} cannot be told from noise and were left "
        "out."
    )


def smallest_diameter(denoising: Denoising, voxel_size_um: float) -> str:
    """Equivalent diameter of the smallest particle that is told from noise, for people."""
    diameter = (6 / math.pi * denoising.least_voxels) ** (1 / 3) * voxel_size_um
    return format_micrometres(diameter, digits=2)


def _denoised_statistics(scan: DenoisedScan) -> GreyStatistics:
    """Grey statistics of 27 pieces spread evenly over the scan, all of a small one."""
    counter = GreyCounter(np.dtype(np.float32))
    for box in spread_boxes(scan.shape, PIECE_EDGE, PIECES_ALONG):
        counter.add(np.ascontiguousarray(scan.read(box)))
    return counter.result()
