"""Where simulated particles lie: sizes, dense or loose positions, and labelled voxels of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.training.compounds import compound_particles, stacked
from particleseg_app.training.random_fields import periodic_noise, smooth_noise
from particleseg_app.training.shapes import Particles, random_particles
from particleseg_app.units import Shape

FAR = np.float32(1e6)
MAX_PARTICLES = 3500


@dataclass(frozen=True)
class PackingSettings:
    """How a scene is filled. Lengths in voxels, shares 0 to 1."""

    diameter: float  # mean by number
    spread: float  # deviation of the logarithm of the diameter
    family: str  # key of shapes.FAMILIES
    fill: float  # particle volume over container volume aimed at
    clearance: float  # how much wider than the particles the spheres are that are pushed apart
    pushed_together: float  # share of particles then moved against a neighbour
    fragmented: bool = False  # cells that fill the space, parted by gaps
    gap: float = -1.0  # mean width of the gap between neighbours; below 0: fused contacts
    gap_variation: float = 0.0
    giants: int = 0  # particles several times the mean
    clumped: float = 0.0  # how far particles are drawn together into clumps
    against_wall: float = 0.0  # share of the particles near a wall that touch it
    compounds: float = 0.0  # share of particles that are built of several shapes
    compound: str = "lobed"  # key of compounds.COMPOUNDS
    stacked: float = 0.0  # share of particles laid flat on a neighbour; for plates


@dataclass(frozen=True)
class Container:
    """A cylinder along z that holds the particles; radius 0 means none."""

    axis_y: float = 0.0
    axis_x: float = 0.0
    radius: float = 0.0


def random_diameters(
    rng: np.random.Generator, settings: PackingSettings, volume: float
) -> np.ndarray:
    """Diameters in voxels, log-normal, that fill the share `settings.fill` of `volume`."""
    sigma = settings.spread
    typical = settings.diameter**3 * np.exp(3 * sigma**2) * np.pi / 6
    count = int(min(MAX_PARTICLES, max(3, 1.5 * settings.fill * volume / typical + 20)))
    diameters = settings.diameter * np.exp(rng.normal(-(sigma**2) / 2, sigma, count))
    diameters = np.clip(diameters, max(4.5, 0.16 * settings.diameter), 4.5 * settings.diameter)
    enough = np.cumsum(diameters**3) * np.pi / 6 <= settings.fill * volume
    enough[:3] = True
    diameters = diameters[enough]
    if settings.giants > 0:
        giants = settings.diameter * rng.uniform(2.5, 5.5, settings.giants)
        giants = np.minimum(giants, 0.55 * volume ** (1 / 3))
        # They take the place of small ones, so that the filling stays.
        left = np.cumsum(diameters**3) <= max(
            0.4 * float((diameters**3).sum()), float((diameters**3).sum() - (giants**3).sum())
        )
        diameters = np.concatenate([giants, diameters[left]])
    return diameters


def _clumped(
    rng: np.random.Generator, centre: np.ndarray, strength: float, diameter: float
) -> np.ndarray:
    """Centres drawn towards one of several points that lie about four diameters apart."""
    from scipy.spatial import cKDTree

    extent = np.ptp(centre, axis=0) + 1
    count = max(2, int(np.prod(extent) / (5.0 * diameter) ** 3))
    points = centre.min(0) + rng.random((count, 3)) * extent
    nearest = points[np.asarray(cKDTree(points).query(centre)[1])]
    return np.asarray(centre + strength * (nearest - centre))


def _against_wall(
    rng: np.random.Generator,
    centre: np.ndarray,
    radius: np.ndarray,
    container: Container,
    share: float,
) -> np.ndarray:
    """Centres after a `share` of the particles near the wall moved outwards until they touch it."""
    offset = centre[:, 1:] - (container.axis_y, container.axis_x)
    distance = np.hypot(*offset.T)
    wanted = container.radius - radius * rng.uniform(0.8, 0.98, len(radius))
    near = (wanted > distance) & (distance > container.radius - 2.5 * radius) & (distance > 1)
    chosen = near & (rng.random(len(radius)) < share)
    centre = centre.copy()
    centre[chosen, 1:] += offset[chosen] * (wanted / np.maximum(distance, 1) - 1)[chosen, None]
    return centre


def _pushed_together(
    rng: np.random.Generator, centre: np.ndarray, radius: np.ndarray, share: float
) -> np.ndarray:
    """Centres after a share of the particles moved against their nearest neighbour."""
    from scipy.spatial import cKDTree

    centre = centre.copy()
    if len(centre) < 2:
        return centre
    neighbours = np.asarray(cKDTree(centre).query(centre, k=2)[1])
    for index in np.flatnonzero(rng.random(len(centre)) < share / 2):
        other = neighbours[index, 1]
        offset = centre[index] - centre[other]
        distance = np.linalg.norm(offset) + 1e-6
        touching = (radius[index] + radius[other]) * rng.uniform(0.86, 1.0)
        if distance > touching:
            centre[index] = centre[other] + offset / distance * touching
    return centre


def _without_swallowed(centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Mask of particles that are not mostly inside a larger one."""
    from scipy.spatial import cKDTree

    keep = np.ones(len(radius), bool)
    reach = float(2 * radius.max()) if len(radius) else 0.0
    for i, j in cKDTree(centre).query_pairs(reach, output_type="ndarray"):
        small, large = (i, j) if radius[i] < radius[j] else (j, i)
        distance = np.linalg.norm(centre[i] - centre[j])
        if distance < radius[large] + 0.1 * radius[small]:
            keep[small] = False
    return keep


