"""Which particles are seen and in which colours: one look for the slices and for 3D.

A look maps labels to places in a palette of `PALETTE_SIZE` colours, so that a picture of a slice
stays 8-bit whatever the particles are coloured by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from particleseg_app.gui.viewers.label_colours import (
    PALETTE_SIZE,
    linear_to_rgb,
    oklab_to_linear,
    palette,
    palette_index,
)

SCALE_STEPS = PALETTE_SIZE - 1  # the last place is for particles without a value
NO_VALUE = PALETTE_SIZE
NO_VALUE_COLOUR = (128, 131, 134)
ROBUST_LIMITS = (2.0, 98.0)  # percentiles: a few odd particles must not use up the colours

# Lightness, chroma and hue (degrees, OKLCH) along the colour scale. Its dark end is light enough
# for the black of the slices and for the shaded side of a particle in 3D.
_SCALE = ((0.47, 0.155, 285.0), (0.57, 0.13, 225.0), (0.72, 0.14, 165.0), (0.93, 0.17, 105.0))


@dataclass(frozen=True)
class ColourScale:
    """What the ends of the colour scale stand for; values beyond them have the end's colour.

    `unit` is empty where there is none; `digits` are the significant digits worth showing.
    """

    title: str
    unit: str
    low: float
    high: float
    digits: int = 3

    def end_texts(self) -> tuple[str, str]:
        """Both ends without unit, with as many decimals as tell them apart and no more."""
        largest = max(abs(self.low), abs(self.high))
        if largest == 0 or not math.isfinite(largest):
            return "0", "0"
        decimals = max(0, self.digits - 1 - math.floor(math.log10(largest)))
        if largest >= 1e9:
            return f"{self.low:.3g}", f"{self.high:.3g}"
        ends = (self.low, self.high)
        if largest >= 1e6:  # volumes in µm³: figures that are not known are zeros
            ends = (float(f"{self.low:.3g}"), float(f"{self.high:.3g}"))
        low, high = (f"{value:,.{decimals}f}".replace(",", "\u202f") for value in ends)
        return low, high


@dataclass(frozen=True)
class ColourKey:
    """What single colours stand for: a name and a colour (red, green, blue; 0 to 255) each."""

    title: str
    entries: tuple[tuple[str, tuple[int, int, int]], ...]


class LabelColouring:
    """A colour for each particle: by its number, by a value along an even colour scale, or by the
    class it belongs to.

    `colours` are the PALETTE_SIZE colours, uint8 (PALETTE_SIZE, 3); `scale` says what the colours
    stand for, None where each particle just has its own.
    """

    def __init__(
        self,
        colours: np.ndarray,
        lookup: np.ndarray | None,
        scale: ColourScale | ColourKey | None,
    ) -> None:
        self.colours = colours
        self.scale = scale
        self._lookup = lookup

    @staticmethod
    @cache
    def by_particle() -> LabelColouring:
        return LabelColouring(palette(), None, None)

    @staticmethod
    def by_value(
        labels: np.ndarray, values: np.ndarray, title: str, unit: str = "", digits: int = 3
    ) -> LabelColouring:
        """Colours along the scale from the 2nd to the 98th percentile of `values`.

        `labels` and `values` (n,) belong together. Particles without a finite value, and those
        that are not among `labels`, are grey.
        """
        labels = np.asarray(labels, np.int64)
        values = np.asarray(values, np.float64)
        finite = np.isfinite(values)
        low, high = 0.0, 0.0
        if finite.any():
            low, high = (float(v) for v in np.percentile(values[finite], ROBUST_LIMITS))
            if low == high:  # most are alike: let the few others show
                low, high = float(values[finite].min()), float(values[finite].max())
        share = np.full(values.shape, 0.5)
        if high > low:
            share[finite] = ((values[finite] - low) / (high - low)).clip(0.0, 1.0)
        lookup = np.full(int(labels.max(initial=0)) + 2, NO_VALUE, np.uint8)
        lookup[labels] = np.where(finite, 1 + np.round(share * (SCALE_STEPS - 1)), NO_VALUE)
        lookup[0] = 0
        colours = np.vstack([colour_scale(), np.array([NO_VALUE_COLOUR], np.uint8)])
        return LabelColouring(colours, lookup, ColourScale(title, unit, low, high, digits))

    @staticmethod
    def by_class(labels: np.ndarray, classes: np.ndarray, key: ColourKey) -> LabelColouring:
        """The colour in `key` of each particle's class.

        `labels` and `classes` (n,) belong together; a class is a place in the entries of `key`.
        Particles of no class (below 0), and those that are not among `labels`, are grey.
        """
        labels = np.asarray(labels, np.int64)
        classes = np.asarray(classes, np.int64)
        lookup = np.full(int(labels.max(initial=0)) + 2, NO_VALUE, np.uint8)
        lookup[labels] = np.where(classes >= 0, 1 + classes, NO_VALUE)
        lookup[0] = 0
        colours = np.full((PALETTE_SIZE, 3), NO_VALUE_COLOUR, np.uint8)
        colours[: len(key.entries)] = [colour for _name, colour in key.entries]
        return LabelColouring(colours, lookup, key)

    def places(self, labels: np.ndarray) -> np.ndarray:
        """Place in `colours` of each label, from 1, and 0 for background; uint8."""
        if self._lookup is None:
            return palette_index(labels)
        places: np.ndarray = self._lookup[np.minimum(labels, len(self._lookup) - 1)]
        return places


class LabelVisibility:
    """Which particles are shown. Labels it was not told about follow `others`."""

    def __init__(self, shown: ArrayLike, hidden: ArrayLike, *, others: bool = True) -> None:
        named = [np.asarray(part, np.int64) for part in (shown, hidden)]
        highest = max(int(part.max(initial=0)) for part in named)
        lookup = np.full(highest + 2, others)
        lookup[named[0]] = True
        lookup[named[1]] = False
        lookup[0] = True  # the background hides nothing
        self._lookup = lookup
        self.everything = bool(lookup.all())

    @staticmethod
    @cache
    def all() -> LabelVisibility:
        return LabelVisibility((), ())

    def shows(self, labels: np.ndarray) -> np.ndarray:
        """Whether each label is shown, bool of the labels' shape; True for the background."""
        shown: np.ndarray = self._lookup[np.minimum(labels, len(self._lookup) - 1)]
        return shown

    def shows_label(self, label: int) -> bool:
        return bool(self._lookup[min(label, len(self._lookup) - 1)])

    def only_shown(self, labels: np.ndarray) -> np.ndarray:
        """The labels with background in place of hidden particles; not a copy if all are shown."""
        if self.everything:
            return labels
        return np.where(self.shows(labels), labels, np.zeros((), labels.dtype))


