"""The vispy scene of the 3D view: particles, scan, box and camera. Imports vispy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from vispy import scene
from vispy.color import Colormap
from vispy.scene.cameras import TurntableCamera
from vispy.visuals.transforms import STTransform

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.label_colours import marker_colour
from particleseg_app.gui.viewers.label_look import LabelVisibility
from particleseg_app.gui.viewers.scene_particles import SceneParticles
from particleseg_app.gui.viewers.seen_particles import Viewpoint
from particleseg_app.gui.viewers.surface_visual import NO_CLIP
from particleseg_app.units import Shape

FIELD_OF_VIEW = 32.0
CLICK_PIXELS = 4
MARKER_PIXELS = 13
REST_STEP, MOTION_STEP = 0.9, 2.6  # of the rays through the scan, in its voxels


class _Camera(TurntableCamera):
    """Turns with the left button and zooms with the wheel; the scene itself does the panning."""

    def viewbox_mouse_event(self, event: Any) -> None:
        if event.type != "mouse_move" or 1 in event.buttons:
            super().viewbox_mouse_event(event)


class SceneCanvas:
    """Scene in voxels of the full volume with axes (x, y, z), z down as in the slices.

    `clicked` is called with the place of a click in pixels, `drawn` after every frame,
    `moving` with True when the user begins to move the scene and False at the end of it.
    """

    def __init__(
        self,
        clicked: Callable[[tuple[float, float]], None],
        drawn: Callable[[], None],
        moving: Callable[[bool], None],
        triangles_in_motion: int,
    ) -> None:
        self.canvas = scene.SceneCanvas(
            app="pyside6", keys=None, show=False, bgcolor=theme.current().canvas, size=(400, 300)
        )
        self.canvas.unfreeze()
        self._view = self.canvas.central_widget.add_view()
        self._view.camera = self._camera = _Camera(
            fov=FIELD_OF_VIEW, elevation=28.0, azimuth=-38.0, up="-z"
        )
        self._camera.depth_value = 1e3  # the default wastes the depth buffer on great distances
        self._clicked, self._drawn, self._moving = clicked, drawn, moving
        self._shape: Shape = (1, 1, 1)
        self.particles = SceneParticles(self._view.scene, triangles_in_motion)
        self._volume: scene.visuals.Volume | None = None
        self._box: scene.visuals.Line | None = None
        self._markers: scene.visuals.Markers | None = None
        self._show = (True, False)
        self._in_motion = False
        self.clip = NO_CLIP
        self._pressed_at: np.ndarray | None = None
        self._last = np.zeros(2)
        events = self.canvas.events
        events.draw.connect(self._before_draw, position="first")
        events.draw.connect(lambda _event: self._drawn(), position="last")
        events.mouse_press.connect(self._press)
        events.mouse_move.connect(self._move)
        events.mouse_release.connect(self._release)
        events.mouse_wheel.connect(lambda _event: self._moving(True))

    # --- what is in it -------------------------------------------------------------------------

    def set_box(self, shape: Shape) -> None:
        """Draw the edges of a volume of `shape` (z, y, x) and look at it from the start."""
        self._shape = shape
        if self._box is not None:
            self._box.parent = None
        z, y, x = (float(n) for n in shape)
        corners = np.array([(a, b, c) for a in (0, x) for b in (0, y) for c in (0, z)], np.float32)
        pairs = [
            (i, j)
            for i in range(8)
            for j in range(i + 1, 8)
            if np.count_nonzero(corners[i] != corners[j]) == 1
        ]
        points = corners[np.array(pairs).reshape(-1)]
        colours = theme.current()
        tints = np.zeros((len(points), 4), np.float32)
        for place, (i, j) in enumerate(pairs):
            axis = int(np.flatnonzero(corners[i] != corners[j])[0])  # 0 is x
            tint = np.array(theme.colour(colours.axes[2 - axis], 0.55).getRgbF(), np.float32)
            tints[2 * place : 2 * place + 2] = tint
        self._box = scene.visuals.Line(
            pos=points,
            color=tints,
            connect="segments",
            parent=self._view.scene,
            antialias=False,
        )
        self._box.set_gl_state("translucent", depth_test=True)
        self.reset_view()

    def set_volume(self, grey: np.ndarray | None, step: int) -> None:
        """Show a small copy of the scan, uint8 (z, y, x), `step` voxels a voxel."""
        if self._volume is not None:
            self._volume.parent = None
            self._volume = None
        if grey is not None:
            self._volume = scene.visuals.Volume(
                grey,
                clim=(0, 255),
                method="translucent",
                cmap=_glass(REST_STEP, 1.0),
                relative_step_size=REST_STEP,
                parent=self._view.scene,
            )
            self._volume.transform = STTransform(
                scale=(step, step, step), translate=(step / 2, step / 2, step / 2)
            )
            self._volume.order = 10
        self.refresh()

    def set_markers(self, points: Sequence[tuple[float, float, float]]) -> None:
        """Show points (z, y, x) in voxels over the particles, numbered by their colours."""
        if self._markers is not None:
            self._markers.parent = None
            self._markers = None
        if len(points):
            colours = [
                (*(c / 255 for c in marker_colour(number)), 1.0)
                for number in range(1, len(points) + 1)
            ]
            self._markers = scene.visuals.Markers(
                pos=np.array(points, np.float32)[:, ::-1],
                size=MARKER_PIXELS,
                edge_width=2,
                edge_color="black",
                face_color=np.array(colours, np.float32),
                parent=self._view.scene,
            )
            self._markers.set_gl_state("translucent", depth_test=False)
            self._markers.order = 20
        self.canvas.update()

    def set_grey_limits(self, low: float, high: float) -> None:
        """Greys of the small copy (0 to 255) that are shown black and white."""
        if self._volume is not None:
            self._volume.clim = (low, high)
            self.canvas.update()

    def show(self, particles: bool, scan: bool) -> None:
        self._show = (particles, scan)
        self.refresh()

    def set_motion(self, moving: bool) -> None:
        """Draw more coarsely while the scene moves."""
        if moving != self._in_motion:
            self._in_motion = moving
            self.refresh()

    def close(self) -> None:
        """Let go of everything that is drawn."""
        self.canvas.close()

    def take_colours(self) -> None:
        self.canvas.bgcolor = theme.current().canvas

    def refresh(self) -> None:
        """Draw anew, after a change of mode, motion or particles."""
        particles, scan = self._show
        self.particles.show(particles, self._in_motion)
        coarse = self._in_motion and self.particles.coarser_in_motion
        if self._volume is not None:
            # Where surfaces must be coarser in motion, rays on top of them are too much.
            self._volume.visible = scan and not (particles and coarse)
            step = MOTION_STEP if self._in_motion else REST_STEP
            beside_particles = particles and not self.particles.empty
            self._volume.relative_step_size = step
            self._volume.cmap = _glass(step, 0.25 if beside_particles else 1.0)
            self._volume.set_gl_state("translucent", depth_test=False, cull_face=False)
        self.canvas.update()

    # --- where it looks from -------------------------------------------------------------------

    def reset_view(self) -> None:
        z, y, x = self._shape
        self._camera.azimuth, self._camera.elevation, self._camera.roll = -38.0, 28.0, 0.0
        self._camera.center = (x / 2, y / 2, z / 2)
        # The box's diagonal and the texts beside it fit, whichever way it is turned.
        self._camera.scale_factor = 1.18 * float(np.sqrt(x * x + y * y + z * z))
        self.canvas.update()

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) on the canvas of points (n, 3) in voxels (x, y, z)."""
        mapped = self._to_canvas().map(np.asarray(points, np.float64))
        pixels: np.ndarray = mapped[:, :2] / mapped[:, 3:4]
        return pixels

    def selected_circle(self) -> tuple[float, float, float] | None:
        """Middle and radius in pixels of a circle round the highlighted particle, or None."""
        box = self.particles.ghost_box()
        if box is None:
            return None
        low, high = box
        corners = np.array([[(low, high)[(k >> a) & 1][a] for a in range(3)] for k in range(8)])
        pixels = self.project(corners)
        middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
        radius = float(np.linalg.norm(pixels - middle, axis=1).max())
        return float(middle[0]), float(middle[1]), radius

    def ray(self, pixel: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """A point (x, y, z) in voxels seen at a pixel, and the unit vector away from the viewer."""
        ends = np.array([[*pixel, 0.0, 1.0], [*pixel, 0.5, 1.0]])
        mapped = self._to_canvas().imap(ends)
        near, far = mapped[:, :3] / mapped[:, 3:4]
        if self._depth_of(far) < self._depth_of(near):
            near, far = far, near
        direction = far - near
        return near, direction / np.linalg.norm(direction)

    def viewpoint(self, visibility: LabelVisibility) -> Viewpoint:
        """Where the scene is looked at from now, and what is not hidden or cut away there."""
        width, height = self._view.size
        corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)]
        starts, directions = zip(*(self.ray(corner) for corner in corners), strict=True)
        start, forward = self.ray((width / 2, height / 2))
        reach = 4 * float(np.linalg.norm(self._shape)) + float(
            np.linalg.norm(start - np.array(self._shape[::-1]) / 2)
        )
        near, far = np.array(starts), []
        for begin, direction in zip(starts, directions, strict=True):
            # All far points on one plane across the view, so that those between are on rays too.
            far.append(begin + direction * reach / float(direction @ forward))
        return Viewpoint(near, np.array(far), width / max(height, 1), self.clip, visibility)

    def viewer_is_beyond(self, axis: int) -> bool:
        """Whether one looks from the high end of `axis` (0 z, 1 y, 2 x) rather than the low one."""
        width, height = self._view.size
        _, forward = self.ray((width / 2, height / 2))
        return bool(forward[2 - axis] < 0)

    def set_clip(self, axis: int | None, place: float = 0.0, beyond: bool = True) -> None:
        """Cut open along `axis` (0 z, 1 y, 2 x) at `place` in voxels; None cuts nothing.

        What lies `beyond` the place, or before it, is cut away.
        """
        clip = NO_CLIP
        if axis is not None:
            sign = -1.0 if beyond else 1.0
            normal = [0.0, 0.0, 0.0]
            normal[2 - axis] = sign
            clip = (normal[0], normal[1], normal[2], -sign * place)
        self.clip = clip
        self.particles.set_clip(clip)
        self.canvas.update()

    def _depth_of(self, point: np.ndarray) -> float:
        mapped = self._to_canvas().map(point[None])[0]
        return float(mapped[3])  # the homogeneous part grows with the distance from the viewer

    def _to_canvas(self) -> Any:
        return self._view.scene.node_transform(self.canvas.scene)

    def _before_draw(self, _event: Any) -> None:
        width, height = self._view.size
        middle = (width / 2, height / 2)
        start, forward = self.ray(middle)
        above, _ = self.ray((width / 2, height / 2 - 40))
        beside, _ = self.ray((width / 2 - 40, height / 2))
        up, right = _unit(above - start), -_unit(beside - start)
        self.particles.set_viewer(-forward, right, up)
        self.particles.set_screen(*self.canvas.physical_size)

    # --- mouse ---------------------------------------------------------------------------------

    def _press(self, event: Any) -> None:
        self._pressed_at = np.array(event.pos[:2], float)
        self._last = self._pressed_at

    def _move(self, event: Any) -> None:
        if self._pressed_at is None or not event.is_dragging:
            return
        at = np.array(event.pos[:2], float)
        if np.abs(at - self._pressed_at).max() > CLICK_PIXELS:
            self._moving(True)
        if event.button in (2, 3):
            self._pan(self._last, at)
        self._last = at

    def _release(self, event: Any) -> None:
        if self._pressed_at is None:
            return
        at = np.array(event.pos[:2], float)
        still = np.abs(at - self._pressed_at).max() <= CLICK_PIXELS
        self._pressed_at = None
        self._moving(False)
        if still and event.button == 1:
            self._clicked((float(at[0]), float(at[1])))

    def _pan(self, before: np.ndarray, after: np.ndarray) -> None:
        """Shift the scene so that what was under the mouse at its own depth stays there."""
        centre = np.array(self._camera.center, float)
        _, forward = self.ray((self._view.size[0] / 2, self._view.size[1] / 2))
        places = []
        for pixel in (before, after):
            start, direction = self.ray((float(pixel[0]), float(pixel[1])))
            depth = (centre - start) @ forward / (direction @ forward)
            places.append(start + depth * direction)
        self._camera.center = tuple(centre + places[0] - places[1])


@cache
def _glass(step: float, density: float) -> Colormap:
    """Grey values as more or less milky glass: dark ones clear, so that one sees inside a tube.

    Rays that take longer steps meet fewer of them, so each must weigh more.
    """
    grey = np.linspace(0.0, 1.0, 33)
    opacity = 0.085 * density * np.clip((grey - 0.22) / 0.78, 0, 1) ** 1.4
    opacity = 1.0 - (1.0 - opacity) ** step
    shade = 0.25 + 0.75 * grey
    return Colormap(np.stack([shade, shade, shade, opacity], axis=1))


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
