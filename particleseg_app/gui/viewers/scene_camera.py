"""Where the 3D scene is looked at from: turning, zooming, panning, and what a pixel looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
from vispy.scene.cameras import TurntableCamera

from particleseg_app.gui.viewers.clear_view import USUAL, Direction
from particleseg_app.gui.viewers.label_look import LabelVisibility
from particleseg_app.gui.viewers.seen_particles import Viewpoint
from particleseg_app.units import Shape

FIELD_OF_VIEW = 32.0
ROOM = 1.18  # so that the box's diagonal and the texts beside it fit, whichever way it is turned


class _Turntable(TurntableCamera):
    """Turns with the left button and zooms with the wheel; the scene itself does the panning."""

    def viewbox_mouse_event(self, event: Any) -> None:
        if event.type != "mouse_move" or 1 in event.buttons:
            super().viewbox_mouse_event(event)


class SceneCamera:
    """The camera of `view`, a view of a vispy scene in voxels with axes (x, y, z), z down."""

    def __init__(self, view: Any) -> None:
        self._view = view
        self.turntable = _Turntable(
            fov=FIELD_OF_VIEW, azimuth=USUAL[0], elevation=USUAL[1], up="-z"
        )
        view.camera = self.turntable
        # The default wastes the depth buffer on great distances.
        self.turntable.depth_value = 1e3

    def reset(self, shape: Shape, direction: Direction = USUAL) -> None:
        """Look at a volume of `shape` (z, y, x) from the start, out of a direction."""
        z, y, x = shape
        camera = self.turntable
        camera.azimuth, camera.elevation = direction
        camera.roll = 0.0
        camera.center = (x / 2, y / 2, z / 2)
        camera.scale_factor = ROOM * float(np.sqrt(x * x + y * y + z * z))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) on the canvas of points (n, 3) in voxels (x, y, z)."""
        matrix = self._to_canvas()
        mapped = np.asarray(points, np.float64) @ matrix[:3] + matrix[3]
        pixels: np.ndarray = mapped[:, :2] / mapped[:, 3:4]
        return pixels

    def ray(self, pixel: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """A point (x, y, z) in voxels seen at a pixel, and the unit vector away from the viewer."""
        starts, directions = self._rays(np.array([pixel], float))
        return starts[0], directions[0]

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors in the scene: towards the viewer, and the screen's right and up."""
        width, height = self._view.size
        across, down = width / 2, height / 2
        pixels = np.array([(across, down), (across, down - 40), (across - 40, down)])
        (middle, above, beside), directions = self._rays(pixels)
        return -directions[0], -_unit(beside - middle), _unit(above - middle)

    def viewpoint(
        self,
        shape: Shape,
        clip: tuple[float, float, float, float],
        visibility: LabelVisibility,
    ) -> Viewpoint:
        """Where a volume of `shape` (z, y, x) is looked at from now, cut open by `clip`."""
        width, height = self._view.size
        middle = (width / 2, height / 2)
        corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)]
        starts, directions = self._rays(np.array([*corners, middle]))
        start, forward = starts[-1], directions[-1]
        reach = 4 * float(np.linalg.norm(shape)) + float(
            np.linalg.norm(start - np.array(shape[::-1]) / 2)
        )
        # All far points on one plane across the view, so that those between are on rays too.
        far = starts[:4] + directions[:4] * (reach / (directions[:4] @ forward))[:, None]
        return Viewpoint(starts[:4], far, width / max(height, 1), clip, visibility)

    def is_beyond(self, axis: int) -> bool:
        """Whether one looks from the high end of `axis` (0 z, 1 y, 2 x) rather than the low one."""
        return bool(self.axes()[0][2 - axis] > 0)

    def pan(self, before: np.ndarray, after: np.ndarray) -> None:
        """Shift the scene so that what was at pixel `before`, at its own depth, is at `after`."""
        centre = np.array(self.turntable.center, float)
        width, height = self._view.size
        pixels = np.array([(width / 2, height / 2), before, after], float)
        starts, directions = self._rays(pixels)
        depths = ((centre - starts[1:]) @ directions[0]) / (directions[1:] @ directions[0])
        places = starts[1:] + depths[:, None] * directions[1:]
        self.turntable.center = tuple(centre + places[0] - places[1])

    def _to_canvas(self) -> np.ndarray:
        """Matrix (4, 4) from rows (x, y, z, 1) to (column·w, row·w, depth·w, w) on the canvas."""
        transform = self._view.scene.node_transform(self._view.canvas.scene)
        return np.asarray(transform.map(np.eye(4)), np.float64)

    def _rays(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (n, 3) seen at pixels (n, 2), and the unit vectors (n, 3) away from the viewer."""
        matrix = self._to_canvas()
        back = np.linalg.inv(matrix)
        near, far = (
            ends[:, :3] / ends[:, 3:4]
            for ends in (
                np.column_stack([pixels, np.full(len(pixels), depth), np.ones(len(pixels))]) @ back
                for depth in (0.0, 0.5)
            )
        )
        # The homogeneous part grows with the distance from the viewer.
        if far[0] @ matrix[:3, 3] < near[0] @ matrix[:3, 3]:
            near, far = far, near
        directions = far - near
        return near, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
