"""Grey statistics: histogram, percentiles, the threshold, and what the user is warned of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.models import Normalisation
from particleseg_app.volumes import GreyStatistics
from particleseg_app.volumes.grey_counting import GreyCounter


def _statistics(*slices: np.ndarray) -> GreyStatistics:
    counter = GreyCounter(slices[0].dtype)
    for values in slices:
        counter.add(values.copy())
    return counter.result()


def _two_peaks(dtype: str, low: float, high: float, width: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(low, width, 60_000), rng.normal(high, width, 40_000)])
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        values = values.round().clip(limits.min, limits.max)
    return rng.permutation(values).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "width"),
    [
        ("uint8", 80, 160, 10),
        ("int8", -60, 40, 10),
        ("uint16", 9000, 21000, 1500),
        ("int16", -12000, 3000, 1500),
        ("uint32", 3e9, 4e9, 5e7),
        ("int32", -5e8, 5e8, 5e7),
        ("float32", 0.1, 0.4, 0.04),
        ("float32", -3e-6, 2e-6, 5e-7),
    ],
)
def test_threshold_lies_between_two_peaks(
    dtype: str, low: float, high: float, width: float
) -> None:
    values = _two_peaks(dtype, low, high, width)
    statistics = _statistics(*values.reshape(10, -1))
    middle = (low + high) / 2
    assert abs(statistics.matrix_and_particle_threshold() - middle) < 0.15 * (high - low)
    assert statistics.percentile(50) == pytest.approx(
        float(np.percentile(values.astype(float), 50)), abs=0.05 * width + 1
    )
    darkest, brightest = statistics.display_range()
    assert low - 5 * width < darkest < low
    assert high < brightest < high + 5 * width
    assert statistics.warnings() == ()


def test_padding_around_the_sample_does_not_move_the_threshold() -> None:
    values = _two_peaks("uint16", 20000, 30000, 1000)
    padded = np.concatenate([values, np.zeros(values.size, np.uint16)])
    statistics = _statistics(padded)
    assert 23000 < statistics.matrix_and_particle_threshold() < 27000
    assert statistics.display_range()[0] > 15000
    assert statistics.warnings() == ()


def test_rare_outliers_do_not_move_the_threshold() -> None:
    values = _two_peaks("uint16", 2000, 3000, 100)
    values[:20] = 65535
    assert 2300 < _statistics(values).matrix_and_particle_threshold() < 2700


def test_one_wild_value_does_not_spoil_the_histogram() -> None:
    values = _two_peaks("float32", 0.1, 0.4, 0.04)
    values[17], values[-5] = 1e30, -1e25
    statistics = _statistics(*values.reshape(10, -1))
    assert statistics.maximum == np.float32(1e30)
    assert 0.2 < statistics.matrix_and_particle_threshold() < 0.3
    assert statistics.percentile(50) == pytest.approx(float(np.median(values)), abs=0.01)


@pytest.mark.parametrize("wild", [1e6, -1e6])
@pytest.mark.parametrize("times", [1, 60])
def test_wild_values_in_small_slices_do_not_spoil_the_histogram(wild: float, times: int) -> None:
    values = _two_peaks("float32", 0.1, 0.4, 0.04)
    slices = np.tile(values, 3).reshape(60, -1)  # 5000 voxels each, as of a small cut-out
    slices[2, 100 : 100 + times] = wild
    statistics = _statistics(*slices)
    assert 0.2 < statistics.matrix_and_particle_threshold() < 0.3
    assert statistics.percentile(50) == pytest.approx(float(np.median(values)), abs=0.01)
    assert statistics.sparse_bright() is None
    assert statistics.voxel_count == slices.size


def test_grey_values_that_come_late_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    air = rng.normal(0, 1e-3, (30, 50_000)).astype(np.float32)
    sample = _two_peaks("float32", 1.0, 4.0, 0.1).reshape(2, -1)
    statistics = _statistics(*air, *np.tile(sample, (15, 1)))
    assert statistics.percentile(90) == pytest.approx(4.0, abs=0.2)
    assert statistics.percentile(60) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("dtype", "far"),
    [("uint16", 0), ("uint16", 65_535), ("float32", -9e6), ("float32", 9e6), ("int32", -(2**31))],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_was_filled_in_far_off_does_not_change_the_grey_scale(
    dtype: str, far: float, late: bool
) -> None:
    values = _two_peaks(dtype, 32_000, 35_000, 300).reshape(20, -1)
    padding = np.full_like(values, far)
    padded = np.hstack([values, padding]) if not late else np.vstack([values, padding])
    alone, beside = _statistics(*values), _statistics(*padded)
    normalisation = Normalisation("scan_clipped")
    wanted, found = normalisation.for_scan(alone), normalisation.for_scan(beside)
    for name in ("low", "high", "mean", "std"):
        # Floats whose range was not known from the start have coarser bins.
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=60)
    assert 32_800 < beside.matrix_and_particle_threshold() < 34_200
    assert 30_000 < beside.display_range()[0] < beside.display_range()[1] < 37_000


def test_what_was_filled_in_near_the_other_grey_values_counts() -> None:
    values = _two_peaks("uint16", 20_000, 30_000, 1000)
    padded = _statistics(np.concatenate([values, np.full(values.size, 12_000, np.uint16)]))
    assert Normalisation("scan_clipped").for_scan(padded).mean < 20_000
    # Bright particles cut off at the end of the grey range are no padding.
    cut = np.minimum(values.astype(int) * 3, 65_535).astype(np.uint16)
    assert np.array_equal(
        _statistics(cut).counts_without_far_padding(), _statistics(cut).histogram_counts
    )


def test_numbers_that_stand_for_no_value_are_counted_and_set_to_0() -> None:
    values = _two_peaks("float32", 0.1, 0.4, 0.04)
    values[:20_000] = np.finfo(np.float32).min
    values[20_000:20_010] = 3e38
    counter = GreyCounter(values.dtype)
    counter.add(values)
    assert not values[:20_010].any()
    statistics = counter.result()
    assert statistics.not_finite == pytest.approx(0.2001)
    assert -0.2 < statistics.minimum <= statistics.maximum < 0.7
    assert any("no number" in warning for warning in statistics.warnings())


def test_clipped_grey_values_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(200, 40, 100_000).clip(0, 255).astype(np.uint8)
    statistics = _statistics(values)
    assert statistics.clipped_high == pytest.approx(np.mean(values == 255))
    assert statistics.clipped_low == 0
    (warning,) = statistics.warnings()
    assert "brightest" in warning


@pytest.mark.parametrize("end", ["darkest", "brightest"])
def test_many_16_bit_grey_values_cut_off_are_warned_of(end: str) -> None:
    values = _two_peaks("uint16", 20_000, 45_000, 3000).astype(int)
    # Half of the bright particles, or of the matrix, beyond the range.
    moved = values - 20_000 if end == "darkest" else values + 20_535
    (warning,) = _statistics(moved.clip(0, 65_535).astype(np.uint16)).warnings()
    assert end in warning and "cut off" in warning


def test_signs_that_were_lost_are_warned_of() -> None:
    values = np.concatenate([_two_peaks("int16", -400, 9000, 900), np.arange(-3000, 12_000)])
    lost = values.astype(np.int16).view(np.uint16)
    (warning,) = _statistics(lost).warnings()
    assert "without their sign" in warning
    # Nor are these: the signs are there; padded white and black; a grey range that is full.
    for other in (
        values.astype(np.int16),
        np.concatenate([np.zeros(9000), np.full(9000, 65_535), values.clip(1)]).astype(np.uint16),
        np.arange(65_536, dtype=np.uint16).repeat(2),
    ):
        assert not any("sign" in warning for warning in _statistics(other).warnings())


def test_nearly_empty_grey_range_is_warned_of() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1000, 2.5, 100_000).astype(np.uint16)
    (warning,) = _statistics(values).warnings()
    assert "almost empty" in warning


def test_segmented_and_constant_scans_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    two = (rng.random(10_000) > 0.4).astype(np.uint8)
    assert "two grey values" in _statistics(two).warnings()[0]
    assert _statistics(two).matrix_and_particle_threshold() == 0.5
    for dtype in ("uint8", "float32"):
        constant = _statistics(np.full(1000, 7, dtype))
        assert "same grey value" in constant.warnings()[0]
        assert constant.display_range()[0] < constant.display_range()[1]
        assert np.isfinite(constant.matrix_and_particle_threshold())


@settings(max_examples=60, deadline=None)
@given(
    slices=st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), min_size=1, max_size=8
    )
)
def test_every_voxel_is_counted_whatever_the_range(slices: list[list[float]]) -> None:
    arrays = [np.array(values, np.float32) for values in slices]
    everything = np.concatenate(arrays).astype(np.float64)
    statistics = _statistics(*arrays)
    assert statistics.voxel_count == everything.size
    assert statistics.minimum == everything.min()
    assert statistics.maximum == everything.max()
    spread = float(np.abs(everything).max())
    assert statistics.mean == pytest.approx(everything.mean(), rel=1e-5, abs=1e-5 * spread + 1e-30)
    assert statistics.std == pytest.approx(everything.std(), rel=1e-3, abs=1e-5 * spread + 1e-30)
    assert np.all(np.diff(statistics.histogram_edges) > 0)
    assert statistics.minimum <= statistics.percentile(30) <= statistics.percentile(70)
    assert statistics.percentile(70) <= statistics.maximum


def statistics_of(*parts: tuple[float, float, int], dtype: str = "uint16") -> GreyStatistics:
    """Of normally distributed grey values: mean, standard deviation and number of each part."""
    random = np.random.default_rng(11)
    values = np.concatenate([random.normal(mean, spread, count) for mean, spread, count in parts])
    limits = np.iinfo(dtype)
    counter = GreyCounter(np.dtype(dtype))
    counter.add(np.clip(values, limits.min, limits.max).astype(dtype))
    return counter.result()


@pytest.mark.parametrize("share", [0.0005, 0.002, 0.008])
@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_few_bright_voxels_in_one_grey_value_are_seen(share: float, dtype: str) -> None:
    scale = 1 if dtype == "uint16" else 1 / 256
    matrix, noise, contrast = 20_000 * scale, 1000 * scale, 15_000 * scale
    found = statistics_of(
        (matrix, noise, 400_000), (matrix + contrast, noise, int(400_000 * share)), dtype=dtype
    ).sparse_bright()
    assert found is not None
    assert found.share == pytest.approx(share, rel=0.2)
    assert found.contrast == pytest.approx(contrast, rel=0.05)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(20_000, 1000, 300_000)], id="noise alone"),
        pytest.param([(20_000, 1000, 280_000), (35_000, 1000, 20_000)], id="not so few"),
        pytest.param(
            [(20_000, 900, 100_000), (35_000, 900, 200_000), (60_000, 900, 600)],
            id="dense particles and a few of metal",
        ),
        pytest.param([(20_000, 3000, 200_000), (24_000, 3000, 100_000)], id="strong noise"),
        pytest.param(
            [(2000, 300, 200_000), (20_000, 900, 100_000), (50_000, 900, 600)],
            id="air, matrix and few particles: cannot be told from the two above",
        ),
    ],
)
def test_other_scans_are_not_taken_for_sparse_ones(parts: list[tuple[float, float, int]]) -> None:
    assert statistics_of(*parts).sparse_bright() is None


def test_the_grey_scale_does_not_depend_on_how_few_particles_there_are() -> None:
    normalisation = Normalisation("scan_clipped")
    scaled = []
    for count in (150, 600, 2400):
        statistics = statistics_of((20_000, 1000, 400_000), (35_000, 1000, count))
        scaling = normalisation.for_scan(statistics)
        assert scaling.high > 35_000
        scaled.append(
            ((20_000 - scaling.mean) / scaling.std, (35_000 - scaling.mean) / scaling.std)
        )
    assert np.ptp(scaled, axis=0).max() < 0.1
    assert scaled[0][1] == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("deviation", [0, 300, 1500])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_matrix_is_told_from_air_and_particles(deviation: float, dtype: str) -> None:
    random = np.random.default_rng(3)
    level, scale = 12_000, 1 / 150 if dtype == "uint8" else 1
    parts = ((3000, 60_000), (level, 100_000), (27_000, 50_000))
    values = np.concatenate([random.normal(mean, deviation, n) for mean, n in parts])
    counter = GreyCounter(np.dtype(dtype))
    counter.add(np.rint(values * scale).clip(0).astype(dtype))
    found, width = counter.result().matrix()
    assert found / scale == pytest.approx(level, abs=0.2 * deviation + 250)
    assert width / scale == pytest.approx(deviation, rel=0.25, abs=200)
