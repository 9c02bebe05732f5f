"""Particles that a mend cuts into pieces."""

from __future__ import annotations

import numpy as np


def separate_pieces(before: np.ndarray, after: np.ndarray, label: int, new_label: int) -> int:
    """Number the pieces of a particle that were one before (26-connected), in place.

    The largest keeps `label`. Pieces that were apart before stay together under it. Returns the
    next number that is free.
    """
    import cc3d

    pieces, count = cc3d.connected_components(after == label, connectivity=26, return_N=True)
    if count <= 1:
        return new_label
    sizes = np.bincount(pieces.ravel())
    wholes = cc3d.connected_components(before == label, connectivity=26)
    # Where a piece came from: the first of its voxels that was the particle's before.
    shared = (pieces > 0) & (wholes > 0)
    numbers, first = np.unique(pieces[shared], return_index=True)
    origin = dict(zip(numbers.tolist(), wholes[shared][first].tolist(), strict=True))
    largest: dict[int, int] = {}
    for piece, whole in origin.items():
        if whole not in largest or sizes[piece] > sizes[largest[whole]]:
            largest[whole] = piece
    renumbered = np.full(sizes.size, label, np.uint32)
    renumbered[0] = 0
    for piece, whole in sorted(origin.items()):
        if largest[whole] != piece:
            renumbered[piece] = new_label
            new_label += 1
    where = pieces > 0
    after[where] = renumbered[pieces[where]]
    return new_label
