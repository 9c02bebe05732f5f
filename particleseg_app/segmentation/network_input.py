"""What the network is shown of a scan: which grey values, on which scale, and what is empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from particleseg_app.errors import NewRunError
from particleseg_app.models import GreyScaling, ModelCard
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.background import BackgroundTest, background_test
from particleseg_app.segmentation.denoised_scan import DenoisedScan, Denoising, denoising_for
from particleseg_app.segmentation.even_slices import EvenedScan, Evening, evening_for
from particleseg_app.segmentation.rings import RinglessScan, Rings, rings_of
from particleseg_app.segmentation.seen_scan import DarkOutside, ScanWithView, SeenScan
from particleseg_app.segmentation.settings import RunSettings
from particleseg_app.segmentation.working_scale import GreyVolume, ScanWithStatistics
from particleseg_app.units import diameter_in_voxels, scale_factor

Recorded = TypeVar("Recorded")


@dataclass(frozen=True)
class NetworkInput:
    """`volume` is the scan, or the scan without its rings and noise, with even slices and with
    matrix outside of its field of view; `background` None where no tile may be passed by;
    `denoising`, `evening` and `rings` None where nothing was done about it. `reading_bytes`: memory
    that reading the volume takes beside what is read."""

    volume: GreyVolume
    scaling: GreyScaling
    background: BackgroundTest | None
    denoising: Denoising | None
    evening: Evening | None = None
    rings: Rings | None = None
    reading_bytes: int = 0


def network_input(
    scan: ScanWithView,
    card: ModelCard,
    settings: RunSettings,
    progress: Progress,
    cancel: CancelToken,
    earlier: dict[str, Any] | None = None,
    preview: bool = False,
) -> NetworkInput:
    """The scan as a model wants it. `earlier`: what an earlier attempt of the run started from;
    what it did about rings, slices and noise is done again. Raises `RunError` where that is
    damaged. A `preview` is good enough to try how long a run takes."""
    rings = evening = denoising = None
    view = scan.field_of_view
    corrected: ScanWithStatistics = scan
    measured: ScanWithStatistics = scan if view is None else DarkOutside(scan, view)
    if earlier is not None:
        shape, slices = scan.shape, scan.shape[0]
        rings = _recorded(earlier, "rings", "rings", lambda raw: Rings.from_dict(raw, shape))
        evening = _recorded(
            earlier, "evening", "uneven slices", lambda raw: Evening.from_dict(raw, slices)
        )
        denoising = _recorded(earlier, "denoising", "noise", Denoising.from_dict)
    elif settings.denoise:
        rings = rings_of(measured, progress, cancel, all_slices=not preview)
    if rings is not None:
        corrected, measured = RinglessScan(corrected, rings), RinglessScan(measured, rings)
    if earlier is None and settings.denoise:
        progress.start("Comparing the slices")
        evening = evening_for(measured, cancel)
    if evening is not None:
        corrected = EvenedScan(corrected, evening.offsets)
    if view is not None:
        corrected = SeenScan(corrected, view)
    if earlier is None and settings.denoise:
        factor = scale_factor(
            card.target_diameter_voxels, settings.particle_diameter_um, settings.voxel_size_um
        )
        diameter = diameter_in_voxels(settings.particle_diameter_um, settings.voxel_size_um)
        denoising = denoising_for(
            corrected,
            card.normalisation,
            card.least_contrast_to_noise,
            diameter,
            factor,
            progress,
            cancel,
        )
    if denoising is not None:
        limit = denoising.darkest_limit
        volume = DenoisedScan(corrected, denoising.weight, cancel)
        return NetworkInput(
            volume,
            denoising.scaling,
            BackgroundTest(limit) if settings.skip_background and limit is not None else None,
            denoising,
            evening,
            rings,
            volume.reading_bytes,
        )
    scaling = card.normalisation.for_scan(scan.statistics)
    background = background_test(scan.statistics, scaling) if settings.skip_background else None
    return NetworkInput(corrected, scaling, background, None, evening, rings)


def _recorded(
    earlier: dict[str, Any], key: str, about: str, read: Callable[[dict[str, Any]], Recorded]
) -> Recorded | None:
    """What an earlier attempt did, from what it wrote down; None where it did nothing."""
    raw = earlier.get(key)
    if raw is None:
        return None
    try:
        return read(raw)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NewRunError(
            f"What this run did about the {about} of its scan cannot be read.",
            "Remove this run and start it again.",
        ) from error
