"""The noise of a scan measured from the scan itself: known noise is found, oddities do no harm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import Cancelled
from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken
from particleseg_app.segmentation.noise import NoiseFigures, measure_noise, spread_boxes
from particleseg_app.segmentation.working_scale import read_at_working_scale, working_shape
from particleseg_app.units import Box, Shape
from tests.segmentation.tube_scans import grains
from tests.segmentation.volumes import ArrayVolume

DIAMETER = 20.0
SHAPE = (72, 80, 90)
DARK, CONTRAST = 9000.0, 6000.0


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Balls in an even matrix, slightly blurred as by a scanner; float32."""
    random = np.random.default_rng(11)
    inside = grains(random, SHAPE, np.ones(SHAPE, bool), 0.3, DIAMETER) > 0
    return ndimage.gaussian_filter(np.where(inside, DARK + CONTRAST, DARK), 0.7).astype(np.float32)


def noisy(clean: np.ndarray, noise: float, dtype: type = np.uint16) -> np.ndarray:
    grey = clean + np.random.default_rng(5).normal(0, noise, clean.shape)
    if np.dtype(dtype).kind == "f":
        return grey.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(grey), info.min, info.max).astype(dtype)


def measured(grey: np.ndarray, scale: float = 1.0, diameter: float = DIAMETER) -> NoiseFigures:
    return measure_noise(ArrayVolume(grey), diameter, scale, CancelToken())


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_known_noise_and_contrast_are_found(clean: np.ndarray, share: float, dtype: type) -> None:
    figures = measured(noisy(clean, share * CONTRAST, dtype))
    assert figures.noise == pytest.approx(share * CONTRAST, rel=0.08)
    assert figures.noise_at_working_scale == figures.noise
    # Cells with surface in them take a little off.
    assert 0.7 * CONTRAST < figures.contrast < 1.05 * CONTRAST
    assert 0.65 / share < figures.contrast_to_noise < 1.05 / share


@pytest.mark.parametrize("diameter", [6.0, 12.0, 60.0])
def test_noise_does_not_depend_on_the_particles_asked_for(
    clean: np.ndarray, diameter: float
) -> None:
    figures = measured(noisy(clean, 2000), diameter=diameter)
    assert figures.noise == pytest.approx(2000, rel=0.1)


def test_noise_in_8_bits(clean: np.ndarray) -> None:
    figures = measured(noisy(clean / 100, 20, np.uint8))
    assert figures.noise == pytest.approx(20, rel=0.08)
    assert 0.75 * CONTRAST < 100 * figures.contrast < 1.05 * CONTRAST


def test_the_same_scan_gives_the_same_figures(clean: np.ndarray) -> None:
    grey = noisy(clean, 3000)
    assert measured(grey) == measured(grey) == measured(grey.copy())


def test_without_noise_the_contrast_is_beyond_all_bounds(clean: np.ndarray) -> None:
    even = np.where(clean > DARK + CONTRAST / 2, 15000, 9000).astype(np.uint16)
    even[:, :, 75:] = 0  # padding, without which the matrix itself might be some
    figures = measured(even)
    assert figures.noise == figures.noise_at_working_scale == 0
    assert 0.8 * CONTRAST < figures.contrast <= CONTRAST
    assert figures.contrast_to_noise == math.inf
    assert measured(clean).contrast_to_noise > 100


@pytest.mark.parametrize("diameter", [5.0, 6.0, 8.0, 10.0])
@pytest.mark.parametrize("true", [3.0, 6.0])
def test_small_particles_keep_their_contrast(diameter: float, true: float) -> None:
    shape = (48, 48, 48)
    random = np.random.default_rng(2)
    inside = grains(random, shape, np.ones(shape, bool), 0.35, diameter) > 0
    level = ndimage.gaussian_filter(np.where(inside, DARK + CONTRAST, DARK), 0.5)
    grey = np.maximum(level + random.normal(0, CONTRAST / true, shape), 0).astype(np.uint16)
    figures = measured(grey, diameter=diameter)
    # The smallest cells hold some surface.
    assert 0.35 * true < figures.contrast_to_noise < 1.1 * true


