"""Changes of the grey values of one training patch, on the device it lies on.

Each takes a float32 tensor (z, y, x), and gives a changed copy; what it does follows from its
arguments alone. Nothing here waits for the device: extremes and means stay tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.training.axis_maps import (
    along_all_axes,
    along_axis,
    blur_matrix,
    enlarging_matrix,
    resolution_matrix,
)
from particleseg_app.training.hand_over import handed_over

if TYPE_CHECKING:
    import torch

COARSEST = 8  # voxels an edge that a lower resolution leaves at least


def shift_brightness(patch: torch.Tensor, amount: float) -> torch.Tensor:
    return patch + amount


def scale_brightness(patch: torch.Tensor, factor: float) -> torch.Tensor:
    return patch * factor


def change_contrast(patch: torch.Tensor, factor: float, keep_range: bool) -> torch.Tensor:
    """Distances from the mean times `factor`; `keep_range`: clipped to the former extremes."""
    mean = patch.mean()
    changed = (patch - mean) * factor + mean
    return changed.clamp(patch.min(), patch.max()) if keep_range else changed


def change_gamma(
    patch: torch.Tensor, power: float, inverted: bool, keep_statistics: bool
) -> torch.Tensor:
    """Grey values, brought to 0…1, to the given power; `inverted`: those of the negative."""
    values = -patch if inverted else patch
    low, span = _range(values)
    changed = ((values - low) / span) ** power * span + low
    if keep_statistics:
        spread = changed.std(correction=0).clamp(min=1e-7)
        factor = values.std(correction=0) / spread
        changed = (changed - changed.mean()) * factor + values.mean()
    return -changed if inverted else changed


def spot(patch: torch.Tensor, bells: list[np.ndarray]) -> torch.Tensor:
    """A bell in each axis multiplied to a volume of the shape of `patch`."""
    import torch

    volume = torch.ones((1,) * patch.ndim, device=patch.device)
    for axis, bell in enumerate(bells):
        form = [1] * patch.ndim
        form[axis] = len(bell)
        values = handed_over(bell, patch.device)
        volume = volume * values.reshape(form)
    return volume


def add_brightness_gradient(
    patch: torch.Tensor, bells: list[np.ndarray], strength: float
) -> torch.Tensor:
    """A slow drift of the grey values: `strength` times a `spot`."""
    return patch + strength * spot(patch, bells)


def change_gamma_locally(
    patch: torch.Tensor, bells: list[np.ndarray], power: float
) -> torch.Tensor:
    """`change_gamma` in a `spot`, fading out around it."""
    low, span = _range(patch)
    unit = (patch - low) / span
    return unit.lerp(unit**power, spot(patch, bells).expand_as(unit)) * span + low


def vary_locally(patch: torch.Tensor, coarse: np.ndarray, contrast: bool) -> torch.Tensor:
    """Brightness, or `contrast`, that drifts by 15 % of a field given on a coarse grid."""
    field = along_all_axes(
        handed_over(coarse, patch.device),
        [enlarging_matrix(m, n) for m, n in zip(coarse.shape, patch.shape, strict=True)],
    )
    field = (field - field.mean()) / field.std(correction=0).clamp(min=1e-7)
    return patch * (1 + 0.15 * field) if contrast else patch + 0.15 * field


def blur(patch: torch.Tensor, sigma: float, truncate: float = 4.0) -> torch.Tensor:
    """A Gaussian of `sigma` voxels along each axis, cut off after `truncate` of them."""
    return along_all_axes(patch, [blur_matrix(n, sigma, truncate) for n in patch.shape])


def blur_one_axis(patch: torch.Tensor, axis: int, sigma: float) -> torch.Tensor:
    """`patch` as a scanner shows it that resolves less along one axis, as helical ones do."""
    return along_axis(patch, blur_matrix(patch.shape[axis], sigma, 3.0), axis)


def lower_resolution(patch: torch.Tensor, zoom: float) -> torch.Tensor:
    """`patch` as sampled on a grid coarser by `zoom` < 1, at its former size."""
    zoom = max(COARSEST, round(patch.shape[0] * zoom)) / patch.shape[0]
    return along_all_axes(patch, [resolution_matrix(n, round(n * zoom)) for n in patch.shape])


def counted_photons(patch: torch.Tensor) -> torch.Tensor:
    """Strength of noise that grows with the root of the brightness, 1 on average."""
    low, span = _range(patch)
    strength = ((patch - low) / span + 0.05).sqrt()
    return strength / strength.mean()


def _range(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = values.aminmax()
    return low, (high - low).clamp(min=1e-3)
