"""The scanner: blur, beam hardening, reconstruction noise, rings, drift, grey scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from particleseg_app.training.beam_hardening import (
    BeamHardeningSettings,
    SampleCylinder,
    hardened_beam,
)
from particleseg_app.training.random_fields import enlarged, log_uniform, smooth_noise
from particleseg_app.units import Shape


@dataclass(frozen=True)
class ImagingSettings:
    """Amplitudes in units of a usual particle's contrast to the matrix; lengths in voxels."""

    blur: float  # deviation of the scanner's point spread
    coarseness: float  # voxels of the simulated scan per voxel of the scanner's own grid
    noise: float
    reconstruction_noise: float  # share of the noise with the texture of filtered back projection
    axial_noise: float  # blur of the noise along z
    edge_enhancement: float  # phase contrast fringes
    hardening: BeamHardeningSettings | None
    cupping: float  # bowl that is left by a software's correction, without a projection
    rings: float
    stripes: float  # straight lines across slices, from faulty views
    drift: float
    slice_steps: float
    bits: int
    grey_levels: int  # how many of them the scan uses; 0: all
    clipped: tuple[float, float]  # percentages of voxels lost at the dark and the bright end


def random_hardening(rng: np.random.Generator) -> BeamHardeningSettings:
    """Tube, filter and sample of a laboratory scanner, with or without correction by software."""
    corrected = float(rng.choice([0.0, 0.0, rng.uniform(0.4, 1.0), rng.uniform(1.0, 1.3)]))
    return BeamHardeningSettings(
        peak_kv=float(rng.uniform(50, 160)),
        aluminium_mm=log_uniform(rng, 0.2, 6.0),
        depth=log_uniform(rng, 0.15, 4.5),
        photoelectric_level=log_uniform(rng, 0.3, 3.0),
        correction=corrected,
    )


def random_imaging(rng: np.random.Generator, hardened: float = 0.35) -> ImagingSettings:
    """One scanner out of the variety that laboratories have; `hardened` is the chance of that."""
    coarse = rng.random() < 0.45
    hardening = random_hardening(rng) if rng.random() < hardened else None
    bits = int(rng.choice([16, 16, 16, 8]))
    return ImagingSettings(
        blur=log_uniform(rng, 0.45, 1.3) * (1.0 if coarse or rng.random() < 0.7 else 1.6),
        coarseness=float(rng.uniform(1.15, 3.2)) if coarse else 1.0,
        noise=log_uniform(rng, 0.015, 0.32),
        reconstruction_noise=float(rng.uniform(0, 1)),
        axial_noise=float(rng.choice([0.0, 0.4, 0.8])),
        edge_enhancement=float(rng.choice([0.0, 0.0, 0.0, 0.4, 1.0])),
        hardening=hardening,
        cupping=0.0 if hardening else float(rng.choice([0.0, 0.0, 0.0, 0.15, 0.3, -0.15])),
        rings=float(rng.choice([0.0, 0.0, 0.15, 0.5])),
        stripes=log_uniform(rng, 0.04, 0.3) if rng.random() < 0.12 else 0.0,
        drift=float(rng.choice([0.0, 0.03, 0.1])),
        slice_steps=float(rng.choice([0.0, 0.0, 0.0, 0.03, 0.08])),
        bits=bits,
        grey_levels=int(rng.integers(20, 80)) if bits == 8 and rng.random() < 0.4 else 0,
        clipped=(float(rng.choice([0.0, 0.02, 1.0])), float(rng.choice([0.0, 0.02, 1.0]))),
    )


def _scanner_noise(rng: np.random.Generator, shape: Shape, settings: ImagingSettings) -> np.ndarray:
    """Noise of unit deviation: white, mixed with noise coloured by a ramp filter per slice."""
    from scipy import fft, ndimage

    white = rng.standard_normal(shape, dtype=np.float32)
    share = settings.reconstruction_noise
    ky = fft.fftfreq(shape[1])[:, None]
    kx = fft.rfftfreq(shape[2])[None, :]
    k = np.hypot(ky, kx)
    cutoff = rng.uniform(0.25, 0.6)
    window = np.where(k < cutoff, 0.5 + 0.5 * np.cos(np.pi * k / cutoff), 0)
    # Angular power of projection noise falls as 1/k, the ramp filter multiplies k: sqrt(k) is left.
    gain = ((1 - share) + share * 3.0 * np.sqrt(k) * window).astype(np.float32)
    noise = fft.irfft2(fft.rfft2(white, axes=(1, 2)) * gain, s=shape[1:], axes=(1, 2))
    if settings.axial_noise > 0:
        noise = ndimage.gaussian_filter1d(noise, settings.axial_noise, axis=0, mode="nearest")
    return (noise / noise.std()).astype(np.float32)


