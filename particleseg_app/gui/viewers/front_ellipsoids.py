"""Finds, for every frame, the ellipsoids that are not wholly behind others.

Of tens of thousands of particles only those in front are seen. Where the processor does the
drawing, finding these first takes a fraction of the time that drawing all would take, and the
picture is the same.
"""

from __future__ import annotations

import threading

import numpy as np

from particleseg_app.gui.viewers.ellipsoids import Ellipsoids

CELLS_OF_RADIUS = 3.3  # cells across the radius of a typical particle
LARGEST_CELL = 8  # dots of the picture
LARGEST_POINT = 250  # dots across, which software OpenGL draws whole
HIDDEN, SHOWN, DRAWN_OTHERWISE = 0, 1, 2  # states of a particle

_compiled = threading.Event()


def compile_search() -> None:
    """Make the search ready, which takes some seconds once; until then nothing is searched."""
    if _compiled.is_set():
        return
    from particleseg_app.gui.viewers.front_kernels import front_ellipsoids

    one = np.ones((1, 3), np.float32)
    front_ellipsoids(
        np.zeros(1, np.uint32),
        one,
        np.ones((1, 6), np.float32),
        np.ones(1, np.float32),
        np.full(1, SHOWN, np.uint8),
        np.ones(4, np.float32),
        np.eye(4, dtype=np.float32),
        one[0],
        one[0],
        1.0,
        np.ones((2, 2), np.float32),
        np.zeros(1, np.uint32),
    )
    _compiled.set()


class FrontEllipsoids:
    """The search among some `particles`; keeps what it needs again."""

    def __init__(self, particles: Ellipsoids) -> None:
        self._particles = particles
        squares = particles.forms.astype(np.float64) ** 2
        # At least the longest semi-axis, and little more for a rounded particle.
        weights = np.array([1.0, 2.0, 2.0, 1.0, 2.0, 1.0])
        self._reaches = ((squares @ weights) ** 0.25).astype(np.float32)
        self.sort(np.arange(len(particles.labels), dtype=np.uint32))
        self._found = np.empty(len(particles.labels), np.uint32)
        self._depths = np.empty((1, 1), np.float32)
        radii = np.sqrt(particles.forms[:, [0, 3, 5]].mean(axis=1))
        self._radius = float(np.median(radii))
        self._middle = np.append(particles.centres.mean(axis=0), 1.0)

    def sort(self, order: np.ndarray) -> None:
        """Look at the particles in this order of rows (n,) uint32, about from front to back."""
        self._order = order
        # One after the other in memory, which takes less time than leaping about.
        self._centres = self._particles.centres[order]
        self._forms = self._particles.forms[order]
        self._reaches_in_order = self._reaches[order]

    def find(
        self,
        states: np.ndarray,
        clip: tuple[float, float, float, float],
        to_picture: np.ndarray,
        right: np.ndarray,
        up: np.ndarray,
        size: tuple[int, int],
    ) -> np.ndarray | None:
        """Rows of the ellipsoids to draw, in their `order`, or None while this cannot be told.

        `size` of the picture in dots, width and height; the others as in `front_kernels`.
        """
        if not _compiled.is_set():
            return None
        from particleseg_app.gui.viewers.front_kernels import front_ellipsoids

        width, height = size
        cell = self._cell(to_picture, right, width)
        shape = (max(1, round(height / cell)), max(1, round(width / cell)))
        if self._depths.shape != shape:
            self._depths = np.empty(shape, np.float32)
        count = front_ellipsoids(
            self._order,
            self._centres,
            self._forms,
            self._reaches_in_order,
            states,
            np.array(clip, np.float32),
            to_picture.astype(np.float32),
            right.astype(np.float32),
            up.astype(np.float32),
            LARGEST_POINT / 2 / cell,
            self._depths,
            self._found,
        )
        return self._found[:count].copy()

    def _cell(self, to_picture: np.ndarray, right: np.ndarray, width: int) -> int:
        """Dots across a cell: the larger particles are drawn, the larger may cells be."""
        depth = max(float(self._middle @ to_picture[:, 3]), 1e-6)
        across = float(np.append(right, 0.0) @ to_picture[:, 0]) / depth * width / 2
        return int(np.clip(round(abs(across) * self._radius / CELLS_OF_RADIUS), 1, LARGEST_CELL))
