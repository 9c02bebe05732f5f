"""The mending tool that moves a particle's surface to the edge in the grey values."""

from __future__ import annotations

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.review.pieces import separate_pieces

MAX_REACH = 20
_SAMPLED = 100_000  # voxels that are enough for the median of grey values


def grow_shrink_to_edge(
    labels: np.ndarray, grey: np.ndarray, label: int, new_label: int, *, reach: int = 3
) -> np.ndarray:
    """Move a particle's free surface to the edge in the grey values, at most `reach` voxels.

    The edge is where the grey value is half way between the particle's inside (its median,
    without the outer voxels) and the background around it. Voxels of the particle on the
    background's side of it go, background on the particle's side comes to it, layer by layer from
    the surface (over faces and over corners by turns, so that all directions go about as far).
    Contacts with other particles stay, and nothing is taken from them.
    """
    from particleseg_app.review.surface_kernels import move_surface

    if not 1 <= reach <= MAX_REACH:
        raise InvalidValueError(
            f"A reach of {reach} voxels is not possible.", f"Enter 1 to {MAX_REACH}."
        )
    inside = labels == label
    if label <= 0 or not inside.any():
        raise InvalidValueError(f"Particle {label} is not there.", "Choose another one.")
    own, around = _levels(labels, grey, inside, reach)
    edge = (own + around) / 2
    # The surface must not reach the faces of the array: only then a margin is put around it.
    margin = 1 if _comes_near_a_face(inside, reach + 1) else 0
    after, shade = labels.copy(), np.ascontiguousarray(grey)
    if margin:
        after = np.pad(after, margin, constant_values=np.iinfo(np.uint32).max)
        shade = np.pad(shade, margin)
    move_surface(after, shade, edge, own > around, label, reach)
    if margin:
        after = np.ascontiguousarray(after[1:-1, 1:-1, 1:-1])
    if not (after == label).any():
        raise InvalidValueError(
            f"Nothing would be left of particle {label}.", "Delete it, or choose a shorter reach."
        )
    separate_pieces(labels, after, label, new_label)
    return after


def _levels(
    labels: np.ndarray, grey: np.ndarray, inside: np.ndarray, reach: int
) -> tuple[float, float]:
    """Grey value of the particle's inside, and of the background around it.

    From every n-th voxel of a large crop: medians need no more.
    """
    step = max(1, int((labels.size / _SAMPLED) ** (1 / 3)))
    some = (slice(None, None, step),) * 3
    if not inside[some].any():
        step, some = 1, (slice(None),) * 3
    inside, free, grey = inside[some], labels[some] == 0, grey[some]
    core = ~_within(~inside, -(-min(reach, 3) // step))
    own = float(np.median(grey[core if core.any() else inside]))
    if not free.any():
        raise InvalidValueError("There is no background around the particle.", "Use the brush.")
    around = float(np.median(grey[free]))
    # The layer just out of reach knows best, unless the particle itself goes on there.
    within = -(-reach // step)
    beyond = free & _within(inside, within + -(-3 // step)) & ~_within(inside, within)
    if beyond.any():
        beside = float(np.median(grey[beyond]))
        if abs(beside - own) >= 0.5 * abs(around - own):
            around = beside
    if own == around:
        raise InvalidValueError(
            "The particle is as bright as the background around it.", "Use the brush."
        )
    return own, around


def _within(inside: np.ndarray, distance: int) -> np.ndarray:
    """Voxels at most `distance` (in each axis) from those `inside`."""
    from particleseg_app.review.surface_kernels import sum_boxes

    counted = inside.astype(np.int32)
    sum_boxes(counted, distance)
    near: np.ndarray = counted > 0
    return near


def _comes_near_a_face(inside: np.ndarray, distance: int) -> bool:
    """Whether there is a voxel of a mask among the outer `distance` layers of its array."""
    for axis in range(3):
        faces = np.moveaxis(inside, axis, 0)
        if faces[:distance].any() or faces[-distance:].any():
            return True
    return False
