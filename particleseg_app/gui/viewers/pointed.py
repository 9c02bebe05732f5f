"""What is under the mouse in a slice, and how it is told."""

from __future__ import annotations

from typing import TypedDict

from particleseg_app.gui.formats import format_count
from particleseg_app.gui.viewers.slice_cell import place_text


class Pointed(TypedDict):
    """What is under the mouse: voxel (z, y, x), its grey value and label, and a text of it all."""

    position: tuple[int, int, int] | None
    grey: float | None
    label: int
    text: str


NOTHING_POINTED: Pointed = {"position": None, "grey": None, "label": 0, "text": ""}


def describe(
    voxel: tuple[int, int, int],
    grey: float | None,
    label: int,
    voxel_size_um: float | None,
    has_labels: bool,
    origin: tuple[int, int, int] = (0, 0, 0),
) -> Pointed:
    """What is at a voxel (z, y, x), with a text such as "Particle 12 · grey 20 413 · …".

    The text tells the place in a scan of which the piece shown begins at voxel `origin`.
    """
    parts = []
    if label:
        parts.append(f"Particle {format_count(label)}")
    elif has_labels and grey is not None:
        parts.append("Background")
    if grey is not None:
        parts.append(f"grey {_grey_text(grey)}")
    z, y, x = (v + o for v, o in zip(voxel, origin, strict=True))
    if voxel_size_um is None:
        parts.append(f"voxel ({x}, {y}, {z})")
    else:
        places = ", ".join(place_text((v + 0.5) * voxel_size_um) for v in (x, y, z))
        parts.append(f"(x, y, z) = ({places}) µm")
    return {"position": voxel, "grey": grey, "label": label, "text": " · ".join(parts)}


def _grey_text(grey: float) -> str:
    if grey == int(grey) and abs(grey) < 1e12:
        return format_count(int(grey))
    return f"{grey:.5g}"
