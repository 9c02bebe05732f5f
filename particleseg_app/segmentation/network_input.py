"""What the network is shown of a scan: which grey values, on which scale, and what is empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from particleseg_app.errors import NewRunError
from particleseg_app.models import GreyScaling, ModelCard
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.background import BackgroundTest, background_test
from particleseg_app.segmentation.denoised_scan import DenoisedScan, Denoising, denoising_for
from particleseg_app.segmentation.even_slices import EvenedScan, Evening, evening_for
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.working_scale import GreyVolume, ScanWithStatistics
from particleseg_app.units import diameter_in_voxels, scale_factor


@dataclass(frozen=True)
class NetworkInput:
    """`volume` is the scan, or the scan without its noise and with even slices; `background` None
    where no tile may be passed by; `denoising` and `evening` None where nothing was done about it.
    `reading_bytes`: memory that reading the volume takes beside what is read."""

    volume: GreyVolume
    scaling: GreyScaling
    background: BackgroundTest | None
    denoising: Denoising | None
    evening: Evening | None = None
    reading_bytes: int = 0


def network_input(
    scan: ScanWithStatistics,
    card: ModelCard,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    earlier: dict[str, Any] | None = None,
) -> NetworkInput:
    """The scan as a model wants it. `earlier`: what an earlier attempt of the run started from;
    what it did about noise and slices is done again. Raises `RunError` where that is damaged."""
    evening = denoising = None
    if earlier is not None:
        evening = _recorded_evening(earlier, scan.shape[0])
    elif settings.denoise:
        progress.start("Comparing the slices")
        evening = evening_for(scan, cancel)
    if evening is not None:
        scan = EvenedScan(scan, evening.offsets)
    if earlier is not None:
        denoising = _recorded(earlier)
    elif settings.denoise:
        factor = scale_factor(
            card.target_diameter_voxels, settings.particle_diameter_um, settings.voxel_size_um
        )
        diameter = diameter_in_voxels(settings.particle_diameter_um, settings.voxel_size_um)
        denoising = denoising_for(
            scan,
            card.normalisation,
            card.least_contrast_to_noise,
            diameter,
            factor,
            progress,
            cancel,
        )
    if denoising is not None:
        limit = denoising.darkest_limit
        volume = DenoisedScan(scan, denoising.weight, cancel)
        return NetworkInput(
            volume,
            denoising.scaling,
            BackgroundTest(limit) if settings.skip_background and limit is not None else None,
            denoising,
            evening,
            volume.reading_bytes,
        )
    scaling = card.normalisation.for_scan(scan.statistics)
    background = background_test(scan.statistics, scaling) if settings.skip_background else None
    return NetworkInput(scan, scaling, background, None, evening)


def _recorded_evening(earlier: dict[str, Any], slices: int) -> Evening | None:
    raw = earlier.get("evening")
    if raw is None:
        return None
    try:
        return Evening.from_dict(raw, slices)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NewRunError(
            "What this run did about the uneven slices of its scan cannot be read.",
            "Remove this run and start it again.",
        ) from error


def _recorded(earlier: dict[str, Any]) -> Denoising | None:
    raw = earlier.get("denoising")
    if raw is None:
        return None
    try:
        return Denoising.from_dict(raw)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NewRunError(
            "What this run did about the noise of its scan cannot be read.",
            "Remove this run and start it again.",
        ) from error
