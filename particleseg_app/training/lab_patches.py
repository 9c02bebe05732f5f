"""A lab's own labelled patches: reading and checking them.

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
from particleseg_app.units import scale_factor
from particleseg_app.volumes import inspect_source, read_label_file

SUFFIXES = (".tif", ".tiff")
MAX_PATCH_VOXELS = 512**3
DIAMETER_TOLERANCE = 3.0  # between the diameter that is stated and that of the labels
SMALLEST_BODY = 0.05  # of the volume of an average particle


@dataclass(frozen=True)
class LabPatch:
    """A labelled patch at its own resolution; volumes are (z, y, x)."""

    name: str
    grey: np.ndarray
    labels: np.ndarray  # uint32, 0 background
    voxel_size_um: float
    particle_diameter_um: float


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
    bodies = _separate_bodies(labels, particle_diameter_um / voxel_size_um)
    if bodies >= 2 * count + 2:
        numbers = "only one number" if count == 1 else f"only {count} numbers"
        raise InvalidValueError(
            f"{labels_path.name} holds {bodies} separate bodies but {numbers}.",
            "Give every particle a number of its own; a mask of all particles is not enough.",
        )
    return LabPatch(name, grey, labels, voxel_size_um, particle_diameter_um)


def _separate_bodies(labels: np.ndarray, diameter_voxels: float) -> int:
    """How many connected pieces (26-neighbours) of one number each there are, without crumbs."""
    import cc3d

    bodies = cc3d.connected_components(labels, connectivity=26)
    volumes = np.bincount(bodies.ravel())[1:]
    return int(np.count_nonzero(volumes >= SMALLEST_BODY * math.pi / 6 * diameter_voxels**3))


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
