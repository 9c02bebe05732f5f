"""Parts that grow from cores, and how they touch, in a volume small enough for memory.

What a run does block by block (`particles_from_classes`), for a window of the review's second look
and for the fit of a union rule.
"""

from __future__ import annotations

import numpy as np

from particleseg_app.segmentation.border_core import BACKGROUND, CORE, small_cores
from particleseg_app.segmentation.connected_regions import connected_regions
from particleseg_app.segmentation.core_unions import Contacts, UnionRule


def grown_parts(classes: np.ndarray) -> tuple[np.ndarray, int]:
    """Parts (uint32, 1…n) that grow from the cores of uint8 `classes` (z, y, x), and n.

    Border counts from 2 on (`core_unions`). Voxels that no core reaches are 0.
    """
    from particleseg_app.segmentation.region_growth import BACKGROUND as NOBODYS
    from particleseg_app.segmentation.region_growth import BlockGrowth

    cores, found = connected_regions(classes == CORE, 6)
    kept = np.setdiff1d(np.arange(1, found + 1), small_cores(cores))
    ranks = np.zeros(found + 2, np.uint32)
    ranks[kept] = np.arange(1, kept.size + 1)
    # One number more stands for the border, which belongs to no core yet.
    cores = np.where(classes > CORE, found + 1, cores)
    z, y, x = classes.shape
    growth = BlockGrowth((z, y, x), margin=0)
    growth.put(cores, ranks, (0, 0, 0))
    labels, _ = growth.grow()
    return np.where(labels >= NOBODYS, BACKGROUND, labels).astype(np.uint32), int(kept.size)


def contacts_of(parts: np.ndarray, count: int, classes: np.ndarray) -> Contacts:
    """How the parts 1…`count` touch each other."""
    from particleseg_app.segmentation.contact_counts import contact_counts

    z, y, x = classes.shape
    pairs, faces = contact_counts(parts, classes, (z, y, x))
    voxels = np.bincount(parts.ravel(), minlength=count + 1).astype(np.int64)
    voxels[0] = 0
    return Contacts(pairs, faces, voxels)


def united_parts(
    classes: np.ndarray, rule: UnionRule | None, of_scan: np.ndarray | None
) -> np.ndarray:
    """Particles (uint32) of the cores of a window's `classes`: parts, united by the rule.

    `of_scan` are the `scan_figures` of the scan that the window is of; where they are not known
    each contact is judged by itself.
    """
    parts, count = grown_parts(classes)
    if rule is None:
        return parts
    return rule.united(contacts_of(parts, count, classes), count, of_scan).astype(np.uint32)[parts]
