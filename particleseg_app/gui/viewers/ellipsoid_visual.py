"""Draws particles as lit ellipsoids, one point each: fluid where surfaces would be too many.

The outline and the shading of each ellipsoid are exact for a parallel view; its depth is that of
its middle.
"""

from __future__ import annotations

import numpy as np
from vispy.gloo import IndexBuffer, VertexBuffer
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

from particleseg_app.gui.viewers.ellipsoids import Ellipsoids
from particleseg_app.gui.viewers.front_ellipsoids import (
    DRAWN_OTHERWISE,
    HIDDEN,
    SHOWN,
    FrontEllipsoids,
)
from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.surface_visual import NO_CLIP

SORTED_ENOUGH = 0.985  # cosine of the angle turned since the particles were sorted

# With M the matrix of the ellipsoid in the screen's axes (right, up, to the viewer), A its upper
# left 2 × 2 part and b the other two entries of its last column: a point d of the screen is on
# the ellipsoid where q = d·A⁻¹·d < 1, and the surface's normal there has the depth part
# sqrt(1 - q) / s with s² = M₃₃ - b·A⁻¹·b, and the others A⁻¹·d - A⁻¹·b · that part.
_VERTEX = """
attribute vec3 a_centre;
attribute vec3 a_form_x;
attribute vec3 a_form_y;
attribute vec4 a_tint;
attribute float a_label;
uniform vec3 u_viewer;
uniform vec3 u_right;
uniform vec3 u_up;
uniform vec4 u_clip;
uniform vec2 u_half_screen;
varying vec3 v_inverse;
varying vec3 v_slope;
varying float v_reach;
varying vec3 v_colour;
varying float v_label;
void main() {
    // a_form_x is xx, xy, xz and a_form_y is yy, yz, zz.
    mat3 form = mat3(a_form_x.x, a_form_x.y, a_form_x.z,
                     a_form_x.y, a_form_y.x, a_form_y.y,
                     a_form_x.z, a_form_y.y, a_form_y.z);
    vec3 along_right = form * u_right;
    vec3 along_up = form * u_up;
    vec3 along_view = form * u_viewer;
    float xx = dot(u_right, along_right);
    float xy = dot(u_up, along_right);
    float yy = dot(u_up, along_up);
    vec2 b = vec2(dot(u_right, along_view), dot(u_up, along_view));
    float size = max(xx * yy - xy * xy, 1e-9);
    v_inverse = vec3(yy, -xy, xx) / size;
    vec2 tilt = vec2(v_inverse.x * b.x + v_inverse.y * b.y,
                     v_inverse.y * b.x + v_inverse.z * b.y);
    float depth = sqrt(max(dot(u_viewer, along_view) - dot(b, tilt), 1e-6));
    v_slope = vec3(tilt, 1.0 / depth);
    v_reach = sqrt(max(xx, yy));
    v_colour = a_tint.rgb;
    v_label = a_label;
    gl_Position = $transform(vec4(a_centre, 1.0));
    vec4 beside = $transform(vec4(a_centre + u_right, 1.0));
    float pixels = length((beside.xy / beside.w - gl_Position.xy / gl_Position.w) * u_half_screen);
    gl_PointSize = max(2.0 * v_reach * pixels, 1.0);
    if (a_tint.a < 0.5 || dot(u_clip, vec4(a_centre, 1.0)) < 0.0) {
        gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
        gl_PointSize = 1.0;
    }
}
"""

_FRAGMENT = """
uniform vec3 u_light_on_screen;
uniform float u_selected;
uniform float u_steps_back;  // whether all others do when one is highlighted
varying vec3 v_inverse;
varying vec3 v_slope;
varying float v_reach;
varying vec3 v_colour;
varying float v_label;
void main() {
    vec2 d = vec2(2.0 * gl_PointCoord.x - 1.0, 1.0 - 2.0 * gl_PointCoord.y) * v_reach;
    vec2 bent = vec2(v_inverse.x * d.x + v_inverse.y * d.y, v_inverse.y * d.x + v_inverse.z * d.y);
    float q = dot(d, bent);
    if (q > 1.0) discard;
    float outward = sqrt(1.0 - q) * v_slope.z;
    vec3 normal = normalize(vec3(bent - v_slope.xy * outward, outward));
    float lit = max(dot(normal, u_light_on_screen), 0.0);
    vec3 colour = v_colour;
    if (u_selected > 0.5 && u_steps_back > 0.5 && abs(v_label - u_selected) > 0.5) {
        float grey = dot(colour, vec3(0.3, 0.6, 0.1));
        colour = mix(vec3(grey), colour, 0.35) * 0.55;
    }
    gl_FragColor = vec4(colour * (0.30 + 0.22 * normal.z + 0.58 * lit), 1.0);
}
"""


