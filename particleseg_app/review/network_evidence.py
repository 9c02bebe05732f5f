"""What the network thinks of doubtful particles when it looks at them again (`second_look`).

Where both predictions are sure of a core all along a would-be cut there is no merger; where they
separate differently the run's own answer was a matter of chance.
"""

from __future__ import annotations

import numpy as np

from particleseg_app.review.evidence import Point, contact_between
from particleseg_app.review.merge_tree import MergeTree, merge_tree
from particleseg_app.review.second_look import Window
from particleseg_app.segmentation.border_core import BACKGROUND, CORE

_SUREST = 8.0
# Two cores whose margin (ln odds) falls this far between them may be two particles.
DEEP = 1.5

PARTICLE_NAMES = (
    "core_saddle", "core_depth", "core_lobe_share", "second_part", "foreground", "core_peak",
    "core_share", "disagreement",
)  # fmt: skip
PAIR_NAMES = (
    "contact_core_margin", "contact_mean_margin", "contact_depth", "joined", "pair_disagreement",
    "lesser_core_peak",
)  # fmt: skip


def particle_network_evidence(
    window: Window, label: int, margin: np.ndarray
) -> tuple[dict[str, float], list[Point]]:
    """The network's evidence about one particle, and a point in each core that it sees there.

    `margin` is that of the window; points are (z, y, x) at working scale, of the whole volume.
    """
    return mask_network_evidence(window, window.labels == label, margin)


def mask_network_evidence(
    window: Window, mask: np.ndarray, margin: np.ndarray
) -> tuple[dict[str, float], list[Point]]:
    """The same about the voxels of a mask (bool, of the shape of the window)."""
    size = int(mask.sum())
    points: list[Point] = []
    if not size:
        return {}, points
    tree = merge_tree(margin, mask)
    meeting = _deepest_meeting(tree)
    shares = window.shares[:, :, mask]
    classes = shares.argmax(axis=1)
    found = {
        "core_saddle": _SUREST,
        "core_depth": 0.0,
        "core_lobe_share": 0.0,
        "second_part": 0.0,
        "foreground": float((1 - shares[:, BACKGROUND]).mean()),
        "core_peak": float(margin[mask].max()),
        "core_share": float((classes == CORE).mean()),
        "disagreement": float(np.abs(shares[0] - shares[1]).sum(axis=0).mean() / 2),
    }
    if meeting is not None:
        found["core_saddle"] = float(tree.saddle[meeting])
        found["core_depth"] = float(tree.peaks[tree.lesser[meeting]] - tree.saddle[meeting])
        found["core_lobe_share"] = float(tree.volumes[meeting] / tree.size)
        if found["core_depth"] >= DEEP:
            cuts = [meeting, *(k for k in _deep_meetings(tree) if k != meeting)]
            points = [
                (z + window.box.start[0], y + window.box.start[1], x + window.box.start[2])
                for z, y, x in tree.tops(margin, cuts)
            ]
    for parts in window.parts:
        inside = np.bincount(parts[mask])
        inside[0] = 0
        inside = np.sort(inside)[::-1]
        if inside.size > 1:
            found["second_part"] += float(inside[1]) / size / len(window.parts)
    return found, points


def pair_network_evidence(
    window: Window, pair: tuple[int, int], margin: np.ndarray
) -> dict[str, float]:
    """The network's evidence about two particles in contact."""
    first, second = window.labels == pair[0], window.labels == pair[1]
    sizes = int(first.sum()), int(second.sum())
    contact = contact_between(first, second)
    if contact is None:
        return {}
    at_contact = margin[contact.at]
    peaks = min(float(margin[first].max()), float(margin[second].max()))
    joined = 0.0
    for parts in window.parts:
        shared = [
            np.bincount(parts[side], minlength=int(parts.max()) + 1) for side in (first, second)
        ]
        both = np.minimum(shared[0] / sizes[0], shared[1] / sizes[1])
        both[0] = 0
        joined += float(both.max()) / len(window.parts)
    union = first | second
    shares = window.shares[:, :, union]
    return {
        "contact_core_margin": float(at_contact.max()),
        "contact_mean_margin": float(at_contact.mean()),
        "contact_depth": peaks - float(at_contact.max()),
        "joined": joined,
        "pair_disagreement": float(np.abs(shares[0] - shares[1]).sum(axis=0).mean() / 2),
        "lesser_core_peak": peaks,
    }


def _deepest_meeting(tree: MergeTree) -> int | None:
    """The meeting whose lesser hill stands highest above its saddle, small hills counted less."""
    if not tree.lesser.size:
        return None
    share = _lesser_share(tree)
    worth = (tree.peaks[tree.lesser] - tree.saddle) * np.sqrt(np.minimum(share, 0.2) / 0.2)
    worth[share < 0.02] = -1
    best = int(np.argmax(worth))
    return best if worth[best] > 0 else None


def _deep_meetings(tree: MergeTree) -> list[int]:
    depth = tree.peaks[tree.lesser] - tree.saddle
    chosen = np.flatnonzero((depth >= DEEP) & (_lesser_share(tree) >= 0.03))
    return [int(k) for k in chosen[np.argsort(-depth[chosen], kind="stable")]]


def _lesser_share(tree: MergeTree) -> np.ndarray:
    share = tree.volumes / max(1, tree.size)
    return np.minimum(share, 1 - share)
