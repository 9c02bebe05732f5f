"""Simulated scans with perfect labels, deterministic by preset, seed and shape."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace

import numpy as np

from particleseg_app.errors import InvalidValueError
from particleseg_app.training.beam_hardening import SampleCylinder
from particleseg_app.training.container import distance_from_axis, random_layers, random_walls
from particleseg_app.training.harder_scans import HARDER, harder
from particleseg_app.training.imaging import ImagingSettings, random_imaging, take_scan
from particleseg_app.training.inside import InsideSettings, attenuation_inside, random_inside
from particleseg_app.training.packing import (
    PackingSettings,
    paint_particles,
    place_particles,
    tidy_labels,
)
from particleseg_app.training.random_fields import log_uniform
from particleseg_app.training.surroundings import (
    SurroundingsSettings,
    attenuation_around,
    outside_container,
    random_surroundings,
)
from particleseg_app.units import Shape

DEFAULT_DIAMETER = 26.0


@dataclass(frozen=True)
class SimulatedScan:
    """A grey volume and its labels, both (z, y, x)."""

    grey: np.ndarray  # uint16
    labels: np.ndarray  # uint32, 1…n without gaps
    preset: str
    seed: int
    diameter_voxels: float  # mean diameter that the sizes were drawn around
    settings: dict[str, object]


@dataclass(frozen=True)
class SceneSettings:
    packing: PackingSettings
    inside: InsideSettings
    surroundings: SurroundingsSettings
    imaging: ImagingSettings
    inverted: bool = False  # particles darker than the matrix


# Preset: (family, spread, fill, clearance, share pushed together, fragmented); ranges are drawn.
_PACKINGS: dict[str, tuple[tuple[str, ...], tuple[float, float], tuple[float, float],
                           tuple[float, float], tuple[float, float], bool]] = {
    "spaced": (("ore", "angular", "rounded", "spheres"), (0.1, 0.4), (0.04, 0.22),
               (1.1, 1.4), (0.0, 0.1), False),
    "touching": (("ore", "angular", "rounded", "sand"), (0.1, 0.5), (0.12, 0.4),
                 (1.0, 1.15), (0.3, 0.9), False),
    "settled": (("rounded", "sand", "spheres"), (0.05, 0.35), (0.58, 0.80),
                (0.98, 1.0), (0.0, 0.2), False),
    "settled_angular": (("angular", "ore"), (0.1, 0.45), (0.54, 0.84),
                        (0.92, 1.0), (0.0, 0.2), False),
    "wide": (("ore", "angular", "rounded", "sand"), (0.45, 0.75), (0.3, 0.75),
             (0.95, 1.05), (0.1, 0.5), False),
    "fragments": (("angular",), (0.15, 0.5), (0.75, 0.95), (0.9, 1.0), (0.0, 0.0), True),
    "plates": (("plates",), (0.15, 0.4), (0.1, 0.4), (1.0, 1.1), (0.1, 0.6), False),
    "needles": (("needles",), (0.1, 0.4), (0.06, 0.3), (1.0, 1.1), (0.1, 0.5), False),
    "sand_tube": (("sand",), (0.3, 0.5), (0.3, 0.6), (0.98, 1.05), (0.2, 0.8), False),
    "soil": (("sand", "rounded"), (0.15, 0.4), (0.58, 0.8), (0.92, 1.0), (0.0, 0.2), False),
    "sintered": (("rounded", "spheres", "sand", "angular"), (0.1, 0.45), (0.1, 0.45),
                 (1.0, 1.5), (0.0, 0.5), False),
    "branched": (("rounded", "spheres", "sand", "angular"), (0.1, 0.4), (0.08, 0.35),
                 (1.0, 1.6), (0.0, 0.4), False),
}  # fmt: skip
_VARIED = {
    "spaced": 0.08, "touching": 0.14, "settled": 0.13, "settled_angular": 0.12, "wide": 0.13,
    "fragments": 0.07, "plates": 0.07, "needles": 0.04, "sand_tube": 0.08, "soil": 0.06,
    "sintered": 0.05, "branched": 0.03,
}  # fmt: skip
# Without those whose particles nobody would see in strong noise or other flaws: nearly as dark as
# what they lie in, or parted by nothing but thin cracks.
_CLEAR = {name: share for name, share in _VARIED.items() if name not in ("soil", "fragments")}
# Where a wide blur leaves nothing of what parts the particles: thin gaps between arms that cross,
# plates and pressed fragments; and where it leaves nothing of the smallest.
_LOST_WHEN_UNSHARP = ("sintered", "branched", "plates", "settled_angular", "wide")
PRESETS = (*_PACKINGS, "varied", *HARDER)


def _random_packing(rng: np.random.Generator, preset: str, diameter: float) -> PackingSettings:
    families, spread, fill, clearance, pushed, fragmented = _PACKINGS[preset]
    compound = preset if preset in ("sintered", "branched") else "lobed"
    stacks = float(rng.uniform(0.2, 0.7)) if preset == "plates" and rng.random() < 0.5 else 0.0
    if fragmented:
        gap = log_uniform(rng, 0.6, 4.0)
        variation = float(rng.uniform(0.1, 0.5)) * gap
    elif compound != "lobed" or stacks > 0:
        # Only a film tells where arms cross, or where plates lie face on face.
        gap, variation = float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.1, 0.5))
    elif rng.random() < 0.4:
        gap, variation = float(rng.uniform(-1.0, 0.8)), float(rng.uniform(0.2, 1.0))
    else:
        gap, variation = -1.0, 0.0
    giants = int(rng.integers(1, 5)) if preset == "wide" and rng.random() < 0.5 else 0
    return PackingSettings(
        diameter=diameter,
        spread=float(rng.uniform(*spread)),
        family=str(rng.choice(families)),
        fill=float(rng.uniform(*fill)),
        clearance=float(rng.uniform(*clearance)),
        pushed_together=float(rng.uniform(*pushed)),
        fragmented=fragmented,
        gap=gap,
        gap_variation=variation,
        # Giants among large particles would leave room for nothing else.
        giants=giants if diameter < 30 else 0,
        clumped=(
            float(rng.uniform(0.2, 0.6))
            if preset in ("spaced", "touching", "needles") and rng.random() < 0.2
            else 0.0
        ),
        against_wall=float(rng.choice([0.0, 0.5, 0.9])),
        compounds=_share_of_compounds(rng, compound, fragmented),
        compound=compound,
        stacked=stacks,
    )


def _share_of_compounds(rng: np.random.Generator, compound: str, fragmented: bool) -> float:
    if compound != "lobed":
        return float(rng.choice([1.0, rng.uniform(0.3, 1.0)]))
    return float(rng.uniform(0.1, 0.5)) if not fragmented and rng.random() < 0.08 else 0.0


def _soil(
    rng: np.random.Generator,
    surroundings: SurroundingsSettings,
    inside: InsideSettings,
    imaging: ImagingSettings,
) -> tuple[SurroundingsSettings, InsideSettings, ImagingSettings]:
    """Soft grains of three to five grey levels in air, dark among bright, with roots and water."""
    levels = tuple(rng.uniform(0.4, 1.3, int(rng.integers(3, 6))))
    inside = replace(inside, levels=levels, level_jitter=float(rng.uniform(0.05, 0.2)))
    imaging = replace(
        imaging,
        coarseness=float(rng.uniform(1.2, 2.4)),
        blur=float(rng.uniform(0.6, 1.1)),
        noise=log_uniform(rng, 0.01, 0.08),
        bits=8 if rng.random() < 0.5 else 16,
        grey_levels=int(rng.integers(24, 80)) if rng.random() < 0.4 else 0,
    )
    surroundings = replace(
        surroundings,
        bubbles=0.0,
        roots=int(rng.integers(0, 4)),
        root_level=float(rng.uniform(0.1, 0.25)),
        moisture=float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.5)])),
        moisture_level=float(rng.uniform(0.08, 0.25)),
        air_level=float(-rng.uniform(0.0, 0.15)),
    )
    return surroundings, inside, imaging


def _whole_sample(
    rng: np.random.Generator, shape: Shape, settings: SurroundingsSettings
) -> SampleCylinder:
    """The cylinder that the scene is cut from: its container, or else a wider one about it."""
    container, air = settings.container, settings.air_level
    if container.radius > 0:
        radii, levels = [container.radius], []
        for thickness, level in settings.walls.layers:
            radii.append(radii[-1] + thickness)
            levels.append(max(0.0, level - air))
        return SampleCylinder(container.axis_y, container.axis_x, tuple(radii), tuple(levels))
    distance = float(rng.choice([0.3, 1.5, 4.0])) * shape[1] * rng.random()
    angle = rng.uniform(0, 2 * np.pi)
    y = shape[1] / 2 + distance * float(np.sin(angle))
    x = shape[2] / 2 + distance * float(np.cos(angle))
    # Nowhere in the scene is the edge seen.
    reach = distance + 0.5 * float(np.hypot(*shape[1:]))
    return SampleCylinder(y, x, (reach * float(rng.uniform(1.02, 1.6)),))


def random_scene(
    rng: np.random.Generator, preset: str, shape: Shape, diameter: float
) -> SceneSettings:
    """Settings of one scene of `preset`, mean particle diameter in voxels."""
    asked = preset
    if preset == "varied" or preset in HARDER:
        drawn = _CLEAR if preset in HARDER else _VARIED
        if preset == "unsharp":
            drawn = {name: share for name, share in drawn.items() if name not in _LOST_WHEN_UNSHARP}
        shares = np.array(list(drawn.values()))
        preset = str(rng.choice(list(drawn), p=shares / shares.sum()))
    packing = _random_packing(rng, preset, diameter)
    inside = random_inside(rng)
    surroundings = random_surroundings(rng, shape, diameter)
    imaging = random_imaging(rng, hardened=0.6 if preset == "sand_tube" else 0.35)
    inverted = False
    if preset == "sand_tube":
        inside = replace(inside, levels=inside.levels[: int(rng.integers(1, 3))], mixed=0.1)
        surroundings = random_surroundings(rng, shape, diameter, edge=1.0)
        air_level = float(-rng.uniform(0.0, 0.4))
        layers = random_layers(rng, air_level, thinnest=10, thickest=120)
        surroundings = replace(
            surroundings,
            walls=random_walls(rng, surroundings.container.radius, layers),
            air_level=air_level,
            bubbles=0.0,
            spacers=0.0,
        )
    elif preset == "soil":
        surroundings, inside, imaging = _soil(rng, surroundings, inside, imaging)
    elif (
        rng.random() < 0.07
        and surroundings.bubbles == 0
        and surroundings.container.radius == 0
        and surroundings.surface < 0
        and surroundings.floor < 0
    ):
        inverted = True
        surroundings = replace(surroundings, spacers=0.0, roots=0)
        imaging = replace(imaging, hardening=None)
    elif rng.random() < 0.12:
        # Particles hardly brighter than what they lie in.
        faint = float(rng.uniform(0.2, 0.4))
        inside = replace(inside, levels=(*inside.levels[1:], faint), level_jitter=0.06)
    # Noise that drowns the faintest phase would make labels that nobody could see. The eye, and
    # the network, see a large particle through more noise than a small one or a fused one.
    faintest = min(inside.levels) * float(np.exp(-inside.level_jitter))
    seen = float(np.clip(diameter / imaging.coarseness / 22, 0.25, 1))
    fused = 0.7 if packing.fill > 0.5 else 1.0
    imaging = replace(imaging, noise=min(imaging.noise, 0.42 * faintest * seen * fused))
    if surroundings.spacer_level > 0 or surroundings.roots or surroundings.moisture:
        # What is no particle must be told from the faintest one by its grey value.
        below = 0.5 * faintest
        surroundings = replace(
            surroundings,
            spacer_level=min(surroundings.spacer_level, below),
            root_level=min(surroundings.root_level, below),
            moisture_level=min(surroundings.moisture_level, below),
        )
    # Nor would anybody call a scan usable whose blur is as wide as the particles.
    imaging = replace(imaging, blur=min(imaging.blur, 0.1 * diameter / imaging.coarseness))
    if packing.fragmented or packing.fill > 0.5:
        surroundings = replace(surroundings, spacers=0.0)
    if asked in HARDER:
        imaging, inside = harder(rng, asked, diameter, imaging, inside)
    return SceneSettings(packing, inside, surroundings, imaging, inverted)


def simulate_scene(rng: np.random.Generator, settings: SceneSettings, shape: Shape) -> tuple[
    np.ndarray, np.ndarray
]:  # fmt: skip
    """Grey values (uint16) and labels (uint32) of one scene, both (z, y, x)."""
    container = settings.surroundings.container
    particles = place_particles(rng, shape, settings.packing, container)
    labels, depth = paint_particles(rng, shape, particles, settings.packing)
    outside = outside_container(shape, settings.surroundings)
    if outside is not None:
        labels[np.broadcast_to(outside, shape)] = 0
    around = attenuation_around(rng, shape, settings.surroundings, settings.packing.diameter)
    if settings.surroundings.surface >= 0:
        # Nothing floats: a particle whose centre is in the air above the fill is not there.
        high = settings.surroundings.surface * shape[0]
        floating = np.zeros(len(particles) + 1, bool)
        floating[1:] = particles.centre[:, 0] < high
        labels[floating[labels]] = 0
    labels = tidy_labels(labels)
    inside = attenuation_inside(rng, labels, depth, settings.inside, settings.packing.diameter)
    attenuation = np.where(labels > 0, inside, around)
    if settings.inverted:
        attenuation = -attenuation
    sample = _whole_sample(rng, shape, settings.surroundings)
    view = None
    if settings.surroundings.view_radius > 0:
        view = distance_from_axis(shape, container) < settings.surroundings.view_radius
    axis, air = (sample.axis_y, sample.axis_x), min(0.0, settings.surroundings.air_level)
    return take_scan(rng, attenuation, axis, settings.imaging, view, sample, air), labels


def simulate_scan(
    preset: str, seed: int, shape: Shape = (128, 128, 128), diameter: float | None = None
) -> SimulatedScan:
    """Simulate a labelled scan; the same arguments give the same voxels.

    `diameter` is the mean particle diameter in voxels; None draws it around `DEFAULT_DIAMETER`
    (× 0.6 to 1.7). Raises `InvalidValueError` for an unknown preset or an impossible size.
    """
    if preset not in PRESETS:
        raise InvalidValueError(
            f"There is no preset “{preset}”.", f"Choose one of: {', '.join(PRESETS)}."
        )
    if min(shape) < 16:
        raise InvalidValueError(
            f"A simulated scan of {shape} voxels is too small.", "Use at least 16 voxels an edge."
        )
    rng = np.random.default_rng([seed, zlib.crc32(preset.encode())])
    drawn = DEFAULT_DIAMETER * log_uniform(rng, 0.6, 1.7)
    size = drawn if diameter is None else float(diameter)
    if not 5 <= size <= 400:
        raise InvalidValueError(
            f"A mean particle diameter of {size:g} voxels is not possible.",
            "Choose between 5 and 400 voxels.",
        )
    settings = random_scene(rng, preset, shape, size)
    grey, labels = simulate_scene(rng, settings, shape)
    return SimulatedScan(grey, labels, preset, seed, size, asdict(settings))
