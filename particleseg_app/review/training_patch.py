"""Saves a reviewed region as a labelled patch, as `particleseg train --patches` takes it."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import Protocol

import numpy as np

from particleseg_app.durable_files import part_file, write_json
from particleseg_app.errors import ExportError, InvalidValueError
from particleseg_app.units import Box, Shape, diameter_in_voxels

# What training takes (training/lab_patches.py): said here already, while the region can be chosen.
MOST_VOXELS = 512**3
DIAMETER_TOLERANCE = 3.0
_ENDINGS = ("_image.tif", "_labels.tif", ".json")
_NAME = re.compile(r"[^\W.][\w .-]{0,99}")


class Volume(Protocol):
    """A scan or labels, read by boxes."""

    @property
    def shape(self) -> Shape: ...
    def read(self, box: Box) -> np.ndarray: ...


def save_training_patch(
    scan: Volume,
    labels: Volume,
    box: Box,
    voxel_size_um: float,
    particle_diameter_um: float,
    folder: Path,
    name: str,
) -> list[Path]:
    """Write NAME_image.tif, NAME_labels.tif and NAME.json into `folder`; returns their paths.

    Grey values in their own type; labels renumbered 1…n (uint16 where that is enough). Particles
    that the faces of the box cut stay in it. The JSON file, without which training does not take
    the pair, comes last. Raises `InvalidValueError` for a region or sizes that training would
    refuse, and `ExportError` where it cannot be written or the name is taken.
    """
    import fastremap

    diameter = diameter_in_voxels(particle_diameter_um, voxel_size_um)
    _check_box(box, scan, labels, diameter)
    paths = [folder / f"{name}{ending}" for ending in _ENDINGS]
    if not _NAME.fullmatch(name) or name.endswith(("_image", "_labels")):
        raise ExportError(
            f"“{name}” is no name for a patch.", "Use letters, digits, spaces and - _ only."
        )
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None:
        raise ExportError(f"{taken} is there already.", "Choose another name.")
    grey = scan.read(box)
    found, numbers = fastremap.renumber(labels.read(box), in_place=False)
    _check_content(grey, found, len(numbers) - (0 in numbers), diameter)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        per_centimetre = 1e4 / voxel_size_um
        narrow = found.astype(np.uint16) if found.max() <= np.iinfo(np.uint16).max else found
        for path, values in zip(paths, (grey, narrow), strict=False):
            _write_tiff(path, values, per_centimetre)
        write_json(
            paths[2],
            {
                "voxel_size_um": voxel_size_um,
                "particle_diameter_um": particle_diameter_um,
                "box_start_zyx": list(box.start),
                "box_stop_zyx": list(box.stop),
            },
        )
    except OSError as error:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise ExportError(
            f"The patch cannot be written to {folder} ({error.strerror or error}).",
            "Check your permissions and the free space, or choose another folder.",
        ) from error
    return paths


def _write_tiff(path: Path, values: np.ndarray, per_centimetre: float) -> None:
    import tifffile

    with part_file(path) as part:
        tifffile.imwrite(
            part,
            values,
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": "ZYX"},
            resolution=(per_centimetre, per_centimetre),
            resolutionunit="CENTIMETER",
        )


def _check_box(box: Box, scan: Volume, labels: Volume, diameter: float) -> None:
    if tuple(scan.shape) != tuple(labels.shape):
        raise ValueError(f"labels have shape {labels.shape}, the scan {scan.shape}")
    inside = all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, scan.shape, strict=True))
    if not inside:
        raise InvalidValueError(
            f"The region {box.start} to {box.stop} is not inside the scan.",
            f"The scan has {' × '.join(map(str, scan.shape))} voxels (z, y, x).",
        )
    if min(box.shape) < max(2.0, diameter):
        raise InvalidValueError(
            f"The region ({' × '.join(map(str, box.shape))} voxels) is thinner than one average "
            f"particle ({diameter:.0f} voxels).",
            "Choose at least three particle diameters along each axis.",
        )
    if box.size > MOST_VOXELS:
        raise InvalidValueError("The region is too large for one patch.", "Save it in pieces.")


def _check_content(grey: np.ndarray, labels: np.ndarray, count: int, diameter: float) -> None:
    if not count:
        raise InvalidValueError("There is no particle in the region.", "Choose another one.")
    if grey.min() == grey.max():
        raise InvalidValueError(
            "The scan has the same grey value everywhere in the region.", "Choose another one."
        )
    labelled = (6 * np.count_nonzero(labels) / count / math.pi) ** (1 / 3)
    if not 1 / DIAMETER_TOLERANCE <= labelled / diameter <= DIAMETER_TOLERANCE:
        raise InvalidValueError(
            f"The particles in the region are {labelled:.3g} voxels wide on average, but the "
            f"particle diameter of this scan is {diameter:.3g} voxels.",
            "Choose another region, or correct the particle diameter.",
        )