@dataclass(frozen=True, eq=False)
class LabelLook:
    """How particles are seen everywhere: their colours, and which are shown."""

    colouring: LabelColouring
    visibility: LabelVisibility

    @staticmethod
    @cache
    def plain() -> LabelLook:
        """Every particle, each in its own colour."""
        return LabelLook(LabelColouring.by_particle(), LabelVisibility.all())

    @property
    def tells(self) -> bool:
        """Whether colours stand for something, and so must be as bright as in their legend."""
        return self.colouring.scale is not None

    def tints(self, labels: np.ndarray) -> np.ndarray:
        """Colours of labels (n,) with opacity, float32 (n, 4), 0 to 1; hidden ones have none."""
        table = np.vstack([np.zeros((1, 3), np.uint8), self.colouring.colours])
        tints = np.empty((len(labels), 4), np.float32)
        tints[:, :3] = (table / np.float32(255)).astype(np.float32)[self.colouring.places(labels)]
        tints[:, 3] = self.visibility.shows(labels)
        return tints


@cache
def colour_scale(steps: int = SCALE_STEPS) -> np.ndarray:
    """An even scale from violet over blue and green to yellow, uint8 (steps, 3), read only.

    Neighbouring colours are equally far apart in OKLab, so equal differences of value look
    equally large; lightness rises all the way.
    """
    stops = np.linspace(0, 1, len(_SCALE))
    fine = np.linspace(0, 1, 2001)
    lightness, chroma, hue = (
        np.interp(fine, stops, [stop[k] for stop in _SCALE]) for k in range(3)
    )
    lab = np.stack(
        [lightness, chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))], axis=1
    )
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    places = np.linspace(0, length[-1], steps)
    even = np.stack([np.interp(places, length, lab[:, k]) for k in range(3)], axis=1)
    colours = linear_to_rgb(oklab_to_linear(even[:, 0], even[:, 1], even[:, 2]))
    colours.setflags(write=False)
    return colours
