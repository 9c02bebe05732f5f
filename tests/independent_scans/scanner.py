"""A small parallel-beam scanner with a polychromatic source, for cupping and streaks.

Each slice is projected along many directions, the beam of several energies is weakened, photons
are counted, and the logarithm is reconstructed by filtered back projection as if the beam had one
energy. Everything beam hardening does to a picture follows from that.
"""

from __future__ import annotations

import numpy as np
import torch

# Share of the photons, and how strongly light and dense matter weaken them, per energy.
SPECTRUM = ((0.35, 1.7, 2.6), (0.40, 1.0, 1.0), (0.25, 0.7, 0.4))


def scanned(
    random: np.random.Generator,
    light: np.ndarray,
    dense: np.ndarray,
    photons: float,
    angles: int = 220,
    smoothing: float = 0.6,
) -> np.ndarray:
    """The reconstruction (z, y, x) float32 of two attenuation maps, in units of their own scale.

    `light`, `dense`: attenuation per voxel of matter whose attenuation depends weakly or strongly
    on the energy, square in (y, x), nothing outside the inscribed circle. `photons`: per ray.
    `smoothing`: of the reconstruction filter, in detector pixels.
    """
    maps = torch.from_numpy(np.stack([light, dense]).astype(np.float32))
    _, depth, width, _ = maps.shape
    flat = maps.reshape(1, 2 * depth, width, width)
    thetas = np.arange(angles) * np.pi / angles
    sinogram = np.empty((angles, depth, width), np.float32)
    for index, theta in enumerate(thetas):
        paths = _turned(flat, theta).sum(2).reshape(2, depth, width).numpy().astype(np.float64)
        arriving = sum(
            share * np.exp(-weak * paths[0] - strong * paths[1]) for share, weak, strong in SPECTRUM
        )
        counted = random.poisson(photons * arriving)
        sinogram[index] = -np.log(np.maximum(counted, 1) / photons)
    return _back_projected(_filtered(sinogram, smoothing), thetas)


def _turned(pictures: torch.Tensor, theta: float) -> torch.Tensor:
    """Pictures (1, n, y, x) turned in their plane."""
    c, s = float(np.cos(theta)), float(np.sin(theta))
    matrix = torch.tensor([[[c, -s, 0.0], [s, c, 0.0]]])
    size = [1, 1, *pictures.shape[2:]]
    grid = torch.nn.functional.affine_grid(matrix, size, align_corners=True)
    return torch.nn.functional.grid_sample(pictures, grid, align_corners=True)


def _filtered(sinogram: np.ndarray, smoothing: float) -> np.ndarray:
    """The ramp filter with a Gaussian roll-off along the detector (the last axis)."""
    width = sinogram.shape[-1]
    padded = 2 * width
    position = np.rint(np.fft.fftfreq(padded) * padded)
    ramp = np.zeros(padded)
    ramp[0] = 0.25
    odd = position.astype(int) % 2 == 1
    ramp[odd] = -1 / (np.pi * position[odd]) ** 2
    frequency = np.fft.rfftfreq(padded)
    window = np.exp(-2 * (np.pi * frequency * smoothing) ** 2)
    response = np.fft.rfft(ramp).real * window
    spectrum = np.fft.rfft(sinogram, padded, axis=-1) * response
    return np.fft.irfft(spectrum, padded, axis=-1)[..., :width].astype(np.float32)


def _back_projected(sinogram: np.ndarray, thetas: np.ndarray) -> np.ndarray:
    _, depth, width = sinogram.shape
    axis = np.linspace(-1, 1, width)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    total = torch.zeros((1, depth, width, width))
    for index, theta in enumerate(thetas):
        # Where a pixel falls on the detector; `_turned` projects along the turned y axis.
        along = torch.from_numpy((x * np.cos(theta) + y * np.sin(theta)).astype(np.float32))
        grid = torch.stack([along, torch.zeros_like(along)], dim=-1)[None]
        line = torch.from_numpy(sinogram[index])[None, :, None, :]
        total += torch.nn.functional.grid_sample(line, grid, align_corners=True)
    return (total[0] * (np.pi / len(thetas))).numpy()
