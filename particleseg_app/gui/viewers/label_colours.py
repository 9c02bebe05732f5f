"""One colour for each particle, the same in the slices and in 3D.

Colours go round hue, lightness and chroma (OKLCH) in different steps, so particles with
neighbouring numbers get colours far apart, and none is too dark to be seen on black.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

PALETTE_SIZE = 113  # prime, so that regular numbering does not meet a regular repetition
EDGE_OFFSET = PALETTE_SIZE
SELECTED_RING = 254
SELECTED_EDGE = 255

# Whole steps round the palette for hue, lightness and chroma, chosen by trying all: with these
# the seven next numbers differ most from any number.
_HUE_STEP, _LIGHTNESS_STEP, _CHROMA_STEP = 70, 56, 28


@cache
def palette() -> np.ndarray:
    """Colours of the palette, uint8 of shape (PALETTE_SIZE, 3), read only."""
    number = np.arange(1, PALETTE_SIZE + 1)
    hue = 2 * np.pi * _share(number * _HUE_STEP)
    lightness = 0.64 + 0.22 * _share(number * _LIGHTNESS_STEP)
    chroma = 0.12 + 0.07 * _share(number * _CHROMA_STEP)
    colours = _oklch_to_rgb(lightness, chroma, hue)
    colours.setflags(write=False)
    return colours


def _share(steps: np.ndarray) -> np.ndarray:
    return (steps % PALETTE_SIZE) / PALETTE_SIZE


def palette_index(labels: np.ndarray) -> np.ndarray:
    """Place in the palette of each label, 1 to PALETTE_SIZE and 0 for background, as uint8."""
    index = ((labels - np.asarray(1, labels.dtype)) % PALETTE_SIZE + 1).astype(np.uint8)
    index[labels == 0] = 0
    return index


def colours_of(labels: np.ndarray) -> np.ndarray:
    """Colours of labels, uint8 of the labels' shape + (3,); background is black."""
    table = np.vstack([np.zeros((1, 3), np.uint8), palette()])
    return table[palette_index(np.asarray(labels))]


def colour_of(label: int) -> tuple[int, int, int]:
    """Colour of one label as (red, green, blue), 0 to 255."""
    red, green, blue = colours_of(np.array([label], np.int64))[0].tolist()
    return red, green, blue


def marker_colour(number: int) -> tuple[int, int, int]:
    """Colour of the marker with this number, the same in the slices and in 3D."""
    return colour_of(7 * number)


def overlay_table(opacity: float, contours: bool, colours: np.ndarray | None = None) -> np.ndarray:
    """Colour table (256, 4), uint8 RGBA, for pictures made by `overlay_indices`.

    `colours` (PALETTE_SIZE, 3) are those of a `LabelColouring`, else each particle has its own.

    In fill mode the rim of each particle is more opaque than its inside, so that touching
    particles of similar colour stay apart; in contour mode only the rim is shown.
    """
    table = np.zeros((256, 4), np.uint8)
    edges = slice(1 + EDGE_OFFSET, 1 + EDGE_OFFSET + PALETTE_SIZE)
    colours = palette() if colours is None else colours
    table[1 : 1 + PALETTE_SIZE, :3] = colours
    table[edges, :3] = colours
    opacity = min(1.0, max(0.0, opacity))
    inside = 0.0 if contours else opacity
    rim = min(1.0, 0.35 + opacity)
    table[1 : 1 + PALETTE_SIZE, 3] = round(255 * inside)
    table[edges, 3] = round(255 * rim) if opacity > 0 else 0
    table[SELECTED_RING] = (0, 0, 0, 190)
    table[SELECTED_EDGE] = (255, 255, 255, 255)
    table.setflags(write=False)
    return table


def overlay_indices(
    labels: np.ndarray,
    selected: int = 0,
    places: Callable[[np.ndarray], np.ndarray] = palette_index,
) -> np.ndarray:
    """Picture of a 2-D label slice as uint8 places in `overlay_table`; `places` gives the colours.

    Inside of particles, their rim (one pixel inside their edge) and, around the `selected`
    particle, a light line with a dark ring outside it.
    """
    index = places(labels)
    rim = edge_mask(labels)
    rim &= labels != 0
    index[rim] += EDGE_OFFSET
    if selected:
        _draw_selected(index, labels == selected)
    return index


def edge_mask(labels: np.ndarray) -> np.ndarray:
    """Pixels of a 2-D label slice with another label above, below, left or right of them."""
    mask = np.zeros(labels.shape, bool)
    down = labels[1:] != labels[:-1]
    mask[1:] |= down
    mask[:-1] |= down
    right = labels[:, 1:] != labels[:, :-1]
    mask[:, 1:] |= right
    mask[:, :-1] |= right
    return mask


def _draw_selected(index: np.ndarray, mask: np.ndarray) -> None:
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return
    columns = np.flatnonzero(mask.any(axis=0))
    box = (
        slice(max(0, rows[0] - 3), rows[-1] + 4),
        slice(max(0, columns[0] - 3), columns[-1] + 4),
    )
    inside = mask[box]
    near = _dilated(inside)
    far = _dilated(_dilated(near))
    part = index[box]
    part[far & ~near] = SELECTED_RING
    part[(near & ~inside) | (inside & edge_mask(inside))] = SELECTED_EDGE


def _dilated(mask: np.ndarray) -> np.ndarray:
    result = mask.copy()
    result[1:] |= mask[:-1]
    result[:-1] |= mask[1:]
    result[:, 1:] |= mask[:, :-1]
    result[:, :-1] |= mask[:, 1:]
    return result


def _oklch_to_rgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """sRGB (n, 3) uint8 of OKLCH colours; those outside sRGB lose chroma until they fit."""
    rgb = np.zeros((lightness.size, 3))
    todo = np.ones(lightness.size, bool)
    for share in np.linspace(1.0, 0.0, 21):
        linear = oklab_to_linear(
            lightness, share * chroma * np.cos(hue), share * chroma * np.sin(hue)
        )
        fits = todo & (linear >= -1e-4).all(axis=1) & (linear <= 1 + 1e-4).all(axis=1)
        rgb[fits] = linear[fits]
        todo &= ~fits
    return linear_to_rgb(rgb)


def linear_to_rgb(linear: np.ndarray) -> np.ndarray:
    """sRGB uint8 of linear red, green and blue, cut off at 0 and 1."""
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    result: np.ndarray = np.round(255 * encoded).astype(np.uint8)
    return result


def oklab_to_linear(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Linear red, green and blue (n, 3) of OKLab colours (B. Ottosson's matrices)."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=1,
    )
