"""A folder of simulated scenes that a generator fills while the trainer already draws from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from particleseg_app.durable_files import part_file
from particleseg_app.models import GreyScaling, Normalisation
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.border_core import CORE, labels_to_border_core
from particleseg_app.training.contacts import contact_voxels
from particleseg_app.training.critical_voxels import bridge_voxels, neck_voxels
from particleseg_app.training.resampling import resampled
from particleseg_app.training.scene_processes import scene_processes
from particleseg_app.training.scenes import DEFAULT_DIAMETER, simulate_scan
from particleseg_app.training.shown_scan import as_in_a_run
from particleseg_app.units import Shape

CONTACT_BIT, BRIDGE_BIT, NECK_BIT = 4, 8, 16  # of an encoded target, beside its class
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
SCAN_CLIPPED = Normalisation("scan_clipped", LOW_PERCENTILE, HIGH_PERCENTILE)


@dataclass(frozen=True)
class SceneForm:
    """How a simulated scan is brought to a network.

    `scale_factor`: working voxels per simulated voxel. A fixed z-score stands for the grey scale
    of one scanner, which a simulated scan does not have: it gets the z-score of its own. Scans with
    less contrast to noise than `least_contrast_to_noise` are denoised as in a run, and slices of
    uneven brightness are evened out (`shown_scan`).
    """

    scale_factor: float = 1.0
    normalisation: Normalisation = SCAN_CLIPPED
    least_contrast_to_noise: float = 0.0

    @staticmethod
    def for_diameter(
        target_diameter_voxels: float,
        normalisation: Normalisation = SCAN_CLIPPED,
        least_contrast_to_noise: float = 0.0,
    ) -> SceneForm:
        """The form for a model of that target diameter: scenes have `DEFAULT_DIAMETER` (±)."""
        factor = target_diameter_voxels / DEFAULT_DIAMETER
        return SceneForm(factor, normalisation, least_contrast_to_noise)


SIMULATED = SceneForm()


@dataclass(frozen=True)
class TrainingScene:
    """One scene as the trainer holds it; volumes are (z, y, x)."""

    name: str
    grey: np.ndarray  # float16, normalised by the scene's own statistics
    target: np.ndarray  # uint8: border-core class, plus CONTACT_BIT near contacts
    particle_points: np.ndarray  # (n, 3) some voxels inside particles
    contact_points: np.ndarray  # (n, 3) some voxels at contacts


def normalise_scan(grey: np.ndarray, normalisation: Normalisation = SCAN_CLIPPED) -> np.ndarray:
    """Grey values of a whole scan in memory as a model wants them; float32, same shape.

    The percentiles and the z-score are those of the scan itself, for "fixed" without clipping.
    """
    return scaled(grey, own_scaling(grey, normalisation))


def scaled(grey: np.ndarray, scaling: GreyScaling) -> np.ndarray:
    """Grey values on a grey scale; float32, same shape."""
    clipped = np.clip(grey.astype(np.float32), scaling.low, scaling.high)
    return ((clipped - scaling.mean) / scaling.std).astype(np.float32)


def own_scaling(grey: np.ndarray, normalisation: Normalisation) -> GreyScaling:
    """`Normalisation.for_scan` for grey values in memory, always with their own statistics."""
    low, high = -math.inf, math.inf
    if normalisation.scheme == "scan_clipped":
        percentiles = [normalisation.low_percentile, normalisation.high_percentile]
        low, high = (float(value) for value in np.percentile(grey, percentiles))
    clipped = np.clip(grey.astype(np.float32), low, high)
    spread = float(clipped.std())
    return GreyScaling(low, high, float(clipped.mean()), spread if spread > 0 else 1.0)


def encoded_target(
    labels: np.ndarray, border_thickness: float, critical: bool = False
) -> np.ndarray:
    """Border-core class of each voxel with `CONTACT_BIT` set near contacts (uint8).

    `critical`: also `BRIDGE_BIT` and `NECK_BIT` (`critical_voxels.py`).
    """
    target = labels_to_border_core(labels, border_thickness)
    core = target == CORE
    target[contact_voxels(labels)] |= CONTACT_BIT
    if critical:
        target[bridge_voxels(labels, core, border_thickness)] |= BRIDGE_BIT
        target[neck_voxels(labels, core)] |= NECK_BIT
    return target


def _some_points(mask: np.ndarray, most: int = 3000) -> np.ndarray:
    where = np.flatnonzero(mask)
    if len(where) > most:
        where = where[:: len(where) // most + 1]
    return np.stack(np.unravel_index(where, mask.shape), axis=1).astype(np.int16)


def training_scene(
    name: str, grey: np.ndarray, labels: np.ndarray, border_thickness: float
) -> TrainingScene:
    """Prepare a labelled scan, normalised and at the working scale, for training."""
    target = encoded_target(labels, border_thickness)
    return TrainingScene(
        name,
        grey.astype(np.float16),
        target,
        _some_points((target & 3) > 0),
        _some_points(target & CONTACT_BIT > 0),
    )


def fill_pool(
    folder: Path,
    first_seed: int,
    count: int,
    preset: str = "varied",
    shape: Shape = (128, 128, 128),
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    processes: int = 1,
) -> None:
    """Write scenes of `count` consecutive seeds into `folder`; those already there are kept.

    `processes`: how many make them at once; with 1 this thread does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if progress is not None:
        progress.start("Simulating scans", count, "scans")
    seeds = range(first_seed, first_seed + count)
    with ExitStack() as stack:
        made: Iterator[None]
        if processes > 1 and count > 1:
            pool = scene_processes(min(processes, count))
            stack.callback(pool.shutdown, cancel_futures=True)
            made = pool.map(_write_scene, repeat(folder), repeat(preset), seeds, repeat(shape))
        else:
            made = map(_write_scene, repeat(folder), repeat(preset), seeds, repeat(shape))
        for _ in seeds:
            if cancel is not None:
                cancel.check()
            next(made)
            if progress is not None:
                progress.advance()


