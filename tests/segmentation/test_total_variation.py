"""Total variation denoising: the same voxels in any box, near the optimum, edges kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.segmentation import cores, total_variation
from particleseg_app.segmentation.total_variation import HALO, denoised
from particleseg_app.units import Box, Shape

NOISE = 1000.0
DARK, BRIGHT = 10000.0, 13000.0


def ball(shape: Shape, radius: float) -> np.ndarray:
    """Bool (z, y, x): a ball in the middle."""
    grid = np.ogrid[[slice(n) for n in shape]]
    squared = sum((g - (n - 1) / 2) ** 2 for g, n in zip(grid, shape, strict=True))
    return np.asarray(squared <= radius**2)


def noisy(inside: np.ndarray, noise: float = NOISE, seed: int = 1) -> np.ndarray:
    grey = np.where(inside, BRIGHT, DARK)
    grey = grey + np.random.default_rng(seed).normal(0, noise, inside.shape)
    return grey.astype(np.float32)


def energy(values: np.ndarray, grey: np.ndarray, weight: float) -> float:
    """What the denoised volume has the least of."""
    steps = np.zeros((3, *grey.shape))
    for axis in range(3):
        ahead = np.diff(values.astype(np.float64), axis=axis)
        steps[axis][tuple(slice(n) for n in ahead.shape)] = ahead
    variation = np.sqrt((steps**2).sum(axis=0)).sum()
    return float(0.5 * ((values - grey.astype(np.float64)) ** 2).sum() + weight * variation)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """One or two axes longer than the margin, so that boxes are really cut out of the middle."""
    edges = [
        draw(st.integers(1, 90)),
        draw(st.sampled_from([1, 2, 3, 65])),
        draw(st.integers(1, 6)),
    ]
    z, y, x = draw(st.permutations(edges))
    return z, y, x


@st.composite
def boxes(draw: st.DrawFn, shape: Shape) -> Box:
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.data(), shapes(), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.5, 40.0]))
def test_any_box_read_with_its_margin_is_that_of_the_whole(
    data: st.DataObject, shape: Shape, seed: int, weight: float
) -> None:
    random = np.random.default_rng(seed)
    grey = (random.normal(0, 1, shape) + 3 * (random.random(shape) < 0.3)).astype(np.float32)
    whole = denoised(grey, weight, threads=1)
    box = data.draw(boxes(shape))
    outer = box.expanded(HALO, shape)
    part = denoised(grey[outer.slices], weight, threads=data.draw(st.integers(1, 4)))
    np.testing.assert_array_equal(part[box.within(outer)], whole[box.slices])


def test_the_margin_is_needed() -> None:
    """Else the test above would show nothing."""
    grey = np.random.default_rng(4).normal(0, 1, (3, 3, 120)).astype(np.float32)
    whole = denoised(grey, 5.0)
    box = Box((0, 0, 50), (3, 3, 70))
    outer = box.expanded(8, (3, 3, 120))
    part = denoised(grey[outer.slices], 5.0)
    assert (part[box.within(outer)] != whole[box.slices]).any()


@pytest.mark.parametrize("shape", [(1, 9, 8), (2, 3, 40), (13, 7, 1), (30, 20, 17)])
def test_threads_do_not_change_a_bit(shape: Shape) -> None:
    grey = np.random.default_rng(2).normal(20, 5, shape).astype(np.float32)
    alone = denoised(grey, 4.0, threads=1)
    for threads in (2, 3, 7, 64, None):
        np.testing.assert_array_equal(denoised(grey, 4.0, threads), alone)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_an_even_volume_stays_as_it_is(dtype: type) -> None:
    grey = np.full((5, 1, 7), 117, dtype)
    result = denoised(grey, 12.0)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, grey.astype(np.float32))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 50), (2, 1, 2), (0, 4, 4)])
def test_the_smallest_volumes_are_denoised(shape: Shape) -> None:
    grey = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    before = grey.copy()
    result = denoised(grey, 1.0)
    assert result.shape == shape and np.isfinite(result).all()
    np.testing.assert_array_equal(grey, before)


def test_the_mean_grey_value_is_kept() -> None:
    grey = noisy(ball((24, 26, 28), 8))
    result = denoised(grey, 900.0)
    assert result.mean(dtype=np.float64) == pytest.approx(grey.mean(dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("weight", [300.0, 900.0])
def test_it_is_close_to_the_optimum(weight: float) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    grey = noisy(ball((20, 20, 20), 6))
    best = restoration.denoise_tv_chambolle(
        grey.astype(np.float64), weight, eps=1e-12, max_num_iter=1500
    )
    result = denoised(grey, weight)
    least, start = energy(best, grey, weight), energy(grey, grey, weight)
    assert least <= energy(result, grey, weight) <= least + 0.01 * (start - least)
    assert np.abs(result - best).mean() < 0.1 * NOISE


def test_noise_goes_and_the_step_at_a_face_stays() -> None:
    inside = ball((40, 40, 40), 13)
    grey = noisy(inside)
    result = denoised(grey, 0.9 * NOISE)
    core = ndimage.binary_erosion(inside, iterations=3)
    around = ~ndimage.binary_dilation(inside, iterations=3)
    for even in (core, around):
        assert result[even].std() < grey[even].std() / 5
    # The last layer of the ball and the first one outside it.
    rim = inside & ~ndimage.binary_erosion(inside)
    shell = ndimage.binary_dilation(inside) & ~inside
    step = result[rim].mean() - result[shell].mean()
    assert step > 0.5 * (BRIGHT - DARK)
    # Blurring that takes off as much noise leaves less of it.
    blurred = ndimage.gaussian_filter(grey, 1.2)
    assert blurred[core].std() > result[core].std()
    assert step > 1.2 * (blurred[rim].mean() - blurred[shell].mean())


def test_next_to_no_weight_gives_the_volume_itself() -> None:
    grey = noisy(ball((12, 13, 14), 4))
    np.testing.assert_allclose(denoised(grey, 1e-6), grey, rtol=0, atol=0.01)


@pytest.mark.parametrize(("of_worker", "expected"), [(None, 7), (3, 3)])
def test_a_worker_of_a_cluster_takes_the_threads_it_was_given(
    of_worker: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    class Counted(total_variation.ThreadPoolExecutor):
        def __init__(self, count: int, **options: str) -> None:
            counts.append(count)
            super().__init__(count, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(total_variation, "ThreadPoolExecutor", Counted)
    monkeypatch.setattr(cores, "usable_cores", lambda: 7)
    monkeypatch.setattr(cores, "_of_worker", None)
    if of_worker is not None:
        cores.keep_to_cores_of_worker(of_worker)
    denoised(np.ones((9, 4, 4), np.float32), 1.0)
    assert counts == [expected]
