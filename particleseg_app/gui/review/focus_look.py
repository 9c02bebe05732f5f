"""The colours of one case: what is asked about stands out, its neighbours are greyed.

Where the results are coloured by class, such as the main phase, so is the case: in full what is
asked about, more faintly its neighbours. What a proposed mend makes of a particle has no class yet
and always has colours of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from particleseg_app.gui.viewers.label_colours import PALETTE_SIZE, palette
from particleseg_app.gui.viewers.label_look import (
    ColourKey,
    LabelColouring,
    LabelLook,
    LabelVisibility,
)

# Far apart from each other, and from the yellow of the proposed cut.
FOCUS_COLOURS = ("#3d9df2", "#f2705c", "#4fcf8c", "#b78af5", "#f58fc6", "#38c6c9", "#c98d4b")
NEIGHBOUR_GREY = 0.3  # lightness; neighbours keep a trace of their colours, to be told apart
TRACE = 0.26
CLASS_TRACE = 0.45  # of the colours of classes, which are few and must be known again


def focus_look(
    asked: Sequence[int],
    made: Iterable[int],
    highest: int,
    by_class: LabelColouring | None = None,
) -> LabelLook:
    """A look in which the particles `asked` about, and those `made` of them, are coloured.

    Each has its own colour, in this order, so that two parts of one particle never look alike,
    as they may where each particle is coloured by its number. `highest`: no label is above it.
    `by_class`: colours of all particles of the run by class (`LabelColouring.by_class`).
    """
    made = set(made)
    if by_class is not None and isinstance(by_class.scale, ColourKey):
        return _class_look(asked, made, highest, by_class, by_class.scale)
    focus = [*dict.fromkeys(asked), *sorted(made - set(asked))]
    labels = np.arange(highest + 2)
    others = PALETTE_SIZE - len(FOCUS_COLOURS)
    places = (len(FOCUS_COLOURS) + 1 + labels % others).astype(np.uint8)
    for order, label in enumerate(focus):
        if label <= highest:
            places[label] = 1 + order % len(FOCUS_COLOURS)
    places[0] = 0
    return LabelLook(LabelColouring(_colours(), places, None), LabelVisibility.all())


def _class_look(
    asked: Sequence[int], made: set[int], highest: int, by_class: LabelColouring, key: ColourKey
) -> LabelLook:
    """The palette holds the classes, their traces, a grey, and the colours of what is made."""
    count = len(key.entries)
    full = np.array([colour for _name, colour in key.entries], np.float64)
    faint = CLASS_TRACE * full + (1 - CLASS_TRACE) * 255 * NEIGHBOUR_GREY
    own = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in FOCUS_COLOURS])
    colours = np.full((PALETTE_SIZE, 3), 255 * NEIGHBOUR_GREY)
    colours[: 2 * count] = np.vstack([full, faint])
    colours[2 * count + 1 : 2 * count + 1 + len(own)] = own
    labels = np.arange(highest + 2)
    classes = by_class.places(labels).astype(int)  # from 1; the last place is for none
    known = (classes >= 1) & (classes <= count)
    places = np.where(known, classes + count, 2 * count + 1)
    focus = [label for label in dict.fromkeys([*asked, *sorted(made)]) if label <= highest]
    for order, label in enumerate(focus):
        if label in made or not known[label]:
            places[label] = 2 * count + 2 + order % len(own)
        else:
            places[label] = classes[label]
    places[0] = 0
    colouring = LabelColouring(np.round(colours).astype(np.uint8), places.astype(np.uint8), key)
    return LabelLook(colouring, LabelVisibility.all())


@cache
def _colours() -> np.ndarray:
    """uint8 (PALETTE_SIZE, 3): the colours of the focus, then those of neighbours."""
    focus = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in FOCUS_COLOURS]
    own = palette()[len(focus) :].astype(np.float64)
    grey = TRACE * own + (1 - TRACE) * 255 * NEIGHBOUR_GREY * 1.9
    colours = np.vstack([np.array(focus), np.round(grey)]).astype(np.uint8)
    colours.setflags(write=False)
    return colours
