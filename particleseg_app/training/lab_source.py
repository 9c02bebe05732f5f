"""Training patches drawn from a lab's own labelled patches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.models import GreyScaling, Normalisation
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.training.lab_patches import (
    MAX_PATCH_VOXELS,
    LabPatch,
    patch_names,
    read_lab_patch,
)
from particleseg_app.training.patches import PatchSource
from particleseg_app.training.resampling import resampled
from particleseg_app.training.scene_pool import (
    SCAN_CLIPPED,
    TrainingScene,
    encoded_target,
    mirrored_up_to,
    own_scaling,
    training_scene,
)
from particleseg_app.training.touching import Donor, add_touching_particle, whole_particles
from particleseg_app.units import scale_factor


def at_working_scale(
    patch: LabPatch,
    target_diameter_voxels: float,
    normalisation: Normalisation = SCAN_CLIPPED,
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised grey (float32) and labels (uint32) with particles of the target diameter.

    000 §3.2.1, resampled as in a run. A "fixed" z-score is that of the model, "scan_clipped" goes
    by the statistics of the patch. Raises `InvalidValueError` for an unusable size.
    """
    factor = scale_factor(target_diameter_voxels, patch.particle_diameter_um, patch.voxel_size_um)
    shape = working_shape(patch.grey.shape, factor)
    if math.prod(shape) > MAX_PATCH_VOXELS:
        raise InvalidValueError(
            f"The patch {patch.name} would have {shape} voxels once enlarged.",
            "Cut it into smaller ones.",
        )
    if min(shape) < target_diameter_voxels:
        raise InvalidValueError(
            f"The patch {patch.name} is thinner than one average particle.",
            "Cut patches of at least three particle diameters along each axis.",
        )
    if normalisation.scheme == "fixed":
        scaling = GreyScaling(-math.inf, math.inf, normalisation.mean, normalisation.std)
    else:
        scaling = own_scaling(patch.grey, normalisation)
    return resampled(patch.grey, patch.labels, factor, scaling)


def common_z_score(folder: Path, names: Sequence[str], cancel: CancelToken) -> Normalisation:
    """The "fixed" z-score of 000 §3.2.1: mean and deviation over all voxels of these patches."""
    count, total, squares = 0, 0.0, 0.0
    for name in names:
        cancel.check()
        for plane in read_lab_patch(folder, name).grey:
            values = plane.astype(np.float64)
            count += values.size
            total += float(values.sum())
            squares += float((values**2).sum())
    mean = total / count
    return Normalisation("fixed", mean=mean, std=max(1e-6, math.sqrt(squares / count - mean**2)))


def labelled_volumes(
    folder: Path, names: Sequence[str], target_diameter_voxels: float, normalisation: Normalisation
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised grey and labels of each patch at working scale, one at a time."""
    for name in names:
        yield at_working_scale(read_lab_patch(folder, name), target_diameter_voxels, normalisation)


class LabPatchSource(PatchSource):
    """Batches of patches cut from a folder of labelled ones, all of them in memory.

    `touching`: chance that a patch gets one more particle against one of its own (000 §3.2.4).
    `names`: the patches to draw from, else all of the folder.
    """

    def __init__(
        self,
        folder: Path,
        target_diameter_voxels: float,
        border_thickness: float,
        seed: int,
        edge: int = 64,
        touching: float = 0.5,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        names: Sequence[str] | None = None,
        normalisation: Normalisation = SCAN_CLIPPED,
    ) -> None:
        self._names = names
        self._normalisation = normalisation
        self._diameter = target_diameter_voxels
        self._touching = touching
        self._progress, self._cancel = progress or Progress(), cancel or CancelToken()
        self._labels: dict[str, np.ndarray] = {}
        self._donors: list[Donor] = []
        super().__init__(folder, border_thickness, seed, edge=edge)

    def look_for_scenes(self, most_new: int = 10_000) -> None:
        """Load the patches of the folder, once: a training keeps those it was begun with."""
        if self._scenes:
            return
        names = patch_names(self._folder) if self._names is None else self._names
        self._progress.start("Reading labelled patches", len(names), "patches")
        for name in names:
            self._cancel.check()
            patch = read_lab_patch(self._folder, name)
            grey, labels = at_working_scale(patch, self._diameter, self._normalisation)
            self._donors += whole_particles(grey, labels)
            grey, labels = (mirrored_up_to(volume, self._edge) for volume in (grey, labels))
            self._scenes[name] = training_scene(name, grey, labels, self._border)
            self._labels[name] = labels
            self._progress.advance()

    def restore(self, state: list[Any]) -> None:
        """Nothing to do: the patches are those of the folder."""

    def _patch(
        self, rng: np.random.Generator, scene: TrainingScene, edge: int
    ) -> tuple[np.ndarray, np.ndarray]:
        window = self._window(rng, scene, edge)
        grey, target = scene.grey[window], scene.target[window]
        if not self._donors or rng.random() >= self._touching:
            return grey, target
        labels = self._labels[scene.name][window]
        donor = self._donors[int(rng.integers(len(self._donors)))]
        changed = add_touching_particle(rng, grey, labels, donor)
        if changed is None:
            return grey, target
        # Only where something changed: near its faces a cut-out knows less than the whole patch.
        before = encoded_target(labels, self._border)
        after = encoded_target(changed[1], self._border)
        return changed[0], np.where(after != before, after, target)
