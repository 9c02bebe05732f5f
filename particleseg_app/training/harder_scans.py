"""Simulated scans harder in one way than any other: noise, zoned particles, flaws, no sharpness.

Each takes the scanner and the particles' insides of a usual scene and changes them. None of them
makes particles that nobody could see.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from particleseg_app.training.imaging import ImagingSettings
from particleseg_app.training.inside import FAINTEST_ZONE, InsideSettings
from particleseg_app.training.random_fields import log_uniform

HARDER = ("noisy", "zoned", "flawed", "unsharp")
# Noise of a voxel, in contrasts of the faintest phase: where a run begins to denoise, and beyond.
STRONG_NOISE = (0.35, 1.0)
# Of unsharp scans: how many of the scanner's voxels a particle is wide, and the deviation of the
# point spread as a share of the diameter (up to where other presets end, and beyond).
FEW_VOXELS = (6.5, 18.0)
WIDE_BLUR = (0.06, 0.125)


def harder(
    rng: np.random.Generator,
    kind: str,
    diameter: float,
    imaging: ImagingSettings,
    inside: InsideSettings,
) -> tuple[ImagingSettings, InsideSettings]:
    """The settings of a usual scene made harder; `kind` of `HARDER`, mean `diameter` in voxels."""
    if kind == "noisy":
        return _noisy(rng, imaging, inside)
    if kind == "zoned":
        return _zoned(rng, imaging, inside)
    if kind == "unsharp":
        return _unsharp(rng, diameter, imaging, inside), inside
    return _flawed(rng, imaging, inside), inside


def _noisy(
    rng: np.random.Generator, imaging: ImagingSettings, inside: InsideSettings
) -> tuple[ImagingSettings, InsideSettings]:
    """Noise that drowns all that is faint or fine, as a run denoises it; no faint particles."""
    imaging = replace(
        imaging,
        noise=log_uniform(rng, *STRONG_NOISE) * min(inside.levels),
        # Noise as coarse as the particles' details cannot be told from them.
        coarseness=min(imaging.coarseness, 1.3),
        rings=min(imaging.rings, 0.15),
        stripes=0.0,
        grey_levels=0,
    )
    return imaging, replace(inside, level_jitter=min(inside.level_jitter, 0.15))


def _zoned(
    rng: np.random.Generator, imaging: ImagingSettings, inside: InsideSettings
) -> tuple[ImagingSettings, InsideSettings]:
    """Rims, cores, bands and specks of very different levels, in all or part of the particles."""
    # So that the faintest zone can be seen.
    imaging = replace(imaging, noise=min(imaging.noise, 0.3 * FAINTEST_ZONE), grey_levels=0)
    return imaging, replace(inside, zoned=float(rng.choice([0.3, 0.7, 1.0])))


def _flawed(
    rng: np.random.Generator, imaging: ImagingSettings, inside: InsideSettings
) -> ImagingSettings:
    """One or two flaws stronger than any other preset has them; none drowns the faintest phase."""
    faintest = min(1.0, *inside.levels)
    strong = {
        "slice_steps": float(rng.uniform(0.15, 0.5)) * faintest,
        "edge_enhancement": float(rng.uniform(1.2, 4.0)),
        "rings": float(rng.uniform(0.6, 1.2)) * faintest,
        "stripes": float(rng.uniform(0.3, 0.8)) * faintest,
    }
    chosen = [str(name) for name in rng.permutation(sorted(strong))[: int(rng.integers(1, 3))]]
    changes: dict[str, Any] = {name: strong[name] for name in chosen}
    noise = min(imaging.noise, 0.15 * faintest)
    return replace(imaging, noise=noise, grey_levels=0, **changes)


def _unsharp(
    rng: np.random.Generator, diameter: float, imaging: ImagingSettings, inside: InsideSettings
) -> ImagingSettings:
    """Particles few voxels wide, under a wide point spread: contacts are waists, not gaps."""
    width = log_uniform(rng, *FEW_VOXELS)
    coarseness = max(1.0, diameter / width)
    return replace(
        imaging,
        coarseness=coarseness,
        blur=log_uniform(rng, *WIDE_BLUR) * diameter / coarseness,
        # A waist is fainter than an edge.
        noise=min(imaging.noise, 0.12 * min(1.0, *inside.levels)),
        rings=min(imaging.rings, 0.15),
        stripes=0.0,
        edge_enhancement=min(imaging.edge_enhancement, 0.4),
    )
