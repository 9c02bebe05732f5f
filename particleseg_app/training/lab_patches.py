"""A lab's own labelled patches: reading, checking, size normalisation, and drawing from them.

A folder holds, for each patch, `NAME_image.tif`, `NAME_labels.tif` and `NAME.json` with
`voxel_size_um` and `particle_diameter_um`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from particleseg_app.errors import InvalidValueError, ScanError, UserError
from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.working_scale import read_at_working_scale, working_shape
from particleseg_app.training.patches import PatchSource
from particleseg_app.training.scene_pool import (
    HIGH_PERCENTILE,
    LOW_PERCENTILE,
    TrainingScene,
    encoded_target,
    training_scene,
)
from particleseg_app.training.touching import Donor, add_touching_particle, whole_particles
from particleseg_app.units import Box, Shape, scale_factor
from particleseg_app.volumes import inspect_source, read_label_file

SUFFIXES = (".tif", ".tiff")
MAX_PATCH_VOXELS = 512**3
DIAMETER_TOLERANCE = 3.0  # between the diameter that is stated and that of the labels


@dataclass(frozen=True)
class LabPatch:
    """A labelled patch at its own resolution; volumes are (z, y, x)."""

    name: str
    grey: np.ndarray
    labels: np.ndarray  # uint32, 0 background
    voxel_size_um: float
    particle_diameter_um: float


@dataclass(frozen=True)
class _ArrayVolume:
    values: np.ndarray

    @property
    def shape(self) -> Shape:
        return self.values.shape

    def read(self, box: Box) -> np.ndarray:
        return self.values[box.slices]


def patch_names(folder: Path) -> list[str]:
    """Names of the patches in `folder`, sorted; `ScanError` for none or for one of a pair only."""
    if not folder.is_dir():
        raise ScanError(f"There is no folder {folder}.", "Check the path.")
    found: dict[str, set[str]] = {"_image": set(), "_labels": set()}
    for path in folder.iterdir():
        for ending, names in found.items():
            if path.suffix.lower() in SUFFIXES and path.stem.endswith(ending):
                names.add(path.stem.removesuffix(ending))
    images, labels = found["_image"], found["_labels"]
    if not images | labels:
        raise ScanError(
            f"{folder} holds no labelled patches.",
            "Put pairs NAME_image.tif and NAME_labels.tif into it.",
        )
    for name in sorted(images ^ labels):
        there, missing = ("image", "labels") if name in images else ("labels", "image")
        raise ScanError(
            f"{folder / f'{name}_{there}.tif'} has no {name}_{missing}.tif beside it.",
            "Add the missing file, or take the other away.",
        )
    return sorted(images)


def read_lab_patch(folder: Path, name: str) -> LabPatch:
    """Read and check one patch; `ScanError` or `InvalidValueError` names the file at fault."""
    voxel_size_um, particle_diameter_um = _sizes(folder / f"{name}.json")
    image_path = _tiff(folder, f"{name}_image")
    grey = _read_image(image_path)
    labels_path = _tiff(folder, f"{name}_labels")
    labels = read_label_file(labels_path)
    if labels.shape != grey.shape:
        raise ScanError(
            f"{labels_path.name} has the shape {labels.shape}, but {image_path.name} has "
            f"{grey.shape}.",
            "Labels and image must have the same number of voxels along each axis.",
        )
    count = int(np.count_nonzero(np.unique(labels)))
    if count == 0:
        raise ScanError(f"{labels_path.name} holds no particle.", "Label its particles.")
    if grey.min() == grey.max():
        raise ScanError(f"{image_path.name} has the same grey value everywhere.", "Export it anew.")
    volume = np.count_nonzero(labels) / count
    labelled_um = (6 * volume / math.pi) ** (1 / 3) * voxel_size_um
    off = labelled_um / particle_diameter_um
    if not 1 / DIAMETER_TOLERANCE <= off <= DIAMETER_TOLERANCE:
        raise InvalidValueError(
            f"The particles in {labels_path.name} are {labelled_um:.3g} µm wide on average, but "
            f"{name}.json says {particle_diameter_um:.3g} µm.",
            "Correct the sizes, and give every particle a number of its own.",
        )
    return LabPatch(name, grey, labels, voxel_size_um, particle_diameter_um)


def _tiff(folder: Path, stem: str) -> Path:
    matches = [p for p in folder.glob(f"{stem}.*") if p.suffix.lower() in SUFFIXES]
    if len(matches) != 1:
        raise ScanError(f"{folder} holds {stem} as .tif and as .tiff.", "Take one of them away.")
    return matches[0]


def _sizes(path: Path) -> tuple[float, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sizes = float(content["voxel_size_um"]), float(content["particle_diameter_um"])
        scale_factor(1.0, sizes[1], sizes[0])
    except FileNotFoundError:
        raise ScanError(
            f"{path} is missing.", "Write voxel_size_um and particle_diameter_um into it."
        ) from None
    except UserError as error:
        raise InvalidValueError(f"{path.name}: {error.sentence}", error.remedy) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ScanError(
            f"{path} does not say voxel_size_um and particle_diameter_um.",
            'It should read like {"voxel_size_um": 10, "particle_diameter_um": 250}.',
        ) from error
    return sizes


def _read_image(path: Path) -> np.ndarray:
    import tifffile

    source = inspect_source(path)
    if math.prod(source.shape) > MAX_PATCH_VOXELS:
        raise ScanError(f"{path.name} is too large for a patch.", "Cut it into smaller ones.")
    try:
        grey = np.asarray(tifffile.imread(path)).reshape(source.shape)
    except Exception as error:  # whatever a damaged file provokes inside the reader
        raise ScanError(f"{path} cannot be read.", "Export it anew.") from error
    if not np.isfinite(grey).all():
        raise ScanError(f"{path.name} holds grey values that are no numbers.", "Export it anew.")
    return grey


def at_working_scale(
    patch: LabPatch, target_diameter_voxels: float
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised grey (float32) and labels (uint32) with particles of the target diameter.

    000 §3.2.1, resampled as in a run: grey as `read_at_working_scale` does, labels by the nearest
    voxel. Clipped and z-scored with the patch's own statistics ("scan_clipped").
    """
    import torch

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
    low, high = (float(v) for v in np.percentile(patch.grey, [LOW_PERCENTILE, HIGH_PERCENTILE]))
    clipped = np.clip(patch.grey.astype(np.float32), low, high)
    spread = float(clipped.std())
    scaling = GreyScaling(low, high, float(clipped.mean()), spread if spread > 0 else 1.0)
    grey = read_at_working_scale(
        _ArrayVolume(patch.grey), shape, Box.whole(shape), scaling, torch.device("cpu")
    ).numpy()
    nearest = np.ix_(
        *(
            np.minimum(((np.arange(w) + 0.5) * n / w).astype(np.int64), n - 1)
            for w, n in zip(shape, patch.labels.shape, strict=True)
        )
    )
    return grey, patch.labels[nearest]


