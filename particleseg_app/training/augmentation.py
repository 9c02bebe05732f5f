"""Changes to training patches: orientation and the stronger grey-value changes of 000 §4.2.

Two strengths: `vary_patches` for the compact recipe, whose simulated scans already differ in noise,
blur and drift, and `vary_patches_as_published` with the figures of the published training
(github.com/MIC-DKFZ/nnUNet, branch ParticleSeg3D, named in 000 §4.2). Both work on the device that
trains, and depend on the given `Randomness` alone, so a training that was stopped sees the same
patches again. Each patch is changed by itself: a change befalls one in four at most, so that there
is nothing to gain from making it in many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.training import grey_changes
from particleseg_app.training.hand_over import handed_over
from particleseg_app.training.random_fields import coarse_noise, log_uniform

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Randomness:
    """Where random numbers come from: single ones here, those of whole volumes on the device.

    The same seed gives the same numbers on one kind of device; noise differs between kinds.
    """

    numbers: np.random.Generator
    voxels: torch.Generator

    @staticmethod
    def of(seed: Sequence[int], device: torch.device | str) -> Randomness:
        import torch

        numbers = np.random.default_rng(list(seed))
        voxels = torch.Generator(device)
        voxels.manual_seed(int(numbers.integers(2**62)))
        return Randomness(numbers, voxels)

    def noise(self, like: torch.Tensor) -> torch.Tensor:
        """Independent normal values of the shape of `like`."""
        import torch

        return torch.randn(like.shape, generator=self.voxels, device=like.device)


# Grey values (n, 1, z, y, x) and encoded target (n, z, y, x) → changed copies, float32 and uint8.
Augmentation = Callable[
    [Randomness, "torch.Tensor", "torch.Tensor"], tuple["torch.Tensor", "torch.Tensor"]
]


@dataclass(frozen=True)
class Orientation:
    """One of the 48 ways to lay a cube on the axes: exchanged, then mirrored."""

    axes: tuple[int, int, int]
    mirrored: tuple[int, ...]

    @staticmethod
    def random(rng: np.random.Generator) -> Orientation:
        z, y, x = (int(axis) for axis in rng.permutation(3))
        flips = rng.random(3) < 0.5
        return Orientation((z, y, x), tuple(int(axis) for axis in np.flatnonzero(flips)))

    def of(self, volume: torch.Tensor) -> torch.Tensor:
        """`volume`, whose last three axes are those of a cube, laid so."""
        first = volume.ndim - 3
        turned = volume.permute(*range(first), *(first + axis for axis in self.axes))
        return turned.flip([first + axis for axis in self.mirrored])

    def undone(self, cube: np.ndarray) -> np.ndarray:
        """What `of` made of a cube (z, y, x), laid as it was before."""
        return np.transpose(np.flip(cube, self.mirrored), np.argsort(self.axes))


def random_orientations(
    rng: np.random.Generator, grey: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each patch of a batch mirrored and its axes exchanged at random, grey and target alike."""
    import torch

    turns = [Orientation.random(rng) for _ in range(len(grey))]
    return (
        torch.stack([turn.of(one) for turn, one in zip(turns, grey, strict=True)]),
        torch.stack([turn.of(one) for turn, one in zip(turns, target, strict=True)]),
    )


def turned_and_scaled(
    rng: np.random.Generator,
    grey: torch.Tensor,
    target: torch.Tensor,
    most_degrees: float = 30.0,
    scales: tuple[float, float] = (0.7, 1.4),
) -> tuple[torch.Tensor, torch.Tensor]:
    """nnU-Net's rotation about the three axes and scaling of one patch, each with a chance of 0.2.

    Cubes (z, y, x). Grey values by linear interpolation, the target by the nearest voxel; what
    comes in from beyond the patch is its mirror image.
    """
    from torch.nn import functional

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
    # torch names the axes x, y, z, and measures from the middle.
    theta = np.concatenate([matrix[::-1, ::-1], np.zeros((3, 1))], axis=1)[None]
    places = functional.affine_grid(
        handed_over(theta, grey.device),
        [1, 1, *grey.shape],
        align_corners=False,
    )

    def moved(volume: torch.Tensor, mode: str) -> torch.Tensor:
        return functional.grid_sample(
            volume[None, None].float(), places, mode, "reflection", align_corners=False
        )[0, 0]

    return moved(grey, "bilinear"), moved(target, "nearest").to(target.dtype)


