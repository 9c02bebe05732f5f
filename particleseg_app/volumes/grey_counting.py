"""Grey statistics gathered slice by slice while a scan is read, without keeping the slices."""

from __future__ import annotations

import math
import threading

import numpy as np

from particleseg_app.volumes.grey_statistics import GreyStatistics, statistics_from_histogram

_BINS = 65536
# Values outside the histogram are only worth making it coarser when there are this many of them.
_WORTH_WIDENING = 1e-4
# Nor are they, unless they are many, where too few bins would be left for the other values.
_LEAST_BINS, _MANY = 64, 0.01
# The first range rests on so many voxels, where there are as many: one slice may be too small.
_ENOUGH_TO_BEGIN = 1 << 20
# The share of a sample that may lie beyond the range at either end.
_STRAY = 5e-5
# Programs write numbers near the ends of float32 for "no value".
_NO_VALUE = 1e37


class GreyCounter:
    """Adds up grey values of a scan of one type; `result` gives the statistics of all of them."""

    def __init__(self, dtype: np.dtype) -> None:
        self._lock = threading.Lock()
        dtype = np.dtype(dtype)
        self._bins: _ExactBins | _AdaptiveBins
        if dtype.kind in "iu" and dtype.itemsize <= 2:
            self._bins = _ExactBins(dtype)
        else:
            self._bins = _AdaptiveBins(integer=dtype.kind in "iu")
        self._not_finite = 0

    def add(self, values: np.ndarray) -> None:
        """Count every voxel of `values` (any shape, contiguous).

        NaN, infinite values and the numbers that stand for no value (beyond ±1e37) are set to 0 in
        place, because nothing later could work with them.
        """
        flat = values.reshape(-1)
        with self._lock:
            if flat.dtype.kind == "f" and not _all_finite(flat):
                missing = ~(np.abs(flat) < _NO_VALUE)
                self._not_finite += int(np.count_nonzero(missing))
                flat[missing] = 0
            self._bins.add(flat)

    def result(self) -> GreyStatistics:
        return self._bins.result(self._not_finite)


def _all_finite(values: np.ndarray) -> bool:
    """Whether all are numbers: NaN, infinity and the rest show in the quickly found extremes."""
    return bool(values.min() > -_NO_VALUE and values.max() < _NO_VALUE)


