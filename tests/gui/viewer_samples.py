"""Small volumes in memory with the reading interface of scans and labels, for viewer tests."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
from PySide6.QtWidgets import QToolButton
from scipy.spatial import cKDTree

from particleseg_app.gui.viewers import Particles3DView
from particleseg_app.gui.viewers.slice_geometry import AXIS_NAMES
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.grey_statistics import GreyStatistics


def statistics_of(grey: np.ndarray) -> GreyStatistics:
    """Statistics of an array as importing it would gather them (integer types)."""
    low, high = int(grey.min()), int(grey.max())
    counts = np.bincount((grey.astype(np.int64) - low).ravel(), minlength=high - low + 1)
    return GreyStatistics(
        minimum=low,
        maximum=high,
        mean=float(grey.mean()),
        std=float(grey.std()),
        histogram_counts=counts,
        histogram_edges=np.arange(low, high + 2, dtype=np.float64),
    )


class MemoryVolume:
    """An array (z, y, x) that is read like a volume on disk and remembers who read it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape: Shape = values.shape
        self.dtype = values.dtype
        self.reading_threads: set[int] = set()
        self.slices_read: list[tuple[int, int]] = []

    def read(self, box: Box) -> np.ndarray:
        self.reading_threads.add(threading.get_ident())
        return self.values[box.slices].copy()

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        self.reading_threads.add(threading.get_ident())
        self.slices_read.append((axis, index))
        return self.values.take(index, axis=axis)

    def close(self) -> None:
        pass


class MemoryScan(MemoryVolume):
    field_of_view = None  # all of it is seen

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values)
        self.statistics = statistics_of(values)


class MemoryLabels(MemoryVolume):
    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values.astype(np.uint32))
        self.count = int(values.max())


@cache
def packed_particles(edge: int = 128, count: int = 260) -> tuple[np.ndarray, np.ndarray]:
    """Grey values (uint16) and labels (uint32) of touching, textured particles in a tube."""
    random = np.random.default_rng(7)
    seeds = random.uniform(0, edge, (count, 3))
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    noise = np.kron(random.normal(0, 1.6, (edge // 8,) * 3), np.ones((8, 8, 8))).reshape(-1)
    distances, nearest = cKDTree(seeds).query(grid + noise[:, None] * 0.3, k=2)
    radius = 0.62 * edge / count ** (1 / 3)
    inside = (distances[:, 0] < radius) & (distances[:, 1] - distances[:, 0] > 0.9)
    middle = (edge - 1) / 2
    from_axis = np.hypot(grid[:, 1] - middle, grid[:, 2] - middle)
    inside &= from_axis < 0.46 * edge
    labels = np.where(inside, nearest[:, 0] + 1, 0)
    _, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape((edge,) * 3).astype(np.uint32)
    brightness = random.uniform(26000, 42000, count + 2)
    wall = np.abs(from_axis - 0.485 * edge) < 0.012 * edge
    grey = np.where(labels.ravel() > 0, brightness[labels.ravel()], 9000.0)
    grey[wall] = 52000
    grey += random.normal(0, 1700, grey.size)
    return grey.clip(0, 65535).astype(np.uint16).reshape((edge,) * 3), labels


def cut_open(view: Particles3DView, axis: int) -> None:
    """Cut the particles open across `axis` (0 z, 1 y, 2 x) in the middle, as a user does."""
    if not view.cut.isChecked():
        view.cut.click()
    name = f"Cut across the {AXIS_NAMES[axis]} axis"
    buttons = view.clip_bar.findChildren(QToolButton)
    next(button for button in buttons if button.toolTip() == name).click()
    assert view.clip_bar.plane()[0] == axis
