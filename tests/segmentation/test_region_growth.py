"""Growth of one block with a margin against the plain growth of the whole volume."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from particleseg_app.segmentation.border_core import grow_by_layers
from particleseg_app.segmentation.region_growth import BACKGROUND, NO_LABEL, BlockGrowth
from particleseg_app.units import Shape
from tests.segmentation.class_volumes import blob_classes

# Widths of a block and its margin around 64 and 128: bits of a row fill one word, two or three.
WIDTHS = st.sampled_from([1, 5, 46, 47, 48, 49, 50, 62, 63, 64, 65, 112, 113, 126, 128, 130])


def plain_growth(cores: np.ndarray, foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and after how many layers each voxel has its own (-1 where it never has one)."""
    labels = cores.astype(np.int64)
    layers = np.where(labels > 0, 0, -1)
    reached = labels > 0
    for layer in range(1, foreground.size + 1):
        around = np.zeros_like(reached)
        padded = np.pad(reached, 1)
        nz, ny, nx = reached.shape
        for z, y, x in np.ndindex(3, 3, 3):
            around |= padded[z : z + nz, y : y + ny, x : x + nx]
        new = around & foreground & ~reached
        if not new.any():
            break
        layers[new] = layer
        reached |= new
    return grow_by_layers(labels, foreground), layers


def grown(
    cores: np.ndarray, foreground: np.ndarray, margin: int, shape: Shape
) -> tuple[np.ndarray, np.ndarray, BlockGrowth]:
    """Of the block of `shape` that begins `margin` voxels inside; the parts around it are put in
    one after the other, as the blocks around a block of a volume are."""
    border = int(cores.max(initial=0)) + 1
    local = np.where(foreground & (cores == 0), border, cores).astype(np.uint16)
    ranks = np.arange(border + 1, dtype=np.uint32)
    ranks[border] = 0
    growth = BlockGrowth(shape, margin)
    cuts = [(0, margin, margin + n, n + 2 * margin) for n in shape]
    for place in np.ndindex(3, 3, 3):
        box = tuple(slice(cut[i], cut[i + 1]) for cut, i in zip(cuts, place, strict=True))
        z, y, x = (part.start - margin for part in box)
        growth.put(local[box], ranks, (z, y, x))
    labels, layers = growth.grow()
    return labels, layers, growth


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), WIDTHS),
    st.integers(0, 8),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 0.6, 1.0]),
    st.sampled_from([0.4, 0.8, 1.0]),
    st.sampled_from([0.002, 0.02, 0.3]),
)
@example((3, 3, 130), 6, 1, 0.6, 1.0, 0.001)
def test_what_is_reached_within_the_margin_is_that_of_the_whole_volume(
    shape: Shape, margin: int, seed: int, smooth: float, filled: float, core: float
) -> None:
    z, y, x = (n + 2 * margin for n in shape)
    classes = blob_classes((z, y, x), seed, smooth, filled, core)
    random = np.random.default_rng(seed)
    cores = np.where(classes == 1, random.integers(1, 50, classes.shape), 0)
    inner = tuple(slice(margin, margin + n) for n in shape)
    labels, layers, _ = grown(cores, classes > 0, margin, shape)
    plain, after = (array[inner] for array in plain_growth(cores, classes > 0))
    sure = (after >= 0) & (after <= margin)
    np.testing.assert_array_equal(labels[sure], plain[sure])
    np.testing.assert_array_equal(layers[sure], after[sure])
    # Whatever else it says is more than the margin, never less than the truth.
    others = (classes[inner] > 0) & ~sure
    found = labels < BACKGROUND
    assert (layers[others & found] > margin).all()
    assert (layers[others & found] >= after[others & found]).all()
    assert (after[others & found] > 0).all()
    assert (labels[others & ~found] == NO_LABEL).all() and (layers[~found] == 0).all()
    assert ((labels == BACKGROUND) == (classes[inner] == 0)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), WIDTHS),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.4, 0.8, 1.0]),
    st.sampled_from([0.0, 0.001, 0.02, 0.3]),
)
def test_without_a_margin_a_block_is_a_volume_of_its_own(
    shape: Shape, seed: int, filled: float, core: float
) -> None:
    classes = blob_classes(shape, seed, 0.6, filled, core)
    cores = np.where(classes == 1, np.random.default_rng(seed).integers(1, 50, shape), 0)
    labels, layers, _ = grown(cores, classes > 0, 0, shape)
    plain, after = plain_growth(cores, classes > 0)
    np.testing.assert_array_equal(np.where(labels >= BACKGROUND, 0, labels), plain)
    np.testing.assert_array_equal(layers, np.maximum(after, 0))


@pytest.mark.parametrize("length", [200, 300])
def test_layers_beyond_255_are_counted_on(length: int) -> None:
    cores = np.zeros((1, 1, length), np.int64)
    cores[0, 0, 0] = 7
    labels, layers, _ = grown(cores, np.ones(cores.shape, bool), 0, (1, 1, length))
    assert (labels == 7).all()
    np.testing.assert_array_equal(layers[0, 0], np.arange(length))


def test_in_the_margin_only_what_the_block_depends_on_takes_a_label() -> None:
    """A row of margin, block and margin. The voxels between the core beside the block and the
    block are needed; what grows away from it is not, and that is what keeps margins cheap."""
    cores, margin = np.zeros((13, 13, 20), np.int64), 6
    cores[:, :, 3] = 5
    foreground = np.ones(cores.shape, bool)
    labels, _, growth = grown(cores, foreground, margin, (1, 1, 8))
    assert (labels == 5).all()
    row = growth._labels[margin + 1, margin + 1, 1:-1]
    assert (row[4:6] == 5).all()
    assert (row[:3] == NO_LABEL).all()