@pytest.mark.parametrize("diameter", [8.0, 12.0, 20.0])
def test_a_matrix_cut_off_at_black_is_not_all_taken_for_padding(diameter: float) -> None:
    shape = (50, 54, 58)
    random = np.random.default_rng(2)
    inside = grains(random, shape, np.ones(shape, bool), 0.3, diameter) > 0
    noise = random.normal(0, 150 / 6, shape)
    grey = np.where(inside, np.clip(150 + noise, 1, 255), 0).astype(np.uint8)
    assert measured(grey, diameter=diameter).contrast_to_noise > 2.5


@pytest.mark.parametrize("scale", [0.7, 0.5, 0.25])
def test_a_reduced_scan_has_less_noise(clean: np.ndarray, scale: float) -> None:
    grey = noisy(clean, 3000, np.float32)
    figures = measured(grey, scale)
    assert figures.noise == measured(grey).noise
    # Against what is left of the noise alone when it is really brought to working scale.
    alone = ArrayVolume((grey - clean).astype(np.float32))
    import torch

    shape = working_shape(SHAPE, scale)
    left = read_at_working_scale(
        alone, shape, Box.whole(shape), GreyScaling(-1e9, 1e9, 0, 1), torch.device("cpu")
    )
    assert figures.noise_at_working_scale == pytest.approx(float(left.std()), rel=0.25)
    assert figures.noise_at_working_scale < 0.8 * figures.noise


def test_an_enlarged_scan_keeps_its_noise(clean: np.ndarray) -> None:
    grey = noisy(clean, 3000)
    assert measured(grey, 2.0) == measured(grey)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_padding_around_a_cylinder_is_left_out(
    clean: np.ndarray, dtype: type, level: float
) -> None:
    grey = noisy(clean / 100, 20, dtype)
    _, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    outside = (y - SHAPE[1] / 2) ** 2 + (x - SHAPE[2] / 2) ** 2 > 32**2
    assert outside.mean() > 0.5
    padded = np.where(outside, dtype(level), np.maximum(grey, dtype(1))).astype(dtype)
    figures = measured(padded)
    assert figures.noise == pytest.approx(20, rel=0.12)
    assert figures.contrast == pytest.approx(CONTRAST / 100, rel=0.25)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 60, 60), (2, 2, 90), (3, 3, 3), (60, 1, 1)])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_tiny_scans_have_figures(shape: Shape, scale: float) -> None:
    grey = np.random.default_rng(1).normal(1000, 100, shape).astype(np.uint16)
    figures = measured(grey, scale)
    for value in (figures.noise, figures.noise_at_working_scale, figures.contrast):
        assert math.isfinite(value) and value >= 0
    assert figures.contrast_to_noise >= 0


@pytest.mark.parametrize("level", [0.0, 0.1, 4e4])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_an_even_scan_has_neither_noise_nor_contrast(level: float, scale: float) -> None:
    figures = measured(np.full((40, 50, 40), level, np.float32), scale)
    assert figures == NoiseFigures(0.0, 0.0, 0.0)


def test_it_ends_at_once_when_cancelled(clean: np.ndarray) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        measure_noise(ArrayVolume(clean), DIAMETER, 1.0, cancel)


def test_little_is_read_of_a_large_scan() -> None:
    class Endless:
        shape = (2000, 3000, 4000)
        statistics = ArrayVolume(np.random.default_rng(1).normal(0, 1, (40, 40, 40))).statistics
        voxels = 0

        def read(self, box: Box) -> np.ndarray:
            self.voxels += box.size
            return np.random.default_rng(box.start).normal(0, 1, box.shape).astype(np.float32)

    scan = Endless()
    assert measure_noise(scan, DIAMETER, 1.0, CancelToken()).noise == pytest.approx(1, rel=0.05)
    assert scan.voxels == 125 * 36**3


lengths = st.integers(1, 300)