def place_particles(
    rng: np.random.Generator, shape: Shape, settings: PackingSettings, container: Container
) -> Particles:
    """Particles whose centres fill a box somewhat larger than the scan, or its container."""
    from particleseg_app.training.painting import push_apart

    margin = min(0.9 * settings.diameter, 28.0)
    low = np.full(3, -margin)
    high = np.array(shape, float) + margin
    volume = float(np.prod(high - low))
    diameters = random_diameters(rng, settings, volume)
    radius = diameters / 2
    centre = rng.uniform(low, high, (len(radius), 3))
    if container.radius > 0:
        offset = centre[:, 1:] - (container.axis_y, container.axis_x)
        inside = np.hypot(*offset.T) < container.radius
        centre, radius = centre[inside], radius[inside]
    if len(radius) == 0:
        centre, radius = np.array([[-200.0, -200.0, -200.0]]), np.array([5.0])
    if settings.clumped > 0:
        centre = _clumped(rng, centre, settings.clumped, settings.diameter)
    rounds = 12 if settings.fragmented else 60
    spheres = radius * settings.clearance
    if len(radius) > 1200:
        rounds = min(rounds, 30)
    push_apart(
        centre, spheres, low, high, container.axis_y, container.axis_x, container.radius, rounds
    )
    centre = _pushed_together(rng, centre, radius, settings.pushed_together)
    if settings.against_wall > 0 and container.radius > 0:
        centre = _against_wall(rng, centre, radius, container, settings.against_wall)
    if not settings.fragmented:
        keep = _without_swallowed(centre, radius)
        centre, radius = centre[keep], radius[keep]
    particles = random_particles(rng, settings.family, centre, radius)
    if settings.stacked > 0:
        particles = stacked(rng, particles, settings.stacked)
    if settings.compounds > 0:
        particles = compound_particles(rng, particles, settings.compound, settings.compounds)
    return particles


def paint_particles(
    rng: np.random.Generator, shape: Shape, particles: Particles, settings: PackingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (uint32, index + 1) and the depth below the surface in voxels (positive inside)."""
    from particleseg_app.training.painting import paint

    labels = np.zeros(shape, np.uint32)
    nearest = np.full(shape, FAR, np.float32)
    second = np.full(shape, FAR, np.float32)
    lobes = periodic_noise(rng, 64, float(np.clip(0.16 * settings.diameter, 1.5, 7)))
    grain = periodic_noise(rng, 64, 0.9)
    reach = 0.55 if settings.fragmented else 0.0
    paint(
        particles.centre,
        particles.radius,
        particles.semi_axes,
        particles.rotation,
        particles.normals,
        particles.plane_count,
        particles.doublings,
        particles.roughness,
        particles.noise_shift,
        particles.owner,
        lobes,
        grain,
        reach,
        labels,
        nearest,
        second,
    )
    depth = -nearest
    if settings.fragmented:
        depth += reach * 0.5 * settings.diameter
    if settings.gap + 3 * settings.gap_variation > 0:
        gap = settings.gap + settings.gap_variation * smooth_noise(
            rng, shape, max(3.0, 0.45 * settings.diameter)
        )
        # Half the difference of the two distances is about the distance to their interface.
        to_interface = 0.5 * (second - nearest)
        labels[(to_interface < 0.5 * gap) & (gap > 0)] = 0
        depth = np.minimum(depth, to_interface)
    return labels, depth


def tidy_labels(labels: np.ndarray, smallest: int = 30) -> np.ndarray:
    """Keep the largest piece of every particle, drop specks, number the rest 1…n in order."""
    import cc3d
    import fastremap

    pieces = cc3d.connected_components(labels, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    first = np.zeros(len(sizes), np.uint32)
    owner = first
    owner[pieces.ravel()] = labels.ravel()
    sizes[0] = 0
    order = np.argsort(sizes, kind="stable")  # the largest piece of each particle comes last
    largest = np.zeros(int(labels.max()) + 1, np.int64)
    largest[owner[order]] = order
    keep = np.zeros(len(sizes), bool)
    keep[largest] = True
    keep[sizes < smallest] = False
    keep[0] = False
    cleaned = np.where(keep[pieces], labels, 0).astype(np.uint32)
    result, _ = fastremap.renumber(cleaned, in_place=False)
    return result.astype(np.uint32)