class EllipsoidVisual(Visual):
    """A vispy visual of `Ellipsoids`, with the same light and colours as the surfaces.

    `front_only`: leave away what is wholly behind others, which is worth the search where the
    processor does the drawing.
    """

    def __init__(self, particles: Ellipsoids, look: LabelLook, *, front_only: bool = False) -> None:
        Visual.__init__(self, _VERTEX, _FRAGMENT)
        self.set_gl_state("opaque", depth_test=True, cull_face=False)
        self._draw_mode = "points"
        self._centres = particles.centres
        self._index_buffer = IndexBuffer(np.arange(len(particles.labels), dtype=np.uint32))
        self._sorted_for = np.zeros(3)
        self._front = FrontEllipsoids(particles) if front_only else None
        self._states = np.zeros(len(particles.labels), np.uint8)
        self._axes = (np.eye(3)[0], np.eye(3)[1])
        self._screen = (400, 300)
        self._labels = particles.labels
        self._look = look
        self._left_out = np.zeros(len(particles.labels), bool)
        self._tints = VertexBuffer(np.zeros((len(particles.labels), 4), np.float32))
        program = self.shared_program
        program["a_centre"] = VertexBuffer(np.ascontiguousarray(particles.centres))
        program["a_form_x"] = VertexBuffer(np.ascontiguousarray(particles.forms[:, :3]))
        program["a_form_y"] = VertexBuffer(np.ascontiguousarray(particles.forms[:, 3:]))
        program["a_tint"] = self._tints
        program["u_steps_back"] = float(not look.tells)
        program["a_label"] = VertexBuffer(particles.labels.astype(np.float32))
        self.set_screen(*self._screen)
        self._low = particles.centres.min(axis=0)
        self._high = particles.centres.max(axis=0)
        self.set_clip(NO_CLIP)
        self.set_viewer(*np.eye(3)[[2, 0, 1, 2]])
        self.set_selected(0)
        self._send_tints()

    def set_viewer(
        self, viewer: np.ndarray, right: np.ndarray, up: np.ndarray, light: np.ndarray
    ) -> None:
        """Unit vectors from the scene: to the viewer, the screen's right and up, to the light."""
        program = self.shared_program
        for name, vector in (("u_viewer", viewer), ("u_right", right), ("u_up", up)):
            program[name] = tuple(float(v) for v in vector)
        if viewer @ self._sorted_for < SORTED_ENOUGH:
            # From the front to the back, so that what is hidden is not painted first.
            order = np.argsort(self._centres @ -viewer.astype(np.float32))
            self._index_buffer.set_data(order.astype(np.uint32))
            if self._front is not None:
                self._front.sort(order.astype(np.uint32))
            self._sorted_for = viewer
        self._axes = (right, up)
        program["u_light_on_screen"] = tuple(float(light @ v) for v in (right, up, viewer))

    def set_screen(self, width: int, height: int) -> None:
        """Size of the picture in dots."""
        self._screen = (width, height)
        self.shared_program["u_half_screen"] = (width / 2, height / 2)

    def set_look(self, look: LabelLook) -> None:
        """Other colours, or other particles hidden."""
        self._look = look
        self.shared_program["u_steps_back"] = float(not look.tells)
        self._send_tints()

    def leave_out(self, labels: np.ndarray) -> None:
        """Do not draw these particles (n,), which surfaces show better."""
        self._left_out = np.isin(self._labels, labels, assume_unique=True)
        self._send_tints()

    def _send_tints(self) -> None:
        tints = self._look.tints(self._labels)
        self._states = np.where(tints[:, 3] > 0, SHOWN, HIDDEN).astype(np.uint8)
        self._states[self._left_out & (self._states == SHOWN)] = DRAWN_OTHERWISE
        tints[self._left_out, 3] = 0.0
        self._tints.set_data(tints)
        self.update()

    def set_selected(self, label: int) -> None:
        """Highlight one particle; 0 shows all alike."""
        self.shared_program["u_selected"] = float(label)
        self.update()

    def set_clip(self, plane: tuple[float, float, float, float]) -> None:
        """Leave away particles whose middle (x, y, z) has a·x + b·y + c·z + d < 0."""
        self._clip = plane
        self.shared_program["u_clip"] = plane
        self.update()

    def _prepare_draw(self, view: Visual) -> bool:
        """Choose the ellipsoids to draw; False where there are none."""
        if self._front is None:
            return True
        matrix = np.asarray(view.get_transform("visual", "render").map(np.eye(4)))
        rows = self._front.find(self._states, self._clip, matrix, *self._axes, self._screen)
        if rows is None:
            return True
        if len(rows):
            self._index_buffer.set_data(rows)
        return bool(len(rows))

    def _prepare_transforms(self, view: Visual) -> None:
        view.view_program.vert["transform"] = view.get_transform()

    def _compute_bounds(self, axis: int, view: Visual) -> tuple[float, float]:
        return float(self._low[axis]), float(self._high[axis])


EllipsoidNode = create_visual_node(EllipsoidVisual)