@given(st.tuples(lengths, lengths, lengths), st.integers(1, 90), st.integers(1, 6))
def test_pieces_lie_in_the_scan_and_cover_short_axes(shape: Shape, edge: int, along: int) -> None:
    pieces = list(spread_boxes(shape, edge, along))
    assert 1 <= len(pieces) <= along**3
    for axis, length in enumerate(shape):
        spans = sorted({(box.start[axis], box.stop[axis]) for box in pieces})
        assert len(spans) <= along
        assert all(a >= 0 and b <= length and b - a == min(edge, length) for a, b in spans)
        if along > 1 or length <= edge:
            assert spans[0][0] == 0
        if length <= edge * along:
            covered = np.zeros(length, bool)
            for a, b in spans:
                covered[a:b] = True
            assert covered.all()
    assert len(set(pieces)) == len(pieces)


def in_a_container(clean: np.ndarray, wall: float, around: float) -> np.ndarray:
    """The balls in a cylinder with a wall of that contrast and air of that one outside of it."""
    _, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    radius = np.sqrt((y - SHAPE[1] / 2) ** 2 + (x - SHAPE[2] / 2) ** 2)
    grey = np.where(radius > 34, DARK + around * CONTRAST, clean)
    grey = np.where((radius > 34) & (radius < 39), DARK + wall * CONTRAST, grey)
    return ndimage.gaussian_filter(grey, 0.7).astype(np.float32)


@pytest.mark.parametrize(("wall", "around"), [(0.0, -1.0), (2.0, -1.0), (0.1, -0.5)])
@pytest.mark.parametrize("true", [1.2, 2.0, 6.0])
def test_air_and_containers_are_not_taken_for_the_contrast_of_particles(
    clean: np.ndarray, wall: float, around: float, true: float
) -> None:
    found = measured(noisy(in_a_container(clean, wall, around), CONTRAST / true))
    # The wall of the last stands out from the air by half as much as particles from the matrix.
    assert 0.5 * true < found.contrast_to_noise < 1.3 * true


@pytest.mark.parametrize("diameter", [6.0, 8.0])
@pytest.mark.parametrize("true", [1.0, 1.5])
def test_small_particles_in_strong_noise_are_seen(diameter: float, true: float) -> None:
    shape = (60, 64, 68)
    random = np.random.default_rng(2)
    inside = grains(random, shape, np.ones(shape, bool), 0.35, diameter) > 0
    level = ndimage.gaussian_filter(np.where(inside, DARK + CONTRAST, DARK), 0.5)
    grey = np.maximum(level + random.normal(0, CONTRAST / true, shape), 0).astype(np.uint16)
    assert 0.5 * true < measured(grey, diameter=diameter).contrast_to_noise < 1.3 * true


@pytest.mark.parametrize("diameter", [6.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_alone_shows_no_particles(diameter: float, seed: int) -> None:
    white = np.random.default_rng(seed).normal(0, 1, (80, 90, 100))
    for grain in (0.0, 0.6):
        grey = ndimage.gaussian_filter(white, grain).astype(np.float32)
        assert measured(grey, diameter=diameter).contrast == 0


def test_streaks_in_most_of_a_scan_do_not_hide_clear_particles() -> None:
    """As where a sample fills a small part of the scan, and faint artefacts the rest."""
    shape = (36, 200, 200)
    random = np.random.default_rng(8)
    middle = np.zeros(shape, bool)
    middle[:, 60:140, 60:140] = True
    inside = grains(random, shape, middle, 0.3, DIAMETER) > 0
    grey = np.where(inside, DARK + CONTRAST, DARK)
    streaks = 0.08 * CONTRAST * (np.arange(200) // 10 % 2)
    grey = ndimage.gaussian_filter(grey + np.where(middle, 0, streaks), 0.7)
    figures = measured(noisy(grey, CONTRAST / 20))
    assert figures.contrast_to_noise > 10


def test_bright_padding_far_off_is_left_out(clean: np.ndarray) -> None:
    grey = noisy(clean / 10, 300)
    _, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    outside = (y - SHAPE[1] / 2) ** 2 + (x - SHAPE[2] / 2) ** 2 > 34**2
    figures = measured(np.where(outside, 65535, grey).astype(np.uint16))
    assert figures.noise == pytest.approx(300, rel=0.12)
    assert 0.6 * CONTRAST / 10 < figures.contrast < 1.3 * CONTRAST / 10