def _mirrored_up_to(volume: np.ndarray, edge: int) -> np.ndarray:
    """`volume`, continued by its mirror image along the axes that are shorter than `edge`."""
    return np.pad(volume, [(0, max(0, edge - n)) for n in volume.shape], mode="symmetric")


class LabPatchSource(PatchSource):
    """Batches of augmented patches from a folder of labelled ones, all of them in memory.

    `touching`: chance that a patch gets one more particle against one of its own (000 §3.2.4).
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
    ) -> None:
        self._diameter = target_diameter_voxels
        self._edge = edge
        self._touching = touching
        self._progress, self._cancel = progress or Progress(), cancel or CancelToken()
        self._labels: dict[str, np.ndarray] = {}
        self._donors: list[Donor] = []
        super().__init__(folder, border_thickness, seed)

    def look_for_scenes(self, most_new: int = 10_000) -> None:
        """Load the patches of the folder, once: a training keeps those it was begun with."""
        if self._scenes:
            return
        names = patch_names(self._folder)
        self._progress.start("Reading labelled patches", len(names), "patches")
        for name in names:
            self._cancel.check()
            patch = read_lab_patch(self._folder, name)
            grey, labels = at_working_scale(patch, self._diameter)
            self._donors += whole_particles(grey, labels)
            grey, labels = (_mirrored_up_to(volume, self._edge) for volume in (grey, labels))
            self._scenes[name] = training_scene(name, grey, labels, self._border, normalise=False)
            self._labels[name] = labels
            self._progress.advance()

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
