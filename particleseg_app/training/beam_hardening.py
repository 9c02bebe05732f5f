"""Beam hardening from a polychromatic forward model: cupping, and streaks between dense grains.

Each slice is projected by parallel beams twice, once for the photoelectric and once for the Compton
part of its attenuation (Alvarez and Macovski 1976). The detector sums the intensities of a tungsten
spectrum, so −log of the sum is not proportional to the path (Brooks and Di Chiro 1976). Filtered
back projection of the difference to a single energy gives the error that the scan shows. Only that
error is computed, on a coarser grid, and added to the sharp volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from particleseg_app.training.random_fields import enlarged

PLANE_STEP = 2  # voxels of the scan per pixel of the projected slice
AXIAL_STEP = 3  # every so many slices one is projected, their mean
EMPTY_SLICE = 0.05  # of what the fullest slice attenuates
ENERGIES = 8
LOWEST_KEV = 12.0
ELECTRON_KEV = 511.0
TUNGSTEN_K_EDGE_KEV = 69.5
TUNGSTEN_K_ALPHA_KEV = 59.3
# Linear attenuation of aluminium per mm: photoelectric and Compton share at 30 keV, within 2 % of
# the NIST tables at 30, 60 and 100 keV.
ALUMINIUM_PER_MM = (0.254, 0.0477)


@dataclass(frozen=True)
class BeamHardeningSettings:
    """Tube, sample and software; levels are attenuations of the scene with air at 0."""

    peak_kv: float  # tube voltage
    aluminium_mm: float  # filter in the beam
    depth: float  # −log of the transmission along the densest path, at the mean energy
    photoelectric_level: float  # attenuation half of which is photoelectric
    correction: float = 0.0  # linearisation by the software for the mean material; 1: full


@dataclass(frozen=True)
class SampleCylinder:
    """The whole sample that the scene is cut from: layers about an axis along z, in voxels.

    `radii` are the outer radii of the layers from the inside out, `levels` the attenuations of all
    layers but the first, whose level is the mean of what the scene shows of it. Beyond is air.
    """

    axis_y: float
    axis_x: float
    radii: tuple[float, ...]
    levels: tuple[float, ...] = ()


def klein_nishina(energy: np.ndarray | float) -> np.ndarray:
    """Total Compton cross section per electron at `energy` keV, relative to Thomson's."""
    a = np.asarray(energy, float) / ELECTRON_KEV
    log = np.log1p(2 * a)
    first = (1 + a) / a**2 * (2 * (1 + a) / (1 + 2 * a) - log / a)
    return np.asarray(0.75 * (first + log / (2 * a) - (1 + 3 * a) / (1 + 2 * a) ** 2))


def tube_spectrum(settings: BeamHardeningSettings) -> tuple[np.ndarray, np.ndarray]:
    """Energies in keV and the share of the detector's signal that each brings; two (n,) arrays.

    Kramers' law with the tungsten K lines, behind the aluminium filter, on a detector whose signal
    is the energy it takes up.
    """
    edges = np.linspace(LOWEST_KEV, settings.peak_kv, ENERGIES + 1)
    energies = (edges[1:] + edges[:-1]) / 2
    signal = settings.peak_kv - energies  # photons (peak / E − 1) times the energy of each
    if settings.peak_kv > TUNGSTEN_K_EDGE_KEV:
        line = 0.6 * (settings.peak_kv / TUNGSTEN_K_EDGE_KEV - 1) ** 1.6 * settings.peak_kv
        signal[np.argmin(np.abs(energies - TUNGSTEN_K_ALPHA_KEV))] += min(line, signal.sum() / 4)
    photoelectric, compton = ALUMINIUM_PER_MM
    per_mm = photoelectric * (30 / energies) ** 3
    per_mm = per_mm + compton * klein_nishina(energies) / klein_nishina(30.0)
    signal = signal * np.exp(-per_mm * settings.aluminium_mm)
    return energies, signal / signal.sum()


