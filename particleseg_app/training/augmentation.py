"""Changes to training patches: orientation and the stronger grey-value changes of 000 §4.2."""

from __future__ import annotations

import numpy as np

from particleseg_app.training.random_fields import log_uniform, smooth_noise


def random_orientation(rng: np.random.Generator, *volumes: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same random mirroring and axis exchange for volumes of one cubic shape."""
    axes = rng.permutation(3)
    flips = rng.random(3) < 0.5
    result = []
    for volume in volumes:
        turned = np.transpose(volume, axes)
        turned = turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
        result.append(np.ascontiguousarray(turned))
    return tuple(result)


def _gamma(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    low, high = float(patch.min()), float(patch.max())
    span = max(1e-3, high - low)
    unit = np.clip((patch - low) / span, 0, 1)
    power = log_uniform(rng, 0.6, 1.7)
    if rng.random() < 0.3:  # of the inverted patch
        return (1 - (1 - unit) ** power) * span + low
    return unit**power * span + low


def _gradient(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    ramps = np.ogrid[tuple(slice(-0.5, 0.5, n * 1j) for n in patch.shape)]
    ramp = sum(d * r for d, r in zip(direction, ramps, strict=True))
    return patch + (rng.normal(0, 0.5) * ramp).astype(np.float32)


def _lower_resolution(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    small = max(8, round(patch.shape[0] * rng.uniform(0.5, 0.9)))
    zoom = small / patch.shape[0]
    reduced = ndimage.zoom(patch, zoom, order=1, mode="nearest", grid_mode=True)
    back = [n / m for n, m in zip(patch.shape, reduced.shape, strict=True)]
    return ndimage.zoom(reduced, back, order=1, mode="nearest", grid_mode=True)


def random_grey_values(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    """A normalised patch (float32, z y x) as another scanner might have shown it."""
    from scipy import ndimage

    patch = patch.astype(np.float32)
    if rng.random() < 0.12:
        sigma = rng.uniform(0.4, 1.1)
        patch = ndimage.gaussian_filter(patch, sigma, mode="nearest", truncate=3.0)
    if rng.random() < 0.1:
        patch = _lower_resolution(rng, patch)
    if rng.random() < 0.25:
        patch = _gamma(rng, patch)
    if rng.random() < 0.15:
        patch = _gradient(rng, patch)
    if rng.random() < 0.12:  # local brightness and contrast
        field = smooth_noise(rng, patch.shape, rng.uniform(12, 40))
        patch = patch * (1 + 0.15 * field) if rng.random() < 0.5 else patch + 0.15 * field
    if rng.random() < 0.25:
        noise = rng.standard_normal(patch.shape, dtype=np.float32)
        if rng.random() < 0.3:
            noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 0.9), mode="nearest")
            noise /= noise.std()
        patch = patch + np.float32(rng.uniform(0, 0.3)) * noise
    # The statistics of a scan depend on how much air and wall are in the picture.
    scale = np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.15:
        scale *= log_uniform(rng, 0.5, 1.5)
    return (patch * scale + rng.normal(0, 0.25)).astype(np.float32)