def random_bells(rng: np.random.Generator, shape: Sequence[int]) -> list[np.ndarray]:
    """A Gaussian bell for each axis, the largest value of each 1, at a random place in or near it.

    Standard deviations between a sixth of the edge and the edge, the centre up to half an edge
    outside.
    """
    bells = []
    for length in shape:
        width = log_uniform(rng, max(1, length // 6), length)
        away = (np.arange(length) - rng.uniform(-0.5, 1.5) * length) / width
        # Exponents relative to the nearest voxel: a far bell must not vanish altogether.
        bells.append(np.exp(-0.5 * (away**2 - (away**2).min())))
    return bells


def random_grey_values(random: Randomness, patch: torch.Tensor) -> torch.Tensor:
    """A normalised patch (z, y, x) as another scanner might have shown it; float32."""
    rng, patch = random.numbers, patch.float()
    if rng.random() < 0.12:
        patch = grey_changes.blur(patch, rng.uniform(0.4, 1.1), truncate=3.0)
    if rng.random() < 0.1:
        patch = grey_changes.lower_resolution(patch, rng.uniform(0.5, 0.9))
    if rng.random() < 0.1:
        axis = int(rng.integers(3))
        patch = grey_changes.blur_one_axis(patch, axis, rng.uniform(0.8, 2.5))
    if rng.random() < 0.25:
        power, inverted = log_uniform(rng, 0.6, 1.7), rng.random() < 0.3
        patch = grey_changes.change_gamma(patch, power, inverted, False)
    if rng.random() < 0.15:
        strength, bells = rng.normal(0, 0.5), random_bells(rng, patch.shape)
        patch = grey_changes.add_brightness_gradient(patch, bells, strength)
    if rng.random() < 0.1:
        power, bells = log_uniform(rng, 0.4, 2.5), random_bells(rng, patch.shape)
        patch = grey_changes.change_gamma_locally(patch, bells, power)
    if rng.random() < 0.12:
        field = coarse_noise(rng, patch.shape, rng.uniform(12, 40))
        patch = grey_changes.vary_locally(patch, field, contrast=rng.random() < 0.5)
    if rng.random() < 0.25:
        noise = random.noise(patch)
        if rng.random() < 0.3:
            noise = grey_changes.blur(noise, rng.uniform(0.4, 0.9))
            noise = noise / noise.std(correction=0)
        if rng.random() < 0.3:
            noise = noise * grey_changes.counted_photons(patch)
        patch = patch + rng.uniform(0, 0.3) * noise
    # The statistics of a scan depend on how much air and wall are in the picture.
    scale = float(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.15:
        scale *= log_uniform(rng, 0.5, 1.5)
    patch = grey_changes.scale_brightness(patch, scale)
    return grey_changes.shift_brightness(patch, rng.normal(0, 0.25))


def published_grey_values(random: Randomness, patch: torch.Tensor) -> torch.Tensor:
    """Grey-value changes with the ranges and chances of the published training (000 §4.2).

    Noise, blur and lower resolution are nnU-Net's own; brightness, contrast, gamma, brightness
    gradient and local gamma are the stronger ones. float32, same shape.
    """
    rng, patch = random.numbers, patch.float()

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    if chance(0.1):
        patch = patch + rng.uniform(0, 0.1) * random.noise(patch)
    if chance(0.2 * 0.5):
        patch = grey_changes.blur(patch, rng.uniform(0.5, 1.0))
    if chance(0.15):
        patch = grey_changes.scale_brightness(patch, rng.uniform(0.75, 1.25))
    if chance(0.1 * 0.5):
        patch = grey_changes.shift_brightness(patch, rng.normal(0, 0.5))
    if chance(0.2 * 0.5):
        factor = rng.uniform(0.5, 1) if chance(0.5) else rng.uniform(1, 2)
        patch = grey_changes.change_contrast(patch, factor, keep_range=chance(0.5))
    if chance(0.25 * 0.5):
        patch = grey_changes.lower_resolution(patch, rng.uniform(0.5, 1))
    for _ in range(2):
        if chance(0.1):
            power = rng.uniform(0.7, 1) if chance(0.5) else rng.uniform(1, 1.5)
            patch = grey_changes.change_gamma(patch, power, inverted=True, keep_statistics=True)
    if chance(0.3 * 0.5):
        strength = rng.uniform(1, 5) * (1 if chance(0.5) else -1)
        bells = random_bells(rng, patch.shape)
        patch = grey_changes.add_brightness_gradient(patch, bells, strength)
    if chance(0.3 * 0.5):
        power = rng.uniform(0.01, 0.8) if chance(0.5) else rng.uniform(1.5, 4)
        bells = random_bells(rng, patch.shape)
        patch = grey_changes.change_gamma_locally(patch, bells, power)
    return patch


def vary_grey_values(
    random: Randomness, grey: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey values of the compact recipe, for patches that already lie at random."""
    import torch

    return torch.stack([random_grey_values(random, one[0])[None] for one in grey]), target


def vary_patches(
    random: Randomness, grey: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Orientation and grey values of the compact recipe."""
    return vary_grey_values(random, *random_orientations(random.numbers, grey, target))


def vary_patches_as_published(
    random: Randomness, grey: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation, scaling, orientation and grey values of the paper's recipe."""
    import torch

    moved = [
        turned_and_scaled(random.numbers, one[0].float(), wanted)
        for one, wanted in zip(grey, target, strict=True)
    ]
    greys, targets = zip(*moved, strict=True)
    grey, target = random_orientations(
        random.numbers, torch.stack(greys)[:, None], torch.stack(targets)
    )
    return torch.stack([published_grey_values(random, one[0])[None] for one in grey]), target
