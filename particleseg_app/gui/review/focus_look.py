"""The colours of one case: what is asked about stands out, its neighbours are greyed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from particleseg_app.gui.viewers.label_colours import PALETTE_SIZE, palette
from particleseg_app.gui.viewers.label_look import LabelColouring, LabelLook, LabelVisibility

# Far apart from each other, and from the yellow of the proposed cut.
FOCUS_COLOURS = ("#3d9df2", "#f2705c", "#4fcf8c", "#b78af5", "#f58fc6", "#38c6c9", "#c98d4b")
NEIGHBOUR_GREY = 0.3  # lightness; neighbours keep a trace of their colours, to be told apart
TRACE = 0.26


def focus_look(asked: Sequence[int], made: Iterable[int], highest: int) -> LabelLook:
    """A look in which the particles `asked` about, and those `made` of them, are coloured.

    Each has its own colour, in this order, so that two parts of one particle never look alike,
    as they may where each particle is coloured by its number. `highest`: no label is above it.
    """
    focus = [*dict.fromkeys(asked), *sorted(set(made) - set(asked))]
    labels = np.arange(highest + 2)
    others = PALETTE_SIZE - len(FOCUS_COLOURS)
    places = (len(FOCUS_COLOURS) + 1 + labels % others).astype(np.uint8)
    for order, label in enumerate(focus):
        if label <= highest:
            places[label] = 1 + order % len(FOCUS_COLOURS)
    places[0] = 0
    return LabelLook(LabelColouring(_colours(), places, None), LabelVisibility.all())


@cache
def _colours() -> np.ndarray:
    """uint8 (PALETTE_SIZE, 3): the colours of the focus, then those of neighbours."""
    focus = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in FOCUS_COLOURS]
    own = palette()[len(focus) :].astype(np.float64)
    grey = TRACE * own + (1 - TRACE) * 255 * NEIGHBOUR_GREY * 1.9
    colours = np.vstack([np.array(focus), np.round(grey)]).astype(np.uint8)
    colours.setflags(write=False)
    return colours
