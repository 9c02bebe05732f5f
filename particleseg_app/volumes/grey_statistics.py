"""What the grey values of a whole scan are like: histogram, percentiles, threshold, warnings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from particleseg_app.volumes.odd_slices import NO_SLICES, OddSlices

_CLIPPED_SHARE = 0.005
_PADDING_SHARE = 0.05
_FEW_LEVELS = 32
# Of a normal distribution half of what lies below its mean is farther off than this.
_HALF_OF_NORMAL = 0.6745
# As many deviations from its top it is half as high.
_HALF_HEIGHT_OF_NORMAL = 1.1774
_FAR, _STANDS_OUT = 5.0, 7.0  # standard deviations
_SPARSE = 0.01
_MODE_BINS, _SMOOTHING_BINS = 256, 4
_GAP_DEPTH = 0.2
_SIXTEEN_BITS, _AT_END = 65_535, 256


@dataclass(frozen=True)
class SparseBright:
    """Few bright voxels in a scan of one grey value: those above `threshold`, which share of all
    voxels they are, and by how much they are brighter in the mean."""

    threshold: float
    share: float
    contrast: float


@dataclass(frozen=True)
class GreyStatistics:
    """Statistics of every voxel of a scan that was seen (`field_of_view`), in its own grey values.

    `histogram_counts` has one entry fewer than `histogram_edges` (ascending). For types of 8 and
    16 bits a bin is exactly one grey value. `clipped_low` and `clipped_high` are the shares of
    voxels at the lowest and highest grey value where these look cut off, else 0.
    `not_finite` is the share of voxels that were no number and were stored as 0. `blank` and
    `copied` are slices that hold one grey value, and copies of the slice before.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    histogram_counts: np.ndarray
    histogram_edges: np.ndarray
    clipped_low: float = 0.0
    clipped_high: float = 0.0
    not_finite: float = 0.0
    blank: OddSlices = NO_SLICES
    copied: OddSlices = NO_SLICES

    @property
    def voxel_count(self) -> int:
        return int(self.histogram_counts.sum())

    def span(self) -> tuple[float, float]:
        """From where to where the bins lie; of an end bin that holds wild values (it may be far
        wider than the others, see `GreyCounter`) only as much as another bin is wide."""
        edges = self.histogram_edges
        widths = np.diff(edges)
        usual = float(np.median(widths))
        low, high = float(edges[0]), float(edges[-1])
        if widths.size > 2:
            low = max(low, float(edges[1]) - usual) if widths[0] > 1.5 * usual else low
            high = min(high, float(edges[-2]) + usual) if widths[-1] > 1.5 * usual else high
        return low, high

    def percentile(self, percent: float) -> float:
        """Grey value below which `percent` (0 to 100) of all voxels lie, from the histogram."""
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is not a percentage")
        return self.percentile_of(self.histogram_counts, percent)

    def without(self, value: float, voxels: int) -> GreyStatistics:
        """Those of all other voxels, where `voxels` of grey value `value` are left out."""
        edges, counts = self.histogram_edges, self.histogram_counts.copy()
        place = int(np.searchsorted(edges, value, side="right")) - 1
        near = np.clip([place - 1, place, place + 1], 0, counts.size - 1)
        index = int(near[np.argmax(counts[near])])  # edges are rounded
        gone = min(voxels, int(counts[index]), self.voxel_count - 1)
        counts[index] -= gone
        left, total = int(counts.sum()), self.voxel_count
        not_finite = round(self.not_finite * total)
        if value == 0 and not_finite >= gone:
            not_finite -= gone  # those that were left out held no number before
        mean = (total * self.mean - gone * value) / left
        squares = total * (self.std**2 + self.mean**2) - gone * value**2
        occupied = np.flatnonzero(counts)
        first, last = int(occupied[0]), int(occupied[-1])
        grey = (edges[:-1] + edges[1:]) / 2
        minimum = self.minimum if first == 0 else float(grey[first])
        maximum = self.maximum if last == counts.size - 1 else float(grey[last])
        return statistics_from_histogram(
            counts,
            edges,
            minimum=minimum,
            maximum=maximum,
            mean=mean,
            std=math.sqrt(max(0.0, squares / left - mean**2)),
            at_minimum=int(counts[first]),
            at_maximum=int(counts[last]),
            not_finite=not_finite,
        )

    def matrix(self) -> tuple[float, float]:
        """The most frequent grey value of what is darker than particles, and its deviation.

        The latter from where half as many voxels are darker, so that air beside it does not count.
        """
        from scipy.ndimage import gaussian_filter1d

        counts = self._counts_without_padding().astype(np.float64)
        grey = (self.histogram_edges[:-1] + self.histogram_edges[1:]) / 2
        low, high = self.percentile_of(counts, 0.1), self.percentile_of(counts, 99.9)
        if high <= low:
            return low, 0.0
        coarse, edges = np.histogram(grey, _MODE_BINS, (low, high), weights=counts)
        smooth = gaussian_filter1d(coarse.astype(np.float64), _SMOOTHING_BINS, mode="constant")
        middle = (edges[:-1] + edges[1:]) / 2
        dark = edges[:-1] < self.matrix_and_particle_threshold()
        top = int(np.argmax(np.where(dark, smooth, 0.0)))
        below = np.flatnonzero(smooth[:top] < smooth[top] / 2)
        width = float(middle[top] - middle[below[-1]]) if below.size else 0.0
        smoothed = _SMOOTHING_BINS * float(edges[1] - edges[0])
        deviation = math.sqrt(max(0.0, (width / _HALF_HEIGHT_OF_NORMAL) ** 2 - smoothed**2))
        return float(middle[top]), deviation

    def display_range(self) -> tuple[float, float]:
        """Darkest and brightest grey value to show first: without padding and rare outliers."""
        counts = self._counts_without_padding()
        low = self.percentile_of(counts, 0.3)
        high = self.percentile_of(counts, 99.7)
        if high <= low:
            low, high = self.minimum, self.maximum
        if high <= low:
            high = low + 1.0
        return low, high

    def matrix_and_particle_threshold(self) -> float:
        """Grey value between matrix and particles (Otsu), for ThreshWater (000 §4.3.1).

        Rare outliers beyond the 0.1 and 99.9 percentiles and pure padding are left out. Voxels
        above the threshold are particles.
        """
        counts = self._counts_without_padding()
        if not counts.any():
            return self.mean
        cumulative = np.cumsum(counts)
        first = int(np.searchsorted(cumulative, 0.001 * cumulative[-1], side="right"))
        last = int(np.searchsorted(cumulative, 0.999 * cumulative[-1]))
        inner = counts[first : last + 1].astype(np.float64)
        edges = self.histogram_edges[first : last + 2].astype(np.float64)
        return otsu(inner, edges)

    def sparse_bright(self) -> SparseBright | None:
        """What is bright in a scan that is nearly all of one grey value with its noise; else None.

        Nearly all voxels lie within five standard deviations of the most frequent grey value, and
        some few are brighter. What is darker than it tells the standard deviation.
        """
        counts = self._counts_without_padding().astype(np.float64)
        total = float(counts.sum())
        if total <= 0 or counts.size < 3:
            return None
        grey = (self.histogram_edges[:-1] + self.histogram_edges[1:]) / 2
        mode = self._most_frequent(counts, grey)
        half = self.percentile_of(np.where(grey <= mode, counts, 0.0), 50)
        # The bins at the ends may be far wider (`GreyCounter`).
        width = float(np.median(np.diff(self.histogram_edges)))
        deviation = max((mode - half) / _HALF_OF_NORMAL, width / 2)
        bright = grey > mode + _FAR * deviation
        share = float(counts[bright].sum()) / total
        dark_share = float(counts[grey < mode - _FAR * deviation].sum()) / total
        if not 0 < share < _SPARSE or dark_share > _SPARSE:
            return None
        mean = float(np.average(grey[bright], weights=counts[bright]))
        if mean - mode < _STANDS_OUT * deviation:
            return None  # the noise of what is somewhat brighter
        return SparseBright(mode + _FAR * deviation, share, mean - mode)

    def _most_frequent(self, counts: np.ndarray, grey: np.ndarray) -> float:
        """The top of the highest peak, of a histogram that is coarse enough to be smooth."""
        low, high = self.percentile_of(counts, 0.1), self.percentile_of(counts, 99.9)
        levels = int(np.count_nonzero((grey >= low) & (grey <= high)))
        bins = min(_MODE_BINS, max(1, levels))
        coarse, edges = np.histogram(grey, bins, (low, max(high, low + 1e-12)), weights=counts)
        top = int(np.argmax(coarse))
        inside = (grey >= edges[top]) & (grey <= edges[top + 1])
        if not counts[inside].any():
            return float(edges[top] + edges[top + 1]) / 2
        return float(np.average(grey[inside], weights=counts[inside]))

    def warnings(self) -> tuple[str, ...]:
        """Plain sentences about grey values that may spoil a segmentation; empty if all is well."""
        found: list[str] = []
        if self.maximum <= self.minimum:
            return (f"Every voxel has the same grey value ({self.minimum:g}): nothing to find.",)
        levels = int(np.count_nonzero(self.histogram_counts))
        if levels == 2:
            found.append(
                "The scan has only two grey values; it looks as if it was segmented before. "
                "The reconstructed grey-value scan gives better particles."
            )
        else:
            for share, word in ((self.clipped_low, "darkest"), (self.clipped_high, "brightest")):
                if share > 0:
                    found.append(
                        f"{_percent(share)} of all voxels have the {word} grey value: the grey "
                        "values look cut off there. A wider grey range when the scan is "
                        "reconstructed keeps what was lost."
                    )
            used = self._levels_in_use()
            if used < _FEW_LEVELS:
                found.append(
                    f"Nearly all voxels share only {used} grey values, so the grey range is almost "
                    "empty. A narrower grey range when the scan is reconstructed shows more."
                )
        if self._wrapped():
            found.append(
                "Many voxels lie at both ends of the 16-bit grey range and none in between: it "
                "looks as if grey values below 0 were stored without their sign, so that the "
                "darkest voxels are the brightest. Export the scan with signed or shifted grey "
                "values."
            )
        if self.not_finite > 0:
            found.append(
                f"{_percent(self.not_finite)} of all voxels hold no number (NaN or infinite); "
                "they were set to 0."
            )
        if self.blank.count:
            found.append(
                f"{_slices(self.blank)} blank, one grey value all over, between others that are "
                "not. Check them, and export the scan again if they were lost."
            )
        if self.copied.count:
            found.append(
                f"{_slices(self.copied)} the same, voxel by voxel, as the slice before. Check "
                "them, and export the scan again if slices were lost."
            )
        return tuple(found)

    def _wrapped(self) -> bool:
        """Whether grey values go on from 0 to 65535, with nothing in the middle of the range.

        Neither end is a spike, as padding and cut-off grey values are.
        """
        counts = self.histogram_counts
        if self.minimum != 0 or self.maximum != _SIXTEEN_BITS or counts.size != _SIXTEEN_BITS + 1:
            return False
        dark, bright = int(counts[:_AT_END].sum()), int(counts[-_AT_END:].sum())
        third = counts.size // 3
        few = 1e-4 * self.voxel_count
        return (
            min(dark, bright) > few
            and 1 / 3 < dark / bright < 3
            and counts[third:-third].sum() < few
            and not (_spikes(counts[:16]) or _spikes(counts[::-1][:16]))
        )

    def _levels_in_use(self) -> int:
        """Number of different grey values between the 0.1 and 99.9 percentiles, no padding."""
        counts = self._counts_without_padding()
        if not counts.any():
            return 1
        cumulative = np.cumsum(counts)
        first = int(np.searchsorted(cumulative, 0.001 * cumulative[-1], side="right"))
        last = int(np.searchsorted(cumulative, 0.999 * cumulative[-1]))
        return int(np.count_nonzero(counts[first : last + 1]))

    def counts_without_far_padding(self) -> np.ndarray:
        """The histogram without voxels that were filled in with a grey value far from all others.

        The lowest or the highest one; it lies farther off than the others are spread (0.5 to 99.5
        percentiles), so that beside it they would hardly differ.
        """
        counts = self.histogram_counts
        if np.count_nonzero(counts) <= 4:
            return counts
        for index in (0, counts.size - 1):
            rest = counts.copy()
            rest[index] = 0
            if not self._is_padding(index):
                continue
            low, high = self.percentile_of(rest, 0.5), self.percentile_of(rest, 99.5)
            value = self.minimum if index == 0 else self.maximum
            if high > low and max(low - value, value - high) > high - low:
                counts = np.where(rest > 0, counts, 0)
        return counts

    def far_padding(self) -> tuple[float, ...]:
        """The grey values that `counts_without_far_padding` leaves out."""
        gone = (self.histogram_counts > 0) & (self.counts_without_far_padding() == 0)
        ends = ((0, self.minimum), (gone.size - 1, self.maximum))
        return tuple(value for index, value in ends if gone[index])

    def _is_padding(self, index: int) -> bool:
        """Whether one single grey value holds far more voxels than its neighbours, and many."""
        counts = self.histogram_counts
        return _stands_alone(counts, index) and counts[index] > _PADDING_SHARE * counts.sum()

    def _counts_without_padding(self) -> np.ndarray:
        """The histogram without a spike of voxels that were only filled in around the sample.

        Padding is one single grey value, 0 or the lowest (the highest where it lies far off), that
        holds more than 5 % of the voxels and far more than its neighbours. A scan of very few grey
        values has no padding.
        """
        counts = self.counts_without_far_padding().copy()
        if np.count_nonzero(counts) <= 4:
            return counts
        for index in self._padding_candidates():
            if self._is_padding(index):
                counts[index] = 0
        return counts

    def _padding_candidates(self) -> list[int]:
        lowest = int(np.flatnonzero(self.histogram_counts)[0])
        candidates = [lowest]
        zero = int(np.searchsorted(self.histogram_edges, 0.0, side="right")) - 1
        if 0 <= zero < self.histogram_counts.size and zero != lowest:
            candidates.append(zero)
        return candidates

    def percentile_of(self, counts: np.ndarray, percent: float) -> float:
        """The same with other numbers of voxels in the bins of the histogram."""
        cumulative = np.cumsum(counts, dtype=np.float64)
        total = cumulative[-1] if cumulative.size else 0.0
        if total <= 0:
            return self.minimum
        target = percent / 100 * total
        index = min(int(np.searchsorted(cumulative, target)), counts.size - 1)
        before = cumulative[index] - counts[index]
        inside = (target - before) / counts[index] if counts[index] else 0.0
        low, high = (float(e) for e in self.histogram_edges[index : index + 2])
        value = low + inside * (high - low)
        return float(min(max(value, self.minimum), self.maximum))


