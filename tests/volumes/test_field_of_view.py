"""What was filled in around a round field of view is found, and nothing else is taken for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from particleseg_app.errors import ScanError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from particleseg_app.volumes.field_of_view import FEWEST_SLICES, FieldOfView, FieldOfViewFinder
from particleseg_app.volumes.grey_counting import GreyCounter

SHAPE = (12, 60, 72)


def sample(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Balls in a matrix, with noise, uint16."""
    random = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter(random.normal(size=shape), 3)
    grey = 9000 + 5000 * (spots > 1.5 * spots.std()) + random.normal(0, 600, shape)
    return grey.astype(np.uint16)


def circle(
    shape: tuple[int, ...] = SHAPE, radius: float | None = None, shift: float = 0
) -> np.ndarray:
    """What lies outside of a circle, bool (y, x)."""
    y, x = np.indices(shape[1:])
    middle = (np.array(shape[1:]) - 1) / 2
    radius = min(shape[1:]) / 2 if radius is None else radius
    return np.hypot(y - middle[0] - shift, x - middle[1]) > radius


def found(slices: np.ndarray, threads: int = 1) -> FieldOfView | None:
    finder = FieldOfViewFinder()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(finder.add, slices))
    return finder.result()


@pytest.mark.parametrize("filled", [0, 9000, 14_000, 65_535])
@pytest.mark.parametrize("radius", [25, 30, 38])
def test_a_round_field_of_view_is_found_to_the_voxel(filled: int, radius: float) -> None:
    outside = circle(radius=radius, shift=3)
    view = found(np.where(outside, filled, sample()).astype(np.uint16), threads=3)
    assert view is not None and view.filled == filled
    assert np.array_equal(view.outside, outside)
    assert view.outside_share == outside.mean()


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(deadline=None, max_examples=30)
def test_any_outline_is_found_in_any_order_of_slices(seed: int, corner: int) -> None:
    random = np.random.default_rng(seed)
    outside = np.zeros(SHAPE[1:], bool)
    outside[: 4 * corner, : 5 * corner] = True  # at least one corner
    outside |= random.random() * circle() > 0.5
    slices = np.where(outside, 77, sample(seed)).astype(np.uint16)
    view = found(slices[random.permutation(len(slices))])
    assert view is not None and np.array_equal(view.outside, outside)


def test_what_has_the_same_value_inside_is_seen() -> None:
    slices = np.where(circle(), 0, sample())
    slices[:, 28:33, 28:33] = 0  # a hole through all slices
    slices[3, 40:50, 30:40] = 0
    view = found(slices)
    assert view is not None and np.array_equal(view.outside, circle())


def test_blank_slices_at_the_ends_tell_nothing() -> None:
    slices = np.where(circle(), 0, sample(shape=(16, 60, 72)))
    slices[:3] = slices[-1] = 0
    view = found(slices)
    assert view is not None and np.array_equal(view.outside, circle())


def test_there_is_none_where_all_was_seen() -> None:
    assert found(sample()) is None
    assert found(np.zeros(SHAPE, np.uint16)) is None
    only_a_few = np.where(circle(), 0, sample())[: FEWEST_SLICES - 1]
    assert found(only_a_few) is None


@pytest.mark.parametrize("blur", [0.0, 0.7, 1.5])
def test_air_that_was_cut_off_to_black_was_seen(blur: float) -> None:
    # A round sample in air: black around it, but for noise at its edge.
    sharp = np.where(circle(radius=24), -900.0, sample())
    random = np.random.default_rng(4)
    grey = ndimage.gaussian_filter(sharp, (0, blur, blur)) + random.normal(0, 500, SHAPE)
    assert found(np.clip(grey, 0, None).astype(np.uint16)) is None


def test_a_black_matrix_without_noise_was_seen() -> None:
    particles = sample() > 12_000
    assert found(np.where(particles, 200, 0).astype(np.uint8)) is None


def test_distances_to_what_is_outside() -> None:
    outside = np.zeros((300, 300), bool)
    outside[:, 0] = True
    distance = FieldOfView(outside, 0.0).distance
    assert distance[5, :4].tolist() == [0, 1, 2, 3]
    assert distance[5, 254] == 254 and distance[5, 299] == 255


def imported(folder: Path, slices: np.ndarray) -> Path:
    tifffile.imwrite(folder / "scan.tif", slices, photometric="minisblack")
    store = folder / "scan.h5"
    import_scan(inspect_source(folder / "scan.tif"), store, Progress(), CancelToken())
    return store


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_statistics_are_of_what_was_seen(tmp_path: Path, dtype: str) -> None:
    seen = (sample() // 80).astype(dtype)
    low = {"int16": -300, "float32": -0.5}.get(dtype, 0)
    store = imported(tmp_path, np.where(circle(), low, seen).astype(dtype))
    with open_scan(store) as scan:
        assert scan.field_of_view is not None
        assert np.array_equal(scan.field_of_view.outside, circle())
        assert scan.field_of_view.filled == low
        counter = GreyCounter(np.dtype(dtype))
        inside = seen[:, ~circle()]
        counter.add(inside.copy())
        wanted, got = counter.result(), scan.statistics
    assert got.voxel_count == inside.size
    assert got.mean == pytest.approx(inside.mean(), rel=1e-5)
    assert got.std == pytest.approx(inside.std(), rel=1e-4)
    for percent in (0.5, 20, 50, 99.5):
        assert got.percentile(percent) == pytest.approx(wanted.percentile(percent), abs=1.1)
    assert (got.clipped_low, got.clipped_high) == (wanted.clipped_low, wanted.clipped_high)


def test_voxels_without_a_number_outside_are_outside(tmp_path: Path) -> None:
    store = imported(tmp_path, np.where(circle(), np.nan, sample()).astype(np.float32))
    with open_scan(store) as scan:
        assert scan.field_of_view is not None
        assert np.array_equal(scan.field_of_view.outside, circle())
        assert scan.statistics.not_finite == 0 and not scan.statistics.warnings()


def test_most_scans_have_none(tmp_path: Path) -> None:
    with open_scan(imported(tmp_path, sample())) as scan:
        assert scan.field_of_view is None


def test_a_field_of_view_of_another_scan_is_refused(tmp_path: Path) -> None:
    store = imported(tmp_path, np.where(circle(), 0, sample()))
    with h5py.File(store, "r+") as file:
        del file["outside_field_of_view"]
        file["outside_field_of_view"] = np.zeros((5, 5), bool)
        file["outside_field_of_view"].attrs["filled"] = 0.0
    with pytest.raises(ScanError, match="damaged"):
        open_scan(store)
