"""Digitised bodies whose volume and surface are known, and volumes in memory to measure."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from particleseg_app.particles import measure_particles
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box


class Volume:
    """An array (z, y, x) that is read as label volumes and scans are."""

    field_of_view = None  # all of it is seen

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.count = int(array.max())
        self.statistics = SimpleNamespace(mean=float(array.mean()))

    def read(self, box: Box) -> np.ndarray:
        return self.array[box.slices]


def measure(labels, grey=None, voxel_size_um=1.0, block_shape=None):
    scan = None if grey is None else Volume(grey)
    volume = Volume(np.asarray(labels, dtype=np.uint32))
    return measure_particles(volume, scan, voxel_size_um, Progress(), CancelToken(), block_shape)


@dataclass(frozen=True)
class Body:
    inside: np.ndarray
    volume: float
    surface: float


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def _grid(reach: float, rng: np.random.Generator, rotation: np.ndarray) -> np.ndarray:
    n = 2 * int(np.ceil(reach)) + 5
    centre = n / 2 - 0.5 + rng.uniform(-0.5, 0.5, 3)
    points = np.indices((n, n, n)).reshape(3, -1) - centre[:, None]
    return (rotation @ points).reshape(3, n, n, n)


def ellipsoid(semi_axes, rng: np.random.Generator, rotation=None) -> Body:
    a = np.asarray(semi_axes, dtype=float)
    rotation = random_rotation(rng) if rotation is None else rotation
    inside = ((_grid(a.max(), rng, rotation) / a[:, None, None, None]) ** 2).sum(0) <= 1
    # Surface by the formula over the parameter domain, fine enough for 5 digits.
    theta = (np.arange(2000) + 0.5) * np.pi / 2000
    phi = (np.arange(2000) + 0.5) * np.pi / 1000
    st, ct = np.sin(theta)[:, None], np.cos(theta)[:, None]
    sp, cp = np.sin(phi)[None], np.cos(phi)[None]
    density = st * np.sqrt(
        (a[1] * a[2] * st * cp) ** 2 + (a[0] * a[2] * st * sp) ** 2 + (a[0] * a[1] * ct) ** 2
    )
    surface = float(density.sum() * (np.pi / 2000) * (np.pi / 1000))
    return Body(inside, 4 / 3 * np.pi * a.prod(), surface)


def sphere(radius: float, rng: np.random.Generator) -> Body:
    return ellipsoid((radius,) * 3, rng, np.eye(3))


def cube(edge: float, rng: np.random.Generator, rotation=None) -> Body:
    rotation = random_rotation(rng) if rotation is None else rotation
    grid = _grid(edge * np.sqrt(3) / 2, rng, rotation)
    return Body((np.abs(grid) <= edge / 2).all(0), edge**3, 6 * edge**2)
