"""Changes to training patches: orientation and the stronger grey-value changes of 000 §4.2.

Two strengths: `vary_patch` for the compact recipe, whose simulated scans already differ in noise,
blur and drift, and `vary_patch_as_published` with the figures of the published training
(github.com/MIC-DKFZ/nnUNet, branch ParticleSeg3D, named in 000 §4.2). All changes depend on the
given generator alone, so a training that was stopped sees the same patches again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from particleseg_app.training.random_fields import log_uniform, smooth_noise

# Generator, grey values and encoded target (both edge³) → changed copies of the two.
Augmentation = Callable[
    [np.random.Generator, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]
]


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


def turned_and_scaled(
    rng: np.random.Generator,
    grey: np.ndarray,
    target: np.ndarray,
    most_degrees: float = 30.0,
    scales: tuple[float, float] = (0.7, 1.4),
) -> tuple[np.ndarray, np.ndarray]:
    """nnU-Net's rotation about the three axes and scaling, each with a chance of 0.2.

    Grey values by linear interpolation, the target by the nearest voxel; what comes in from beyond
    the patch is its mirror image.
    """
    from scipy import ndimage

    turn, scale = rng.random() < 0.2, rng.random() < 0.2
    if not turn and not scale:
        return grey, target
    matrix = np.eye(3)
    if turn:
        for axis, angle in enumerate(np.deg2rad(rng.uniform(-most_degrees, most_degrees, 3))):
            one, other = (a for a in range(3) if a != axis)
            rotation = np.eye(3)
            rotation[one, one] = rotation[other, other] = np.cos(angle)
            rotation[one, other], rotation[other, one] = -np.sin(angle), np.sin(angle)
            matrix = matrix @ rotation
    if scale:
        matrix = matrix / log_uniform(rng, *scales)
    centre = (np.array(grey.shape) - 1) / 2
    offset = centre - matrix @ centre
    grey = ndimage.affine_transform(
        grey.astype(np.float32), matrix, offset, order=1, mode="reflect"
    )
    return grey, ndimage.affine_transform(target, matrix, offset, order=0, mode="reflect")


def shift_brightness(patch: np.ndarray, amount: float) -> np.ndarray:
    return patch + np.float32(amount)


def scale_brightness(patch: np.ndarray, factor: float) -> np.ndarray:
    return patch * np.float32(factor)


def change_contrast(patch: np.ndarray, factor: float, keep_range: bool) -> np.ndarray:
    """Distances from the mean times `factor`; `keep_range`: clipped to the former extremes."""
    mean = np.float32(patch.mean())
    changed = (patch - mean) * np.float32(factor) + mean
    return np.clip(changed, patch.min(), patch.max()) if keep_range else changed


def change_gamma(
    patch: np.ndarray, power: float, inverted: bool, keep_statistics: bool
) -> np.ndarray:
    """Grey values, brought to 0…1, to the given power; `inverted`: those of the negative."""
    values = -patch if inverted else patch
    low, span = _range(values)
    changed = ((values - low) / span) ** np.float32(power) * span + low
    if keep_statistics:
        spread = max(1e-7, float(changed.std()))
        changed = (changed - changed.mean()) * np.float32(values.std() / spread) + values.mean()
    return -changed if inverted else changed


def random_spot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A Gaussian bell at a random place in or near the patch; float32, its largest value 1.

    Standard deviations between a sixth of the edge and the edge, the centre up to half an edge
    outside.
    """
    spot = np.ones((1,) * len(shape), np.float32)
    for axis, length in enumerate(shape):
        width = log_uniform(rng, max(1, length // 6), length)
        away = (np.arange(length) - rng.uniform(-0.5, 1.5) * length) / width
        form = [1] * len(shape)
        form[axis] = length
        # Exponents relative to the nearest voxel: a far bell must not vanish altogether.
        bell = np.exp(-0.5 * (away**2 - (away**2).min()))
        spot = spot * bell.reshape(form).astype(np.float32)
    return spot


def add_brightness_gradient(
    rng: np.random.Generator, patch: np.ndarray, strength: float
) -> np.ndarray:
    """A slow drift of the grey values: `strength` times a `random_spot`."""
    return patch + np.float32(strength) * random_spot(rng, patch.shape)


def change_gamma_locally(rng: np.random.Generator, patch: np.ndarray, power: float) -> np.ndarray:
    """`change_gamma` in a `random_spot`, fading out around it."""
    low, span = _range(patch)
    unit = (patch - low) / span
    spot = random_spot(rng, patch.shape)
    return ((1 - spot) * unit + spot * unit ** np.float32(power)) * span + low


def lower_resolution(patch: np.ndarray, zoom: float) -> np.ndarray:
    """`patch` as sampled on a grid coarser by `zoom` < 1, at its former size."""
    from scipy import ndimage

    zoom = max(8, round(patch.shape[0] * zoom)) / patch.shape[0]
    reduced = ndimage.zoom(patch, zoom, order=1, mode="nearest", grid_mode=True)
    back = [n / m for n, m in zip(patch.shape, reduced.shape, strict=True)]
    return ndimage.zoom(reduced, back, order=1, mode="nearest", grid_mode=True)


def blur_one_axis(patch: np.ndarray, axis: int, sigma: float) -> np.ndarray:
    """`patch` as a scanner shows it that resolves less along one axis, as helical ones do."""
    from scipy import ndimage

    return np.asarray(
        ndimage.gaussian_filter1d(patch, sigma, axis=axis, mode="nearest", truncate=3.0)
    )


def counted_photons(patch: np.ndarray) -> np.ndarray:
    """Strength of noise that grows with the root of the brightness, 1 on average."""
    low, span = _range(patch)
    strength = np.sqrt((patch - low) / span + np.float32(0.05))
    return np.asarray(strength / strength.mean(), np.float32)


def random_grey_values(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    """A normalised patch (float32, z y x) as another scanner might have shown it."""
    from scipy import ndimage

    patch = patch.astype(np.float32)
    if rng.random() < 0.12:
        sigma = rng.uniform(0.4, 1.1)
        patch = ndimage.gaussian_filter(patch, sigma, mode="nearest", truncate=3.0)
    if rng.random() < 0.1:
        patch = lower_resolution(patch, rng.uniform(0.5, 0.9))
    if rng.random() < 0.1:
        patch = blur_one_axis(patch, int(rng.integers(3)), rng.uniform(0.8, 2.5))
    if rng.random() < 0.25:
        patch = change_gamma(patch, log_uniform(rng, 0.6, 1.7), rng.random() < 0.3, False)
    if rng.random() < 0.15:
        patch = add_brightness_gradient(rng, patch, rng.normal(0, 0.5))
    if rng.random() < 0.1:
        patch = change_gamma_locally(rng, patch, log_uniform(rng, 0.4, 2.5))
    if rng.random() < 0.12:  # local brightness and contrast
        field = smooth_noise(rng, patch.shape, rng.uniform(12, 40))
        patch = patch * (1 + 0.15 * field) if rng.random() < 0.5 else patch + 0.15 * field
    if rng.random() < 0.25:
        noise = rng.standard_normal(patch.shape, dtype=np.float32)
        if rng.random() < 0.3:
            noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 0.9), mode="nearest")
            noise /= noise.std()
        if rng.random() < 0.3:
            noise *= counted_photons(patch)
        patch = patch + np.float32(rng.uniform(0, 0.3)) * noise
    # The statistics of a scan depend on how much air and wall are in the picture.
    scale = np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.15:
        scale *= log_uniform(rng, 0.5, 1.5)
    return shift_brightness(scale_brightness(patch, scale), rng.normal(0, 0.25)).astype(np.float32)


def published_grey_values(rng: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    """Grey-value changes with the ranges and chances of the published training (000 §4.2).

    Noise, blur and lower resolution are nnU-Net's own; brightness, contrast, gamma, brightness
    gradient and local gamma are the stronger ones. float32, same shape.
    """
    from scipy import ndimage

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    patch = patch.astype(np.float32)
    if chance(0.1):
        noise = rng.standard_normal(patch.shape, dtype=np.float32)
        patch = patch + np.float32(rng.uniform(0, 0.1)) * noise
    if chance(0.2 * 0.5):
        patch = ndimage.gaussian_filter(patch, rng.uniform(0.5, 1.0), mode="nearest")
    if chance(0.15):
        patch = scale_brightness(patch, rng.uniform(0.75, 1.25))
    if chance(0.1 * 0.5):
        patch = shift_brightness(patch, rng.normal(0, 0.5))
    if chance(0.2 * 0.5):
        factor = rng.uniform(0.5, 1) if chance(0.5) else rng.uniform(1, 2)
        patch = change_contrast(patch, factor, keep_range=chance(0.5))
    if chance(0.25 * 0.5):
        patch = lower_resolution(patch, rng.uniform(0.5, 1))
    for _ in range(2):
        if chance(0.1):
            power = rng.uniform(0.7, 1) if chance(0.5) else rng.uniform(1, 1.5)
            patch = change_gamma(patch, power, inverted=True, keep_statistics=True)
    if chance(0.3 * 0.5):
        strength = rng.uniform(1, 5) * (1 if chance(0.5) else -1)
        patch = add_brightness_gradient(rng, patch, strength)
    if chance(0.3 * 0.5):
        power = rng.uniform(0.01, 0.8) if chance(0.5) else rng.uniform(1.5, 4)
        patch = change_gamma_locally(rng, patch, power)
    return patch.astype(np.float32)


def vary_patch(
    rng: np.random.Generator, grey: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Orientation and grey values of the compact recipe; both volumes edge³."""
    grey, target = random_orientation(rng, grey, target)
    return random_grey_values(rng, grey), target


def vary_patch_as_published(
    rng: np.random.Generator, grey: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation, scaling, orientation and grey values of the paper's recipe; both volumes edge³."""
    grey, target = turned_and_scaled(rng, grey, target)
    grey, target = random_orientation(rng, grey, target)
    return published_grey_values(rng, grey), target


def _range(values: np.ndarray) -> tuple[np.float32, np.float32]:
    low, high = float(values.min()), float(values.max())
    return np.float32(low), np.float32(max(1e-3, high - low))
