"""A folder of simulated scenes that a generator fills while the trainer already draws from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from particleseg_app.durable_files import part_file
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.border_core import labels_to_border_core
from particleseg_app.training.contacts import contact_voxels
from particleseg_app.training.scenes import simulate_scan
from particleseg_app.units import Shape

CONTACT_BIT = 4
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5


@dataclass(frozen=True)
class TrainingScene:
    """One scene as the trainer holds it; volumes are (z, y, x)."""

    name: str
    grey: np.ndarray  # float16, normalised by the scene's own statistics
    target: np.ndarray  # uint8: border-core class, plus CONTACT_BIT near contacts
    particle_points: np.ndarray  # (n, 3) some voxels inside particles
    contact_points: np.ndarray  # (n, 3) some voxels at contacts


def normalise_scan(grey: np.ndarray) -> np.ndarray:
    """The "scan_clipped" normalisation over a whole scan in memory; float32, same shape."""
    low, high = np.percentile(grey, [LOW_PERCENTILE, HIGH_PERCENTILE])
    clipped = np.clip(grey.astype(np.float32), low, high)
    spread = float(clipped.std())
    return (clipped - float(clipped.mean())) / (spread if spread > 0 else 1.0)


def encoded_target(labels: np.ndarray, border_thickness: float) -> np.ndarray:
    """Border-core class of each voxel with `CONTACT_BIT` set near contacts (uint8)."""
    target = labels_to_border_core(labels, border_thickness)
    target[contact_voxels(labels)] |= CONTACT_BIT
    return target


def _some_points(mask: np.ndarray, most: int = 3000) -> np.ndarray:
    where = np.flatnonzero(mask)
    if len(where) > most:
        where = where[:: len(where) // most + 1]
    return np.stack(np.unravel_index(where, mask.shape), axis=1).astype(np.int16)


def training_scene(
    name: str,
    grey: np.ndarray,
    labels: np.ndarray,
    border_thickness: float,
    normalise: bool = True,
) -> TrainingScene:
    """Prepare a labelled scan, already at the working scale, for training.

    `normalise`: bring the grey values to the "scan_clipped" normalisation; else they are there.
    """
    target = encoded_target(labels, border_thickness)
    return TrainingScene(
        name,
        (normalise_scan(grey) if normalise else grey).astype(np.float16),
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
) -> None:
    """Write scenes of `count` consecutive seeds into `folder`; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if progress is not None:
        progress.start("Simulating scans", count, "scans")
    for seed in range(first_seed, first_seed + count):
        if cancel is not None:
            cancel.check()
        path = folder / f"{preset}_{seed:06d}.npz"
        if not path.exists():
            scan = simulate_scan(preset, seed, shape)
            with part_file(path) as part, open(part, "wb") as file:
                np.savez(file, grey=scan.grey, labels=scan.labels.astype(np.uint16))
        if progress is not None:
            progress.advance()


def load_scene(path: Path, border_thickness: float) -> TrainingScene:
    """A scene of the pool, prepared for training."""
    with np.load(path, allow_pickle=False) as data:
        return training_scene(
            path.stem, data["grey"], data["labels"].astype(np.uint32), border_thickness
        )
