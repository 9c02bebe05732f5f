"""The simulated cases of the accuracy benchmark, each with difficulties of its own.

Every case is made from a seed; the same call gives the same voxels. The first four are the
plain ones of `plain.py`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tests.independent_scans import bodies, rendering, scene
from tests.independent_scans.labelled_scan import LabelledScan
from tests.independent_scans.plain import cylinder
from tests.independent_scans.scanner import scanned
from tests.independent_scans.scene import Shape, log_normal


def pushed_fragments(shape: Shape = (96, 128, 128), seed: int = 91_001) -> LabelledScan:
    """Crushed grains pressed face on face and edge on face, three phases intergrown."""
    random = np.random.default_rng(seed)
    made = scene.scattered(
        random, shape, bodies.fragment, log_normal(20, 0.25), 0.45, 0.95, 0.55, pushed=0.025
    )
    labels = made.finished()
    grey = rendering.minerals(
        random, labels, 0.30, (0.62, 0.80, 1.25), (0.5, 0.3, 0.2), 0.35, 3.0, 0.04
    )
    rendering.contact_gaps(random, grey, labels, 0.30)
    grey = ndimage.gaussian_filter(grey, 0.8) + rendering.noise(random, shape, 0.055)
    return LabelledScan(
        "pushed fragments", rendering.sixteen_bit(grey, -0.2, 2.2), labels, 20,
        "most particles touching over faces and edges; three phases",
    )  # fmt: skip


def settled_grains(shape: Shape = (96, 128, 128), seed: int = 91_002) -> LabelledScan:
    """Worn grains settled as densely as sand, of two minerals in air: three grey levels."""
    random = np.random.default_rng(seed)
    made = scene.settled(random, shape, bodies.pebble, log_normal(22, 0.2), 0.78)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.15, (0.60, 1.15), (0.6, 0.4), 0.0, 3, 0.035, 0.02)
    grey = ndimage.gaussian_filter(grey, 0.9) + rendering.noise(random, shape, 0.08, 0.6)
    return LabelledScan(
        "settled grains", rendering.sixteen_bit(grey, -0.2, 1.8), labels, 22,
        "densely settled, nearly every particle touching; three grey levels",
    )  # fmt: skip


def branched_bodies(shape: Shape = (120, 152, 152), seed: int = 91_003) -> LabelledScan:
    """Branched and hollowed bodies; noise with the grain of a reconstruction filter."""
    random = np.random.default_rng(seed)
    make = bodies.mixture((bodies.branched, 0.6), (bodies.bitten, 0.4))
    made = scene.scattered(random, shape, make, log_normal(24, 0.22), 0.21, 0.3, pushed=0.015)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.4, (0.75, 0.95), None, 0.25, 3.5, 0.05, 0.03)
    rendering.contact_gaps(random, grey, labels, 0.4)
    grey = ndimage.gaussian_filter(grey, 0.8) + rendering.noise(random, shape, 0.07, 0.8)
    return LabelledScan(
        "branched bodies", rendering.sixteen_bit(grey, 0.0, 1.6), labels, 23,
        "branched and hollowed shapes; correlated noise",
    )  # fmt: skip


def plates_and_needles(shape: Shape = (104, 136, 136), seed: int = 91_004) -> LabelledScan:
    """Flakes and needles through one another, a part lying flat on flat."""
    random = np.random.default_rng(seed)
    make = bodies.mixture((bodies.plate, 0.6), (bodies.needle, 0.4))
    made = scene.scattered(random, shape, make, log_normal(22, 0.2), 0.24, 0.6, 0.35, pushed=0.02)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.35, (0.7, 0.9, 1.1), None, 0.1, 3.0, 0.05)
    rendering.contact_gaps(random, grey, labels, 0.35)
    grey = ndimage.gaussian_filter(grey, 0.8) + rendering.noise(random, shape, 0.05)
    return LabelledScan(
        "plates and needles", rendering.eight_bit(grey, 0.1, 1.3), labels, 22,
        "thin flakes and long needles; 8 bits",
    )  # fmt: skip


def agglomerates(shape: Shape = (128, 160, 160), seed: int = 91_005) -> LabelledScan:
    """Grains sintered into clusters, each cluster one particle; the background drifts."""
    random = np.random.default_rng(seed)
    made = scene.scattered(
        random, shape, bodies.agglomerate, log_normal(29, 0.2), 0.23, 0.15, pushed=0.006
    )
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.35, (0.75, 0.85), None, 0.0, 3, 0.04, 0.03)
    rendering.contact_gaps(random, grey, labels, 0.35)
    grey = ndimage.gaussian_filter(grey, 0.9) + rendering.noise(random, shape, 0.06)
    grey += rendering.drift(shape, (0.12, 0.25, -0.15))
    return LabelledScan(
        "agglomerates", rendering.sixteen_bit(grey, -0.3, 1.6), labels, 28,
        "clusters of sintered grains, each one particle; drifting background",
    )  # fmt: skip


def hardened_beam(shape: Shape = (64, 152, 152), seed: int = 91_006) -> LabelledScan:
    """Dense ore among light grains in a cylinder, scanned with a beam that hardens."""
    random = np.random.default_rng(seed)
    inside = cylinder(shape, 0.94)
    made = scene.scattered(
        random, shape, bodies.mixture((bodies.fragment, 0.7), (bodies.pebble, 0.3)),
        log_normal(19, 0.25), 0.3, 0.6, 0.2, allowed=cylinder(shape, 0.9),
    )  # fmt: skip
    labels = made.finished()
    heavy = random.random(int(labels.max()) + 1) < 0.3
    heavy[0] = False
    thickness = rendering.minerals(random, labels, 0.0, (0.0150, 0.0185), None, 0.0, 3, 0.05)
    light = np.where(labels > 0, thickness, np.where(inside, 0.0055, 0.0)).astype(np.float32)
    dense = np.where(heavy[labels], 0.030, 0.0).astype(np.float32)
    light[heavy[labels]] = 0.006
    light, dense = (ndimage.gaussian_filter(matter, 0.6) for matter in (light, dense))
    grey = scanned(random, light, dense, photons=15_000)
    return LabelledScan(
        "hardened beam", rendering.sixteen_bit(grey, -0.01, 0.06), labels, 19,
        "cupping and streaks of a polychromatic scan; cylinder with air outside",
    )  # fmt: skip


def thick_tube(shape: Shape = (80, 160, 160), seed: int = 91_007) -> LabelledScan:
    """Sand in a thick tube as bright as the grains, air outside, rings."""
    random = np.random.default_rng(seed)
    hollow = cylinder(shape, 0.72)
    made = scene.settled(
        random, shape, bodies.mixture((bodies.pebble, 0.7), (bodies.fragment, 0.3)),
        log_normal(18, 0.22), 0.56, allowed=hollow,
    )  # fmt: skip
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.2, (0.8, 0.95), None, 0.0, 3, 0.05)
    rendering.contact_gaps(random, grey, labels, 0.2)
    wall = cylinder(shape, 0.9) & ~hollow
    grey[wall] = 1.0
    grey[~cylinder(shape, 0.9)] = 0.12
    grey = ndimage.gaussian_filter(grey, 0.85) + rendering.noise(random, shape, 0.06)
    grey += rendering.rings(random, shape, 0.16) + rendering.drift(shape, (0.06, 0.0, 0.05))
    return LabelledScan(
        "thick tube", rendering.sixteen_bit(grey, -0.2, 1.6), labels, 18,
        "settled in a thick, bright container wall with air outside; rings, drift",
    )  # fmt: skip


def eight_voxels(shape: Shape = (56, 64, 64), seed: int = 91_008) -> LabelledScan:
    """Particles of eight voxels, half of them touching."""
    random = np.random.default_rng(seed)
    make = bodies.mixture((bodies.fragment, 0.5), (bodies.pebble, 0.5))
    made = scene.scattered(random, shape, make, log_normal(8, 0.18), 0.22, 0.5, 0.1, pushed=0.02)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.3, (0.75, 1.0), None, 0.0, 3, 0.05)
    grey = ndimage.gaussian_filter(grey, 0.65) + rendering.noise(random, shape, 0.06)
    return LabelledScan(
        "eight voxels", rendering.sixteen_bit(grey, -0.1, 1.6), labels, 8,
        "particles of about 8 voxels",
    )  # fmt: skip


def ten_voxels_settled(shape: Shape = (64, 80, 80), seed: int = 91_009) -> LabelledScan:
    """Small grains, loosely settled."""
    random = np.random.default_rng(seed)
    made = scene.settled(random, shape, bodies.pebble, log_normal(10, 0.2), 0.5)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.2, (0.7, 0.85, 1.2), (0.5, 0.3, 0.2), 0.0, 3, 0.04)
    grey = ndimage.gaussian_filter(grey, 0.65) + rendering.noise(random, shape, 0.05, 0.5)
    return LabelledScan(
        "ten voxels, settled", rendering.sixteen_bit(grey, -0.2, 1.7), labels, 10,
        "particles of about 10 voxels, settled",
    )  # fmt: skip


def sixty_voxels(shape: Shape = (176, 256, 256), seed: int = 91_010) -> LabelledScan:
    """Large particles with all that is inside: phases, texture, cracks, pores."""
    random = np.random.default_rng(seed)
    make = bodies.mixture((bodies.fragment, 0.5), (bodies.pebble, 0.3), (bodies.bitten, 0.2))
    made = scene.scattered(random, shape, make, log_normal(64, 0.18), 0.34, 0.7, 0.4, pushed=0.015)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.3, (0.7, 0.9, 1.2), None, 0.6, 6.0, 0.04, 0.05)
    rendering.cracks(random, grey, labels, 0.3, 0.35)
    rendering.pores(random, grey, labels, 0.3, 0.32)
    rendering.contact_gaps(random, grey, labels, 0.3)
    grey = ndimage.gaussian_filter(grey, 1.0) + rendering.noise(random, shape, 0.07, 0.7)
    return LabelledScan(
        "sixty voxels", rendering.sixteen_bit(grey, -0.1, 1.9), labels, 64,
        "particles of 64 voxels with phases, texture, cracks and pores",
    )  # fmt: skip


def wide_range(shape: Shape = (104, 136, 136), seed: int = 91_011) -> LabelledScan:
    """Diameters from 8 to 48 voxels in one volume."""
    random = np.random.default_rng(seed)
    make = bodies.mixture((bodies.fragment, 0.5), (bodies.pebble, 0.35), (bodies.bitten, 0.15))
    made = None
    for low, high, filling in ((34, 48, 0.16), (14, 26, 0.25), (8, 13, 0.30)):  # large ones first
        made = scene.scattered(
            random, shape, make, lambda r, a=low, b=high: r.uniform(a, b), filling, 0.5, 0.3,
            scene=made,
        )  # fmt: skip
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.3, (0.65, 0.9), None, 0.25, 3.5, 0.05, 0.03)
    grey = ndimage.gaussian_filter(grey, 0.75) + rendering.noise(random, shape, 0.05)
    return LabelledScan(
        "wide range", rendering.sixteen_bit(grey, -0.1, 1.6), labels, 15,
        "diameters from 8 to 48 voxels in one volume",
    )  # fmt: skip


def faint_phase(shape: Shape = (96, 128, 128), seed: int = 91_012) -> LabelledScan:
    """Three minerals in epoxy, one of them hardly brighter than the epoxy."""
    random = np.random.default_rng(seed)
    make = bodies.mixture((bodies.fragment, 0.6), (bodies.pebble, 0.4))
    made = scene.scattered(random, shape, make, log_normal(21, 0.22), 0.24, 0.5, 0.2)
    labels = made.finished()
    grey = rendering.minerals(random, labels, 0.40, (0.53, 0.85, 1.5), (0.35, 0.4, 0.25), 0.2, 3.5)
    grey = ndimage.gaussian_filter(grey, 0.8) + rendering.noise(random, shape, 0.045)
    return LabelledScan(
        "faint phase", rendering.sixteen_bit(grey, 0.0, 2.0), labels, 21,
        "one phase hardly brighter than the matrix beside a very bright one",
    )  # fmt: skip
