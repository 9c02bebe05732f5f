"""ThreshWater's classes, and that blocks do not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.segmentation.border_core import border_core_to_particles
from particleseg_app.segmentation.threshold_watershed import threshold_classes, threshold_halo
from particleseg_app.units import Box, Shape, blocks
from tests.segmentation.class_volumes import separate_balls

side = st.integers(1, 24)
radii = st.sampled_from([0, 1, 1.5, 2, 3])


def ball(radius: float) -> np.ndarray:
    reach = int(radius)
    axes = np.indices((2 * reach + 1,) * 3) - reach
    return (axes**2).sum(axis=0) <= radius**2


def grey_volume(shape: Shape, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    return ndimage.gaussian_filter(noise, 1.2, mode="nearest") * 1000


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(side, side, side),
    st.integers(0, 2**32 - 1),
    radii,
    radii,
    st.booleans(),
    st.tuples(*[st.integers(4, 24)] * 3),
)
def test_blocks_give_the_classes_of_the_whole_scan(
    shape: Shape, seed: int, opening: float, erosion: float, bright: bool, block_shape: Shape
) -> None:
    grey = grey_volume(shape, seed)
    whole = threshold_classes(grey, -50, opening, erosion, bright)
    joined = np.full(shape, 9, np.uint8)
    for box in blocks(shape, block_shape):
        around = box.expanded(threshold_halo(opening, erosion), shape)
        part = threshold_classes(grey[around.slices], -50, opening, erosion, bright)
        joined[box.slices] = part[box.within(around)]
    np.testing.assert_array_equal(joined, whole)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), radii, radii)
def test_opening_and_seeds_are_those_of_morphology(
    seed: int, opening: float, erosion: float
) -> None:
    grey = grey_volume((20, 20, 20), seed)
    # Away from the volume's edge, where conventions differ.
    grey = np.pad(grey, 8, constant_values=-10_000)
    mask = grey > 0
    if opening >= 1:
        mask = ndimage.binary_opening(mask, ball(opening))
    seeds = ndimage.binary_erosion(mask, ball(erosion))
    classes = threshold_classes(grey, 0, opening, erosion)
    np.testing.assert_array_equal(classes > 0, mask)
    np.testing.assert_array_equal(classes == 1, seeds)


def test_touching_balls_come_apart_and_specks_go() -> None:
    labels = separate_balls((24, 24, 40), [((12, 12, 11), 8), ((12, 12, 26), 8)])
    grey = np.where(labels > 0, 900, 100).astype(np.uint16)
    grey[2, 2, 2] = 900
    classes = threshold_classes(grey, 500, opening_radius=1, erosion_radius=4)
    found = border_core_to_particles(classes, small_core_filter=False)
    assert found.max() == 2
    assert found[2, 2, 2] == 0
    assert found[12, 12, 11] == 1 and found[12, 12, 26] == 2
    assert np.mean((found > 0) == (labels > 0)) > 0.98


def test_dark_particles() -> None:
    grey = np.full((9, 9, 9), 800, np.uint16)
    grey[2:7, 2:7, 2:7] = 100
    classes = threshold_classes(grey, 400, 0, 1, bright_particles=False)
    np.testing.assert_array_equal(classes > 0, grey == 100)
    np.testing.assert_array_equal(np.argwhere(classes == 1).min(axis=0), [3, 3, 3])


def test_a_region_without_a_seed_stays_one_particle() -> None:
    grey = np.zeros((5, 5, 9), np.uint8)
    grey[2, 2, 2:7] = 200
    classes = threshold_classes(grey, 100, 0, 2)
    assert not (classes == 1).any()
    assert border_core_to_particles(classes, small_core_filter=False).max() == 1


@pytest.mark.parametrize(("opening", "erosion", "halo"), [(0, 0, 0), (1, 2, 4), (1.5, 2.9, 4)])
def test_the_halo_reaches_as_far_as_the_balls(opening: float, erosion: float, halo: int) -> None:
    assert threshold_halo(opening, erosion) == halo
    assert Box((0, 0, 0), (1, 1, 1)).expanded(halo, (9, 9, 9)).shape == (1 + halo,) * 3
