"""The scan at working scale does not depend on the box asked for, and is a true resampling."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.models import GreyScaling
from particleseg_app.segmentation import working_scale
from particleseg_app.segmentation.working_scale import (
    as_float,
    read_at_working_scale,
    working_shape,
)
from particleseg_app.units import Box

from .volumes import ArrayVolume

CPU = torch.device("cpu")
AS_IT_IS = GreyScaling(-np.inf, np.inf, 0.0, 1.0)


@settings(deadline=None, max_examples=30)
@given(st.data(), st.floats(0.15, 3.0))
def test_any_box_equals_the_same_part_of_the_whole(data, factor):
    random = np.random.default_rng(0)
    volume = ArrayVolume(random.integers(0, 60000, (23, 31, 27)).astype(np.uint16))
    shape = working_shape(volume.shape, factor)
    scaling = GreyScaling(1000.0, 50000.0, 20000.0, 9000.0)
    whole = read_at_working_scale(volume, shape, Box.whole(shape), scaling, CPU)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    box = Box(start, stop)
    part = read_at_working_scale(volume, shape, box, scaling, CPU)
    assert torch.equal(part, whole[box.slices])


def test_small_reads_give_the_same_as_one_large_read(monkeypatch):
    volume = ArrayVolume(np.random.default_rng(1).normal(size=(60, 20, 20)).astype(np.float32))
    shape = working_shape(volume.shape, 0.4)
    whole = read_at_working_scale(volume, shape, Box.whole(shape), AS_IT_IS, CPU)
    monkeypatch.setattr(working_scale, "MAX_READ_VOXELS", 20 * 20 * 9)
    pieces = read_at_working_scale(volume, shape, Box.whole(shape), AS_IT_IS, CPU)
    assert torch.equal(pieces, whole)
    assert volume.largest_read <= whole.numel() * 100


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 1.7, 3.0])
def test_a_ramp_stays_a_ramp_in_place(factor):
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], (40, 8, 8))
    shape = working_shape((40, 8, 8), factor)
    result = read_at_working_scale(ArrayVolume(ramp), shape, Box.whole(shape), AS_IT_IS, CPU)
    centres = (np.arange(shape[0]) + 0.5) * 40 / shape[0] - 0.5
    inner = slice(2, -2)
    np.testing.assert_allclose(result[inner, 0, 0], centres[inner], atol=1e-3)


def test_beyond_the_volume_lies_its_mirror_image():
    volume = ArrayVolume(np.random.default_rng(2).normal(size=(10, 12, 14)).astype(np.float32))
    wide = read_at_working_scale(volume, (10, 12, 14), Box((0, 0, 0), (16, 12, 14)), AS_IT_IS, CPU)
    for beyond in range(1, 7):
        assert torch.equal(wide[9 + beyond], wide[9 - beyond])
    np.testing.assert_array_equal(wide[:10].numpy(), volume.array)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_volume_much_thinner_than_a_tile_is_mirrored_again_and_again(depth):
    volume = ArrayVolume(np.random.default_rng(2).normal(size=(depth, 4, 4)).astype(np.float32))
    box = Box((0, 0, 0), (16, 4, 4))
    wide = read_at_working_scale(volume, (depth, 4, 4), box, AS_IT_IS, CPU).numpy()
    expected = np.pad(volume.array, [(0, 16 - depth), (0, 0), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(wide, expected)


def test_reducing_averages_noise_away():
    noise = np.random.default_rng(3).normal(size=(64, 64, 64)).astype(np.float32)
    shape = working_shape(noise.shape, 0.25)
    reduced = read_at_working_scale(ArrayVolume(noise), shape, Box.whole(shape), AS_IT_IS, CPU)
    assert reduced.std() < 0.25


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32])
def test_grey_values_reach_a_card_unchanged(dtype):
    # A stand-in for a card: what is sent there stays where it is.
    limits = np.array([0, 1, 100, 127], dtype)
    if np.issubdtype(dtype, np.integer):
        limits = np.append(limits, [np.iinfo(dtype).min, np.iinfo(dtype).max]).astype(dtype)
    grey = np.broadcast_to(limits, (2, 3, len(limits)))

    class Card:
        type = "cuda"

    original = torch.Tensor.to
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            torch.Tensor,
            "to",
            lambda self, where, *a: self if isinstance(where, Card) else original(self, where, *a),
        )
        values = as_float(grey, Card())
    assert values.dtype == torch.float32
    np.testing.assert_array_equal(values.numpy(), grey.astype(np.float32))