def _write_scene(folder: Path, preset: str, seed: int, shape: Shape) -> None:
    path = folder / f"{preset}_{seed:06d}.npz"
    if not path.exists():
        scan = simulate_scan(preset, seed, shape)
        with part_file(path) as part, open(part, "wb") as file:
            np.savez(file, grey=scan.grey, labels=scan.labels.astype(np.uint16))


def load_scene(
    path: Path, border_thickness: float, form: SceneForm = SIMULATED, edge: int = 0
) -> TrainingScene:
    """A scene of the pool, prepared for training on patches of up to `edge` voxels."""
    grey, labels = (mirrored_up_to(volume, edge) for volume in read_scene(path, form))
    return training_scene(path.stem, grey, labels, border_thickness)


def mirrored_up_to(volume: np.ndarray, edge: int) -> np.ndarray:
    """`volume`, continued by its mirror image along the axes that are shorter than `edge`."""
    return np.pad(volume, [(0, max(0, edge - n)) for n in volume.shape], mode="symmetric")


def read_scene(path: Path, form: SceneForm = SIMULATED) -> tuple[np.ndarray, np.ndarray]:
    """Normalised grey values (float32) and labels (uint32) of a scene at working scale."""
    with np.load(path, allow_pickle=False) as data:
        grey, labels = data["grey"], data["labels"].astype(np.uint32)
    return shown_to_network(grey, labels, form)


def shown_to_network(
    grey: np.ndarray, labels: np.ndarray, form: SceneForm = SIMULATED
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised grey values (float32) and labels of a simulated scan, both at working scale."""
    shown = as_in_a_run(
        grey,
        labels,
        form.normalisation,
        form.least_contrast_to_noise,
        DEFAULT_DIAMETER,
        form.scale_factor,
    )
    scaling = None if shown is None else shown.scaling
    scaling = scaling or own_scaling(grey, form.normalisation)
    if shown is not None:
        grey, labels = shown.grey, shown.labels
    if form.scale_factor == 1:
        return scaled(grey, scaling), labels
    return resampled(grey, labels, form.scale_factor, scaling)
