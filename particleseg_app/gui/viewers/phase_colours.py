"""One colour for each phase, the same in plots, slices and 3D.

Sky blue, orange, bluish green, yellow and vermilion of the palette of Okabe and Ito (2008),
which people with any kind of colour blindness can tell apart; on dark and on light ground alike.
"""

from __future__ import annotations

PHASE_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (213, 94, 0))


def phase_colour(number: int) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of the phase with this number, from 0, darkest phase first."""
    return PHASE_COLOURS[number % len(PHASE_COLOURS)]