def _stripes(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Straight lines across slices, as faulty views leave them, over some slices; at most 1."""
    y = np.arange(shape[1], dtype=np.float32)[:, None] - shape[1] / 2
    x = np.arange(shape[2], dtype=np.float32)[None, :] - shape[2] / 2
    stripes = np.zeros(shape, np.float32)
    first = rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(1, 9))):
        # Views that fail follow one another: the lines are nearly parallel.
        angle = first + rng.normal(0, 0.15)
        at, width = rng.uniform(-0.5, 0.5) * max(shape[1:]), rng.uniform(0.5, 1.3)
        distance = (y * np.sin(angle) + x * np.cos(angle) - at) / width
        # The ramp filter leaves a line with dark sides.
        line = (1 - 0.5 * distance**2) * np.exp(-0.25 * distance**2)
        slices = np.exp(
            -0.5 * ((np.arange(shape[0]) - rng.uniform(0, shape[0])) / log_uniform(rng, 2, 60)) ** 2
        )
        strength = np.float32(rng.normal())
        stripes += strength * slices.astype(np.float32)[:, None, None] * line[None]
    strongest = float(np.abs(stripes).max())
    return stripes / strongest if strongest > 1e-9 else stripes


def _rings(rng: np.random.Generator, shape: Shape, axis: tuple[float, float]) -> np.ndarray:
    """Concentric rings about the rotation axis, changing slowly along z; at most 1."""
    y = np.arange(shape[1])[:, None] - axis[0]
    x = np.arange(shape[2])[None, :] - axis[1]
    distance = np.hypot(y, x)
    count = int(distance.max()) + 3
    profile = np.zeros((shape[0], count), np.float32)
    for _ in range(int(rng.integers(3, 25))):
        at, width = rng.uniform(distance.min(), count), rng.uniform(0.5, 1.8)
        line = rng.normal() * np.exp(-0.5 * ((np.arange(count) - at) / width) ** 2)
        profile += line * (1 + 0.6 * smooth_noise(rng, (shape[0], 4), 25)[:, :1])
    low = np.floor(distance).astype(int)
    part = (distance - low).astype(np.float32)
    rings = profile[:, low] * (1 - part) + profile[:, low + 1] * part
    strongest = np.abs(rings).max()
    return (rings / strongest if strongest > 1e-9 else rings).astype(np.float32)


def take_scan(
    rng: np.random.Generator,
    attenuation: np.ndarray,
    axis: tuple[float, float],
    settings: ImagingSettings,
    view: np.ndarray | None = None,
    sample: SampleCylinder | None = None,
    air_level: float = 0.0,
) -> np.ndarray:
    """Grey values (uint16) of the attenuation (z, y, x), seen by a scanner turning about `axis`.

    `view` (1, y, x) is false where the reconstruction is empty. Beam hardening needs the `sample`
    that the scene is part of; its levels count from air as 0, `air_level` is that of the scene.
    """
    from scipy import ndimage

    shape: Shape = attenuation.shape
    error, photons = None, None
    if settings.hardening is not None and sample is not None:
        physical = attenuation - np.float32(air_level)
        error, photons = hardened_beam(physical, sample, settings.hardening)
    # Blurring by half a voxel stands for the partial volume of the hard-edged input.
    blur = np.hypot(0.45, settings.blur * settings.coarseness)
    volume = ndimage.gaussian_filter(attenuation, blur, mode="nearest", truncate=3.0)
    if settings.edge_enhancement > 0:
        wide = ndimage.gaussian_filter(
            volume, 1.3 * settings.coarseness, mode="nearest", truncate=3.0
        )
        volume += settings.edge_enhancement * (volume - wide)
    if error is not None:
        volume += error
    y = (np.arange(shape[1], dtype=np.float32)[:, None] - axis[0]) / shape[1]
    x = (np.arange(shape[2], dtype=np.float32)[None, :] - axis[1]) / shape[2]
    square = (y * y + x * x)[None]
    square = square / max(1e-6, float(square.max()))
    if settings.cupping:
        volume *= 1 + settings.cupping * (square - 0.5)
        volume += 0.5 * settings.cupping * (square - 0.5)
    if settings.rings > 0:
        volume += settings.rings * _rings(rng, shape, axis)
    if settings.stripes > 0:
        volume += settings.stripes * _stripes(rng, shape)
    if settings.drift > 0:
        volume += settings.drift * smooth_noise(rng, shape, rng.uniform(35, 80))
    if settings.slice_steps > 0:
        steps = rng.normal(0, 1, shape[0]) * (rng.random(shape[0]) < 0.3)
        volume += (settings.slice_steps * steps[:, None, None]).astype(np.float32)
    small = shape
    if settings.coarseness > 1:
        small = tuple(max(8, round(n / settings.coarseness)) for n in shape)  # type: ignore[assignment]
        volume = enlarged(volume, small)
    noise = _scanner_noise(rng, small, settings)
    if photons is not None:
        noise *= enlarged(photons, small)
    volume += settings.noise * noise
    if settings.coarseness > 1:
        volume = enlarged(volume, shape)
    return _grey_scale(rng, volume, settings, view)


def _grey_scale(
    rng: np.random.Generator, volume: np.ndarray, settings: ImagingSettings, view: np.ndarray | None
) -> np.ndarray:
    """Attenuations as the integers that the scanner's software would store."""
    lost_low, lost_high = settings.clipped
    low, high = np.percentile(volume[::2, ::2, ::2], [lost_low, 100 - lost_high])
    if lost_low == 0:
        low -= 0.05 * (high - low) * rng.random()
    scaled = np.clip((volume - low) / max(1e-6, float(high - low)), 0, 1)
    if settings.grey_levels > 1:
        scaled = np.round(scaled * (settings.grey_levels - 1)) / (settings.grey_levels - 1)
    if settings.bits == 8:
        grey = np.round(scaled * 255).astype(np.uint16)
    else:
        span = rng.uniform(4000, 60000)
        grey = np.round(scaled * span + rng.uniform(0, 65535 - span)).astype(np.uint16)
    if view is not None:
        grey = np.where(view, grey, 0).astype(np.uint16)
    return grey
