"""The vispy scene of the 3D view: particles, scan, box and camera. Imports vispy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtGui import QImage
from vispy import scene
from vispy.gloo import gl

from particleseg_app.gui import theme
from particleseg_app.gui.viewers.clear_view import USUAL
from particleseg_app.gui.viewers.drawing_pace import FULL, OF_PARTICLES, OF_SCAN, DrawingPace
from particleseg_app.gui.viewers.label_colours import marker_colour
from particleseg_app.gui.viewers.label_look import LabelVisibility
from particleseg_app.gui.viewers.picture_canvas import PictureApplication
from particleseg_app.gui.viewers.scan_visual import ScanNode
from particleseg_app.gui.viewers.scene_camera import SceneCamera
from particleseg_app.gui.viewers.scene_particles import SceneParticles
from particleseg_app.gui.viewers.seen_particles import Viewpoint
from particleseg_app.gui.viewers.surface_visual import NO_CLIP
from particleseg_app.units import Shape

CLICK_PIXELS = 4
MARKER_PIXELS = 13
DENSITY_BESIDE_PARTICLES = 0.25
SOFTWARE_BEGINS_WITH = 2  # of the levels of the scan


class _Canvas(scene.SceneCanvas):
    """There is one thing to hand the mouse to, so the scene need not be drawn to find out."""

    def visual_at(self, pos: tuple[float, float]) -> Any:
        return self.central_widget.children[0] if self.central_widget.children else None


class SceneCanvas:
    """Scene in voxels of the full volume with axes (x, y, z), z down as in the slices.

    `clicked` is called with the place of a click in pixels, `drawn` after every frame,
    `moving` with True when the user begins to move the scene and False at the end of it.
    `software`: the processor does the drawing.
    """

    def __init__(
        self,
        clicked: Callable[[tuple[float, float]], None],
        drawn: Callable[[], None],
        moving: Callable[[bool], None],
        triangles_in_motion: int,
        *,
        software: bool,
    ) -> None:
        self.canvas = _Canvas(
            app=PictureApplication() if software else "pyside6",
            keys=None,
            show=False,
            bgcolor=theme.current().canvas,
            size=(400, 300),
        )
        self.canvas.unfreeze()
        self._software = software
        self._view = self.canvas.central_widget.add_view()
        self.camera = SceneCamera(self._view)
        self._clicked, self._drawn, self._moving = clicked, drawn, moving
        self._shape: Shape = (1, 1, 1)
        self.direction = USUAL  # that a view begins with
        self.particles = SceneParticles(self._view.scene, triangles_in_motion, front_only=software)
        self._scan: Any = None
        self._box: scene.visuals.Line | None = None
        self._markers: scene.visuals.Markers | None = None
        self._show = (True, False)
        self._in_motion = False
        begins_with = SOFTWARE_BEGINS_WITH if software else 0
        self._paces = {
            (True, False): DrawingPace(OF_PARTICLES),
            (False, True): DrawingPace(OF_SCAN, begins_with),
            (True, True): DrawingPace(OF_SCAN, begins_with),
        }
        self._fineness = FULL
        self._frame_begun = 0.0
        self.clip = NO_CLIP
        self._pressed_at: np.ndarray | None = None
        self._last = np.zeros(2)
        events = self.canvas.events
        events.draw.connect(self._before_draw, position="first")
        events.draw.connect(self._after_draw, position="last")
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
        if self._scan is not None:
            self._scan.parent = None
            self._scan = None
        if grey is not None:
            self._scan = ScanNode(grey, step)
            self._scan.order = 10
            self._scan.parent = self._view.scene
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
        if self._scan is not None:
            self._scan.set_limits(low, high)
            self.canvas.update()

    def show(self, particles: bool, scan: bool) -> None:
        self._show = (particles, scan)
        self.refresh()

    def set_motion(self, moving: bool) -> None:
        """Draw only as finely while the scene moves as keeps it fluid."""
        if moving != self._in_motion:
            self._in_motion = moving
            pace = self._pace()
            self._fineness = pace.begin() if moving and pace is not None else FULL
            self.refresh()

    @property
    def shown(self) -> bool:
        """Whether it can be seen at present."""
        return bool(self.canvas.native.isVisible())

    def picture(self) -> QImage:
        """The scene, drawn as it is now."""
        native = self.canvas.native
        if self._software:
            native.draw_frame()
            return native.picture.copy()
        image: QImage = native.grabFramebuffer()
        return image

    def close(self) -> None:
        """Let go of everything that is drawn."""
        self.canvas.close()

    def take_colours(self) -> None:
        self.canvas.bgcolor = theme.current().canvas

    def refresh(self) -> None:
        """Draw anew, after a change of mode, motion or particles."""
        particles, scan = self._show
        self.particles.show(particles, self._in_motion)
        if self._scan is not None:
            self._scan.visible = scan
            beside_particles = particles and not self.particles.empty
            self._scan.set_fineness(
                self._fineness.step,
                self._fineness.scan,
                DENSITY_BESIDE_PARTICLES if beside_particles else 1.0,
            )
        if self._software:
            self.canvas.native.set_scale(self._fineness.picture)
        self.canvas.update()

    def _pace(self) -> DrawingPace | None:
        return self._paces.get(self._show)

    # --- where it looks from -------------------------------------------------------------------

    def reset_view(self) -> None:
        self.camera.reset(self._shape, self.direction)
        self.canvas.update()

    def selected_circle(self) -> tuple[float, float, float] | None:
        """Middle and radius in pixels of a circle round the highlighted particle, or None where
        there is none or the cut has taken it away."""
        box = self.particles.ghost_box()
        if box is None:
            return None
        low, high = self._kept(*box)
        if (low >= high).any():
            return None
        corners = np.array([[(low, high)[(k >> a) & 1][a] for a in range(3)] for k in range(8)])
        pixels = self.camera.project(corners)
        middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
        radius = float(np.linalg.norm(pixels - middle, axis=1).max())
        return float(middle[0]), float(middle[1]), radius

    def _kept(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of a box (corners x, y, z) that the cut leaves; empty where low >= high."""
        low, high = np.array(low, float), np.array(high, float)
        for axis in np.flatnonzero(self.clip[:3]):  # one axis, or none
            place = -self.clip[3] / self.clip[axis]
            if self.clip[axis] > 0:
                low[axis] = max(low[axis], place)
            else:
                high[axis] = min(high[axis], place)
        return low, high

    def viewpoint(self, visibility: LabelVisibility) -> Viewpoint:
        """Where the scene is looked at from now, and what is not hidden or cut away there."""
        return self.camera.viewpoint(self._shape, self.clip, visibility)

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

    # --- frames --------------------------------------------------------------------------------

    def _before_draw(self, _event: Any) -> None:
        self._frame_begun = time.perf_counter()
        self.particles.set_viewer(*self.camera.axes())
        self.particles.set_screen(*(int(n) for n in self.canvas.physical_size))

    def _after_draw(self, _event: Any) -> None:
        self._drawn()
        pace = self._pace()
        if self._in_motion and pace is not None:
            sent = time.perf_counter()
            gl.glFinish()  # what was asked for is drawn only now
            now = time.perf_counter()
            # The rays through the scan were waited for already, before they were laid over.
            waited_since = self._frame_begun if self._show[1] else sent
            fineness = pace.take(now - self._frame_begun, now - waited_since)
            if fineness != self._fineness:
                self._fineness = fineness
                QTimer.singleShot(0, self.canvas.native, self.refresh)

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
            self.camera.pan(self._last, at)
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
