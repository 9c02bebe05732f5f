"""Labelled scans for judging methods, made on purpose in another way than the training scans.

Nothing here is shared with `particleseg_app.training`. Volumes are (z, y, x).

- `bodies`: shapes as level functions; `scene`: how they come to lie together; `rendering`: phases
  and picture flaws; `scanner`: a polychromatic parallel-beam scan; `cases`: the cases made of them.
- `plain`: four cases of an earlier, simpler generator, kept as they were.
- `real`: cases from real data beside the repository; None where that is absent.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.independent_scans import bodies, cases, real, rendering, scene
from tests.independent_scans.labelled_scan import LabelledScan
from tests.independent_scans.plain import cylinder_scan, small_particles, spaced_ore, touching_ore

__all__ = [
    "ALL",
    "REAL",
    "LabelledScan",
    "bodies",
    "cylinder_scan",
    "rendering",
    "scene",
    "small_particles",
    "spaced_ore",
    "touching_ore",
]

ALL: tuple[Callable[[], LabelledScan], ...] = (
    spaced_ore,
    touching_ore,
    cylinder_scan,
    small_particles,
    cases.pushed_fragments,
    cases.settled_grains,
    cases.branched_bodies,
    cases.plates_and_needles,
    cases.agglomerates,
    cases.hardened_beam,
    cases.thick_tube,
    cases.eight_voxels,
    cases.ten_voxels_settled,
    cases.sixty_voxels,
    cases.wide_range,
    cases.faint_phase,
)
REAL: tuple[Callable[[], LabelledScan | None], ...] = (real.grain_packing, real.nuclei)
