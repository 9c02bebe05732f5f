"""Grey statistics gathered slice by slice while a scan is read, without keeping the slices."""

from __future__ import annotations

import math
import threading

import numpy as np

from particleseg_app.volumes.grey_statistics import GreyStatistics, statistics_from_histogram

_BINS = 65536
# Values outside the histogram are only worth making it coarser when there are this many of them.
_WORTH_WIDENING = 1e-4


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

        NaN and infinite values are set to 0 in place, because nothing later could work with them.
        """
        flat = values.reshape(-1)
        with self._lock:
            if flat.dtype.kind == "f" and not _all_finite(flat):
                missing = ~np.isfinite(flat)
                self._not_finite += int(np.count_nonzero(missing))
                flat[missing] = 0
            self._bins.add(flat)

    def result(self) -> GreyStatistics:
        return self._bins.result(self._not_finite)


def _all_finite(values: np.ndarray) -> bool:
    """Whether there is neither NaN nor infinity: both show in the quickly found extremes."""
    return math.isfinite(values.min()) and math.isfinite(values.max())


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
    """65 536 equal bins whose range grows by doubling as new values ask for it."""

    def __init__(self, *, integer: bool) -> None:
        self._integer = integer
        # One place more at each end, for values below and above all bins.
        self._counts = np.zeros(_BINS + 2, np.int64)
        self._origin = 0.0
        self._width = 0.0
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
            self._begin(values, low, high)
        elif low < self._origin or high >= self._end:
            self._widen_if_worth_it(values)
        count_in_bins(values, self._origin, 1 / self._width, self._counts)

    def result(self, not_finite: int) -> GreyStatistics:
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

    def _begin(self, values: np.ndarray, low: float, high: float) -> None:
        """Choose the first range: what nearly all of `values` span, with room at both sides."""
        if values.size > 1000:
            sample = values[:: values.size // 1000]
            low, high = float(sample.min()), float(sample.max())
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

    def _widen_if_worth_it(self, values: np.ndarray) -> None:
        outside = int(np.count_nonzero((values < self._origin) | (values >= self._end)))
        if outside <= _WORTH_WIDENING * values.size:
            return
        sample = values[:: max(1, values.size // 100_000)]
        low, high = (float(v) for v in np.percentile(sample, (0.005, 99.995)))
        while low < self._origin:
            self._double(downwards=True)
        while high >= self._end:
            self._double(downwards=False)

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