def energy_factors(energies: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Photoelectric and Compton attenuation at each energy over that at the mean one; (2, n)."""
    mean = float((energies * weights).sum())
    return np.stack([(mean / energies) ** 3, klein_nishina(energies) / klein_nishina(mean)])


@njit(cache=True)
def project(image: np.ndarray, angles: np.ndarray, bins: int, centre: tuple[float, float],
            offset: float) -> np.ndarray:  # fmt: skip
    """Parallel projections of `image` (materials, y, x) in pixel lengths; (materials, angle, bin).

    Bin b is the line at distance b − `offset` from `centre`. Along each line, values are
    interpolated in every row or column, whichever it crosses more steeply (Joseph 1982).
    """
    materials, rows, columns = image.shape
    result = np.zeros((materials, len(angles), bins), np.float32)
    reach = 0.5 * np.sqrt(float(rows * rows + columns * columns)) + 1
    first = max(0, int(np.floor(offset - reach)))
    last = min(bins, int(np.ceil(offset + reach)) + 1)
    for a in range(len(angles)):
        sine, cosine = np.sin(angles[a]), np.cos(angles[a])
        steep = abs(cosine) >= abs(sine)
        along, across = (cosine, sine) if steep else (sine, cosine)
        count, width = (rows, columns) if steep else (columns, rows)
        mid_count, mid_width = (centre[0], centre[1]) if steep else (centre[1], centre[0])
        length = 1.0 / abs(along)
        for b in range(first, last):
            for i in range(count):
                at = (b - offset - (i - mid_count) * across) / along + mid_width
                low = int(np.floor(at))
                if low < -1 or low >= width:
                    continue
                part = at - low
                for m in range(materials):
                    value = 0.0
                    if low >= 0:
                        value += (1 - part) * (image[m, i, low] if steep else image[m, low, i])
                    if low + 1 < width:
                        value += part * (image[m, i, low + 1] if steep else image[m, low + 1, i])
                    result[m, a, b] += value * length
    return result


@njit(cache=True)
def back_project(filtered: np.ndarray, angles: np.ndarray, shape: tuple[int, int],
                 centre: tuple[float, float], offset: float) -> np.ndarray:  # fmt: skip
    """Sum over all angles of the `filtered` projections (angle, bin) at every pixel; (y, x)."""
    result = np.zeros(shape, np.float32)
    bins = filtered.shape[1]
    for a in range(len(angles)):
        sine, cosine = np.sin(angles[a]), np.cos(angles[a])
        for y in range(shape[0]):
            start = (y - centre[0]) * sine - centre[1] * cosine + offset
            for x in range(shape[1]):
                at = start + x * cosine
                low = int(np.floor(at))
                if low < 0 or low + 1 >= bins:
                    continue
                part = at - low
                result[y, x] += filtered[a, low] * (1 - part) + filtered[a, low + 1] * part
    return result * np.float32(np.pi / len(angles))


@njit(cache=True)
def polychromatic(photoelectric: np.ndarray, compton: np.ndarray, factors: np.ndarray,
                  weights: np.ndarray) -> np.ndarray:  # fmt: skip
    """−log of the detector signal behind the two line integrals (any equal shapes)."""
    result = np.empty_like(photoelectric)
    flat, first, second = result.ravel(), photoelectric.ravel(), compton.ravel()
    for i in range(len(first)):
        signal = 0.0
        for k in range(len(weights)):
            signal += weights[k] * np.exp(-factors[0, k] * first[i] - factors[1, k] * second[i])
        flat[i] = -np.log(signal)
    return result


def ramp_filtered(projections: np.ndarray) -> np.ndarray:
    """Rows of `projections` (angle, bin) filtered by a ramp with a Hann window; same shape."""
    from scipy import fft

    bins = projections.shape[1]
    size = fft.next_fast_len(2 * bins, real=True)
    kernel = np.zeros(size)
    kernel[0] = 0.25
    odd = np.arange(1, bins, 2)
    kernel[odd] = kernel[size - odd] = -1 / (np.pi * odd) ** 2  # Kak and Slaney, equation 3.61
    gain = fft.rfft(kernel).real * (0.5 + 0.5 * np.cos(2 * np.pi * fft.rfftfreq(size)))
    spectrum = fft.rfft(projections, size, axis=1) * gain.astype(np.float32)
    return np.asarray(fft.irfft(spectrum, size, axis=1)[:, :bins], np.float32)


def _coarse(volume: np.ndarray, steps: tuple[int, int, int]) -> np.ndarray:
    """Means of blocks of `steps` voxels; the last, shorter blocks repeat the outermost voxels."""
    pad = [(0, -size % step) for size, step in zip(volume.shape, steps, strict=True)]
    padded = np.pad(volume, pad, mode="edge")
    shape = [part for size, step in zip(padded.shape, steps, strict=True)
             for part in (size // step, step)]  # fmt: skip
    return np.asarray(padded.reshape(shape).mean(axis=(1, 3, 5)), np.float32)


def _layers(sample: SampleCylinder, steps: int, shape: tuple[int, int]) -> tuple[
    np.ndarray, np.ndarray, tuple[float, float]
]:  # fmt: skip
    """Radii in pixels, share of each pixel within each radius (n, y, x), axis in pixels."""
    axis = ((sample.axis_y + 0.5) / steps - 0.5, (sample.axis_x + 0.5) / steps - 0.5)
    radii = np.array(sample.radii) / steps
    y = np.arange(shape[0])[:, None] - axis[0]
    x = np.arange(shape[1])[None, :] - axis[1]
    within = np.clip(radii[:, None, None] - np.hypot(y, x)[None] + 0.5, 0, 1)
    return radii, within.astype(np.float32), axis


def _measured_slice(level: np.ndarray) -> int:
    """The slice (of z, y, x) from which the beam's depth is set: the middle one, unless it is all
    but empty. To see as much there as in a full one the beam would be made far too soft."""
    content = level.sum((1, 2))
    middle = len(content) // 2
    return middle if content[middle] >= EMPTY_SLICE * content.max() else int(np.argmax(content))


def _two_parts(level: np.ndarray, half: float) -> np.ndarray:
    """Photoelectric and Compton part of attenuations: dense matter is mostly photoelectric."""
    share = level / (level + np.float32(half))
    return np.stack([level * share, level * (1 - share)])


def _linearised(measured: np.ndarray, mix: np.ndarray, factors: np.ndarray, weights: np.ndarray,
                strength: float) -> np.ndarray:  # fmt: skip
    """Projections after the software's correction for one material of the given `mix` (2,)."""
    path = np.linspace(0, 3 * float(measured.max()) + 1, 400, dtype=np.float32)
    seen = polychromatic(path * mix[0], path * mix[1], factors, weights)
    straight = path * seen[1] / path[1]
    return measured + np.float32(strength) * (
        np.interp(measured, seen, straight).astype(np.float32) - measured
    )


def hardened_beam(
    attenuation: np.ndarray, sample: SampleCylinder, settings: BeamHardeningSettings
) -> tuple[np.ndarray, np.ndarray]:
    """What a polychromatic beam does to a scene of given `attenuation` (z, y, x; air is 0).

    Returns the error that it adds to the attenuation (float32, same shape and unit) and the local
    deviation of photon noise on the coarse grid, 1 where it is strongest. The scene may be a small
    part of the `sample`: beyond the scene, each layer of the sample is taken as uniform, so a small
    scene sees the cupping of the whole.
    """
    steps = (AXIAL_STEP, PLANE_STEP, PLANE_STEP)
    level = np.maximum(_coarse(attenuation, steps), 0)
    parts = _two_parts(level, settings.photoelectric_level)  # (2, z, y, x)
    shape = (level.shape[1], level.shape[2])
    radii, within, axis = _layers(sample, PLANE_STEP, shape)
    outer = _two_parts(np.array(sample.levels, np.float32), settings.photoelectric_level)
    energies, weights = tube_spectrum(settings)
    factors = energy_factors(energies, weights)
    angles = np.arange(round(1.5 * max(shape))) * np.pi / round(1.5 * max(shape))
    centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    # Distance of the axis from the centre of the scene, seen from each angle.
    shift = (axis[0] - centre[0]) * np.sin(angles) + (axis[1] - centre[1]) * np.cos(angles)
    reach = max(float(radii[-1] + np.abs(shift).max()), 0.5 * float(np.hypot(*shape)))
    offset = float(np.ceil(reach)) + 2
    bins = int(2 * offset) + 1
    from_axis = np.arange(bins)[None] - offset - shift[:, None]
    chords = 2 * np.sqrt(np.maximum(radii[:, None, None] ** 2 - from_axis[None] ** 2, 0))

    weight = np.maximum(within[0], 1e-6)
    contents = (parts * weight).sum((2, 3)) / weight.sum()  # (2, z)
    error, variance = np.zeros(level.shape, np.float32), np.zeros(level.shape, np.float32)
    scale = gain = 0.0
    for z in (_measured_slice(level), *range(level.shape[0])):
        # Attenuation added on entering each layer from outside: its own less that of the next.
        steps_up = np.concatenate([contents[:, z, None], outer], 1)
        steps_up = steps_up - np.concatenate([steps_up[:, 1:], np.zeros((2, 1))], 1)
        uniform = np.tensordot(steps_up, within, 1)
        lines = np.tensordot(steps_up, chords, 1).astype(np.float32)
        lines += project(parts[:, z] - uniform.astype(np.float32), angles, bins, centre, offset)
        lines = np.maximum(lines, 0)
        if not scale:
            scale = settings.depth / max(float(lines.sum(0).max()), 1e-6)
            mix = contents[:, z] / max(float(contents[:, z].sum()), 1e-6)
        lines *= np.float32(scale)
        total = lines[0] + lines[1]
        seen = polychromatic(lines[0], lines[1], factors, weights)
        # −log of n photons has the variance 1 / n, and back projection adds up variances.
        variance[z] = back_project(np.exp(seen), angles, shape, centre, offset)
        if settings.correction:
            seen = _linearised(seen, mix.astype(np.float32), factors, weights, settings.correction)
        if not gain:
            # The grey scale has no absolute zero of energy: one factor for the volume is free.
            gain = max(float((seen * total).sum() / max((total * total).sum(), 1e-9)), 1e-6)
        filtered = ramp_filtered((seen / np.float32(gain) - total) / np.float32(scale))
        error[z] = back_project(filtered, angles, shape, centre, offset)
    whole = [size * step for size, step in zip(error.shape, steps, strict=True)]
    full = enlarged(error, whole)[tuple(slice(0, size) for size in attenuation.shape)]
    return full, np.sqrt(np.minimum(1, variance / np.percentile(variance, 95)))
