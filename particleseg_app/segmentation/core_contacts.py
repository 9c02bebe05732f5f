"""How the parts that grew from the cores touch each other, counted block by block."""

from __future__ import annotations

import numpy as np

from particleseg_app.segmentation.block_grid import LATER_6, facing, facing_name, opposite
from particleseg_app.segmentation.block_work import BlockWork
from particleseg_app.segmentation.core_growth import latest, read_labels
from particleseg_app.segmentation.core_unions import Contacts, added
from particleseg_app.units import Box


def find_contacts(work: BlockWork, core_count: int) -> Contacts:
    """Piece `contacts` of each block, and what they add up to, by the labels of the cores.

    `pairs`, `faces`: contacts of the block's voxels with each other and with the next block's along
    each axis; `names`, `voxels`: how many voxels of each label are in the block.
    """
    work.each("Looking at contacts", work.missing("contacts"), lambda number: _find(work, number))
    found = []
    voxels = np.zeros(core_count + 1, np.int64)
    for number in range(len(work.grid)):
        work.cancel.check()
        piece = work.read("contacts", number)
        voxels[piece["names"]] += piece["voxels"]
        found.append((piece["pairs"], piece["faces"]))
    return added(found, voxels)


def _find(work: BlockWork, number: int) -> None:
    from particleseg_app.segmentation.block_counts import weighted_counts
    from particleseg_app.segmentation.contact_counts import contact_counts
    from particleseg_app.segmentation.region_growth import LAYER, NO_LABEL

    box = work.grid.box(number)
    later = dict(work.grid.neighbours(number, LATER_6))
    stop = tuple(b + (offset in later) for b, offset in zip(box.stop, _AXES, strict=True))
    wide = Box(box.start, stop)  # type: ignore[arg-type]
    own, names = read_labels(work, number)
    known = np.where(names == NO_LABEL, 0, names).astype(np.uint32)
    labels = np.zeros(wide.shape, np.uint32)
    labels[box.within(wide)] = known[own]
    for offset, other in later.items():
        back = opposite(offset)
        states = facing(latest(work, other, facing_name(back)), back)
        beside = (states % LAYER).astype(np.uint32)
        beside[beside == NO_LABEL] = 0
        place = tuple(
            slice(-1, None) if step else slice(n) for step, n in zip(offset, box.shape, strict=True)
        )
        labels[place] = beside
    work.cancel.check()
    pairs, faces = contact_counts(labels, work.read_classes(wide), box.shape)
    ones = tuple(np.ones(n, np.int64) for n in box.shape)
    voxels = weighted_counts(own, ones, names.size - 1)  # type: ignore[arg-type]
    cored = known > 0
    work.write(
        "contacts",
        number,
        {"pairs": pairs, "faces": faces, "names": names[cored], "voxels": voxels[cored]},
    )


# The offset of the next block along each axis.
_AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
