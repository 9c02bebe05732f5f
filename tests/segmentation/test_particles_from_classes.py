"""Block by block on disk against the plain whole-volume algorithm."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.border_core import border_core_to_particles
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.labels import open_labels


class Classes:
    """A classes volume in memory that counts how often it is read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.reads = 0

    @property
    def shape(self) -> Shape:
        z, y, x = self.array.shape
        return z, y, x

    def read(self, box: Box) -> np.ndarray:
        self.reads += 1
        return self.array[box.slices]


def convert(
    classes: np.ndarray,
    block_shape: Shape,
    folder: Path,
    min_relative_volume: float = 0.0,
    small_core_filter: bool = True,
    scan_shape: Shape | None = None,
    scale_factor: float = 1.0,
) -> np.ndarray:
    volume = Classes(classes)
    count = particles_from_classes(
        volume,
        scan_shape or volume.shape,
        scale_factor,
        folder / "work",
        folder / "labels.h5",
        min_relative_volume,
        Progress(),
        CancelToken(),
        block_shape=block_shape,
        small_core_filter=small_core_filter,
    )
    assert not (folder / "work").exists()
    with open_labels(folder / "labels.h5") as labels:
        array = labels.read(Box.whole(labels.shape))
        assert labels.count == count == array.max(initial=0)
    return array


def blobs(shape: Shape, seed: int, sigma: float, fill: float, core: float) -> np.ndarray:
    """Smooth random classes: the higher the noise, the more inside."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    if sigma:
        noise = ndimage.gaussian_filter(noise, sigma, mode="nearest")
    classes = (noise > np.quantile(noise, 1 - fill)).astype(np.uint8) * 2
    classes[noise > np.quantile(noise, 1 - fill * core)] = 1
    return classes


shapes = st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(1, 16))


@st.composite
def classes_and_blocks(draw: st.DrawFn) -> tuple[np.ndarray, Shape]:
    shape = draw(shapes)
    classes = blobs(
        shape,
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from([0, 0.6, 1.0, 2.0])),
        draw(st.sampled_from([0.1, 0.4, 0.8, 1.0])),
        draw(st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0])),
    )
    # At most three blocks along an axis of a volume with many, so that files stay few.
    z, y, x = (draw(st.integers(max(1, -(-n // 3)), n)) for n in shape)
    thin = draw(st.sampled_from([None, 0, 1, 2]))
    if thin is not None:
        block = [n for n in shape]
        block[thin] = 1
        z, y, x = block
    return classes, (z, y, x)


@settings(max_examples=50, deadline=None)
@given(classes_and_blocks(), st.booleans())
def test_any_blocks_give_the_particles_of_the_whole_volume(
    case: tuple[np.ndarray, Shape], small_core_filter: bool
) -> None:
    classes, block_shape = case
    with tempfile.TemporaryDirectory() as folder:
        found = convert(classes, block_shape, Path(folder), small_core_filter=small_core_filter)
    np.testing.assert_array_equal(found, border_core_to_particles(classes, small_core_filter))


def test_cancel_stops(tmp_path: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        particles_from_classes(
            Classes(np.ones((4, 4, 4), np.uint8)),
            (4, 4, 4),
            1.0,
            tmp_path / "w",
            tmp_path / "l.h5",
            0.0,
            Progress(),
            cancel,
        )