def statistics_from_histogram(
    counts: np.ndarray,
    edges: np.ndarray,
    *,
    minimum: float,
    maximum: float,
    mean: float,
    std: float,
    at_minimum: int,
    at_maximum: int,
    not_finite: int,
) -> GreyStatistics:
    """Put statistics together, and judge whether the ends of the histogram are cut off.

    `at_minimum`, `at_maximum` and `not_finite` are numbers of voxels. Empty bins at both ends of
    the histogram are dropped.
    """
    occupied = np.flatnonzero(counts)
    first, last = (int(occupied[0]), int(occupied[-1])) if occupied.size else (0, 0)
    counts, edges = counts[first : last + 1], edges[first : last + 2]
    total = max(1, int(counts.sum()))
    low_share, high_share = at_minimum / total, at_maximum / total
    cut_low = low_share > _CLIPPED_SHARE and not _is_gap(counts, from_low=True)
    cut_high = high_share > _CLIPPED_SHARE and not _is_gap(counts, from_low=False)
    return GreyStatistics(
        minimum=minimum,
        maximum=maximum,
        mean=mean,
        std=std,
        histogram_counts=counts.astype(np.int64),
        histogram_edges=edges.astype(np.float64),
        clipped_low=low_share if cut_low and _spikes(counts[:16]) else 0.0,
        clipped_high=high_share if cut_high and _spikes(counts[::-1][:16]) else 0.0,
        not_finite=not_finite / total,
    )


