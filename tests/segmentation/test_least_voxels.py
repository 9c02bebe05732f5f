"""Specks that cannot be told from noise are no particles: a least size in voxels of the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.labels import open_labels
from tests.segmentation.class_volumes import Classes, blob_classes


def particles(
    classes: np.ndarray,
    folder: Path,
    least_voxels: float,
    block_shape: Shape = (128, 128, 128),
    min_relative_volume: float = 0.0,
    enlarged: int = 1,
) -> np.ndarray:
    """Labels on a scan that is `enlarged` times as long as the classes along each axis."""
    volume = Classes(classes)
    z, y, x = (n * enlarged for n in volume.shape)
    particles_from_classes(
        volume,
        (z, y, x),
        1 / enlarged,
        folder / "work",
        folder / "labels.h5",
        min_relative_volume,
        Progress(),
        CancelToken(),
        block_shape=block_shape,
        least_voxels=least_voxels,
    )
    with open_labels(folder / "labels.h5") as labels:
        found: np.ndarray = labels.read(Box.whole(labels.shape))
        assert labels.count == found.max(initial=0)
    return found


def without_small(labels: np.ndarray, least: float) -> np.ndarray:
    """The same particles in the same order without those of fewer voxels."""
    volumes = np.bincount(labels.ravel())
    kept = volumes >= least
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[labels]


@pytest.mark.parametrize("block_shape", [(32, 36, 40), (7, 36, 11), (9, 8, 13)])
@pytest.mark.parametrize("enlarged", [1, 2])
def test_smaller_particles_go_whatever_the_blocks(
    tmp_path: Path, block_shape: Shape, enlarged: int
) -> None:
    classes = blob_classes((32, 36, 40), 8, 1.4, 0.15, 0.4)
    every = particles(classes, tmp_path, 0.0, enlarged=enlarged)
    volumes = np.bincount(every.ravel())[1:]
    least = float(np.median(volumes))  # some have exactly as many: these stay
    assert least in volumes and volumes.min() < least < volumes.max()
    found = particles(classes, tmp_path, least, block_shape, enlarged=enlarged)
    np.testing.assert_array_equal(found, without_small(every, least))
    assert np.bincount(found.ravel())[1:].min() == least


def test_the_stricter_of_both_limits_holds(tmp_path: Path) -> None:
    classes = blob_classes((32, 36, 40), 8, 1.4, 0.15, 0.4)
    every = particles(classes, tmp_path, 0.0)
    mean = np.bincount(every.ravel())[1:].mean()
    for least, relative in ((0.2 * mean, 0.5), (0.5 * mean, 0.2)):
        found = particles(classes, tmp_path, least, min_relative_volume=relative)
        np.testing.assert_array_equal(found, without_small(every, 0.5 * mean))


def test_nothing_may_be_left(tmp_path: Path) -> None:
    classes = blob_classes((20, 20, 20), 3, 1.2, 0.2, 0.4)
    assert not particles(classes, tmp_path, 1e12).any()