class _ExactBins:
    """One bin for each grey value of an integer type of 8 or 16 bits."""

    def __init__(self, dtype: np.dtype) -> None:
        self._lowest = int(np.iinfo(dtype).min)
        # Signed values are counted by their bits and put in order at the end.
        self._unsigned = np.dtype(f"u{dtype.itemsize}")
        self._counts = np.zeros((2, 1 << 8 * dtype.itemsize), np.int64)

    def add(self, values: np.ndarray) -> None:
        from particleseg_app.volumes.grey_kernels import count_values

        count_values(values.view(self._unsigned), self._counts)

    def result(self, not_finite: int) -> GreyStatistics:
        counts = self._counts.sum(axis=0)
        if self._lowest < 0:
            counts = np.roll(counts, counts.size // 2)
        grey = np.arange(counts.size, dtype=np.float64) + self._lowest
        edges = np.arange(counts.size + 1, dtype=np.float64) + self._lowest - 0.5
        occupied = np.flatnonzero(counts)
        first, last = int(occupied[0]), int(occupied[-1])
        mean = float(np.average(grey, weights=counts))
        variance = float(np.average((grey - mean) ** 2, weights=counts))
        return statistics_from_histogram(
            counts,
            edges,
            minimum=float(grey[first]),
            maximum=float(grey[last]),
            mean=mean,
            std=math.sqrt(variance),
            at_minimum=int(counts[first]),
            at_maximum=int(counts[last]),
            not_finite=not_finite,
        )


class _AdaptiveBins:
    """65 536 equal bins whose range grows by doubling as new values ask for it.

    A few wild values, or a constant put in far from all others, never ask for it: they are counted
    in one wide bin at each end, and the values of the sample keep their resolution.
    """

    def __init__(self, *, integer: bool) -> None:
        self._integer = integer
        # One place more at each end, for values below and above all bins.
        self._counts = np.zeros(_BINS + 2, np.int64)
        self._origin = 0.0
        self._width = 0.0
        self._waiting: list[np.ndarray] = []
        self._outside = 0
        self._minimum, self._maximum = math.inf, -math.inf
        self._at_minimum = self._at_maximum = 0
        self._total = 0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, values: np.ndarray) -> None:
        from particleseg_app.volumes.grey_kernels import count_in_bins, moments_and_ends

        low, high = float(values.min()), float(values.max())
        shift = (low + high) / 2
        total, squares, at_low, at_high = moments_and_ends(values, low, high, shift)
        self._note_ends(low, high, at_low, at_high)
        self._note_moments(values.size, shift, total, squares)
        if self._width == 0.0:
            self._waiting.append(values.copy())
            if self._total >= _ENOUGH_TO_BEGIN:
                self._begin()
            return
        if low < self._origin or high >= self._end:
            self._widen_if_worth_it(values)
        count_in_bins(values, self._origin, 1 / self._width, self._counts)

    def result(self, not_finite: int) -> GreyStatistics:
        if self._waiting:
            self._begin()
        edges = self._origin + self._width * np.arange(-1, _BINS + 2)
        edges[0] = min(self._minimum, edges[0])
        edges[-1] = max(self._maximum, edges[-1])
        return statistics_from_histogram(
            self._counts,
            edges,
            minimum=self._minimum,
            maximum=self._maximum,
            mean=self._mean,
            std=math.sqrt(max(0.0, self._squares / max(1, self._total))),
            at_minimum=self._at_minimum,
            at_maximum=self._at_maximum,
            not_finite=not_finite,
        )

    @property
    def _end(self) -> float:
        return self._origin + self._width * _BINS

    def _note_ends(self, low: float, high: float, at_low: int, at_high: int) -> None:
        if low < self._minimum:
            self._minimum, self._at_minimum = low, 0
        if low == self._minimum:
            self._at_minimum += at_low
        if high > self._maximum:
            self._maximum, self._at_maximum = high, 0
        if high == self._maximum:
            self._at_maximum += at_high

    def _note_moments(self, size: int, shift: float, total: float, squares: float) -> None:
        """Merge sums over (value - `shift`) into mean and squared deviations (stable update)."""
        mean = shift + total / size
        both = self._total + size
        step = mean - self._mean
        self._squares += squares - total * total / size
        self._squares += step * step * self._total * (size / both)
        self._mean += step * (size / both)
        self._total = both

    def _begin(self) -> None:
        """Choose the first range, what nearly all values so far span, and count them."""
        from particleseg_app.volumes.grey_kernels import count_in_bins

        values = np.concatenate(self._waiting)
        self._waiting.clear()
        sample = _sample(values)
        low, high = _span(sample, _STRAY)
        inner = sample[~_constant_ends(sample)]
        if inner.size:
            first, last = _span(inner, _MANY)
            room = (last - first) * _BINS / 4 / _LEAST_BINS
            if room > 0 and high - low > 2 * room:
                # Wild values or a constant far off. Of the others, what is not far, too.
                low, high = _span(inner, _STRAY)
                low, high = max(low, first - room / 2), min(high, last + room / 2)
        # Half the bins for what is seen now, so that a slightly wider slice costs nothing.
        width = (high - low) / (_BINS / 2)
        if self._integer:
            width = 2.0 ** max(0, math.ceil(math.log2(width))) if width > 0 else 1.0
            self._origin = math.floor(low) - 0.5 - width * (_BINS // 4)
        else:
            scale = max(abs(low), abs(high), 1e-30)
            width = max(width, scale * 1e-7)
            self._origin = low - width * (_BINS // 4)
        self._width = width
        count_in_bins(values, self._origin, 1 / self._width, self._counts)

    def _widen_if_worth_it(self, values: np.ndarray) -> None:
        outside = (values < self._origin) | (values >= self._end)
        constant = np.zeros(values.shape, bool)
        constant[outside] = _constant_ends(values[outside])
        self._outside += int(np.count_nonzero(outside & ~constant))
        worth = self._outside > _WORTH_WIDENING * self._total
        if worth or constant.any():
            self._widen_for(values)
        if worth and constant.any() and not constant.all():
            self._widen_for(values[~constant])  # where the constant was too far off

    def _widen_for(self, values: np.ndarray) -> None:
        """Make room for all values but strays, unless too few bins were left for what is known."""
        downwards, upwards = self._doublings(*_span(_sample(values), _STRAY))
        left = self._bins_of_most() / 2 ** (downwards + upwards)
        if left < _LEAST_BINS and self._outside <= _MANY * self._total:
            return
        for _ in range(downwards):
            self._double(downwards=True)
        for _ in range(upwards):
            self._double(downwards=False)

    def _doublings(self, low: float, high: float) -> tuple[int, int]:
        """How many times the range must double downwards, then upwards, to hold both values."""
        downwards = upwards = 0
        origin, span = self._origin, self._width * _BINS
        while low < origin:
            origin, span, downwards = origin - span, 2 * span, downwards + 1
        while high >= origin + span:
            span, upwards = 2 * span, upwards + 1
        return downwards, upwards

    def _bins_of_most(self) -> float:
        """How many bins nearly all values so far spread over; infinite where they are all alike."""
        cumulative = np.cumsum(self._counts[1:-1])
        first, last = np.searchsorted(
            cumulative, [_MANY * cumulative[-1], (1 - _MANY) * cumulative[-1]]
        )
        # Values of one grey value, as padding has, lose nothing by coarser bins.
        return float(last - first) if last - first >= _LEAST_BINS else math.inf

    def _double(self, *, downwards: bool) -> None:
        """Make every bin twice as wide, and put the room gained below or above."""
        bins = self._counts[1:-1]
        merged = bins.reshape(-1, 2).sum(axis=1)
        bins[:] = 0
        if downwards:
            bins[_BINS // 2 :] = merged
            self._origin -= self._width * _BINS
        else:
            bins[: _BINS // 2] = merged
        self._width *= 2


def _sample(values: np.ndarray) -> np.ndarray:
    """About 100 000 of many values."""
    return values[:: max(1, values.size // 100_000)]


def _span(values: np.ndarray, stray: float) -> tuple[float, float]:
    """Lowest and highest value without the share `stray` at each end; of few, all."""
    beyond = math.ceil(stray * values.size) if values.size > 1000 else 0
    ordered = np.partition(values, [beyond, values.size - 1 - beyond])
    return float(ordered[beyond]), float(ordered[values.size - 1 - beyond])


def _constant_ends(values: np.ndarray) -> np.ndarray:
    """Which values (bool) are the lowest or the highest one, where that occurs again and again."""
    constant = np.zeros(values.shape, bool)
    for end in (values.min(), values.max()):
        same = values == end
        if np.count_nonzero(same) > 2:
            constant |= same
    return constant