def _spikes(counts: np.ndarray) -> bool:
    """Whether the first bin holds far more than the bins beside it."""
    return counts.size > 4 and counts[0] > 3 * max(1, int(counts[1:8].max()))


def _is_gap(counts: np.ndarray, *, from_low: bool) -> bool:
    """Whether the outermost bin is followed by a gap: padding put in, not values cut off.

    There the bins beside it hold next to nothing, and far less than those of the scan do on
    average.
    """
    ordered = counts if from_low else counts[::-1]
    width = max(1, min(counts.size // 50, 64))
    beside = ordered[1 : 1 + width]
    if beside.size == 0:
        return False
    usual = float(ordered[1:].mean())
    few = int(beside.sum()) < 0.02 * int(ordered[0])
    return few and float(beside.mean()) < _GAP_DEPTH * usual


def _stands_alone(counts: np.ndarray, index: int) -> bool:
    beside = np.concatenate([counts[max(0, index - 3) : index], counts[index + 1 : index + 4]])
    return beside.size == 0 or int(counts[index]) > 4 * int(beside.max())


def otsu(counts: np.ndarray, edges: np.ndarray) -> float:
    """Edge between two classes with the largest variance between them."""
    if counts.size < 2:
        return float(edges[0] + edges[-1]) / 2
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    moment = np.cumsum(counts * centres)
    mean_below = moment[:-1] / np.maximum(below, 1)
    mean_above = (moment[-1] - moment[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    best = between.max()
    # Between two separate peaks every edge is as good as the next: take the middle one.
    equal = np.flatnonzero(between >= best * (1 - 1e-12))
    return float(edges[1 + int(equal[equal.size // 2])])


def _slices(odd: OddSlices) -> str:
    first = f"lice {odd.first + 1}"
    return f"S{first} is" if odd.count == 1 else f"{odd.count} slices (the first: s{first}) are"


def _percent(share: float) -> str:
    percent = 100 * share
    if percent < 0.1:
        return "Less than 0.1 %"
    return f"{percent:.{0 if percent >= 10 else 1}f} %".replace(".0 %", " %")
