"""Draws the scan as milky glass: rays through a small copy of it, with vispy.

The rays are drawn into a picture of their own, which may have fewer dots than the screen, and that
is laid over the scene; so lines and particles stay sharp while the scan is drawn coarsely.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vispy import gloo
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

LEAST_GREY = 0.22  # darker shares of the grey range are clear, so that one sees inside a tube
OPACITY = 0.085  # of the whitest voxel
OPAQUE_ENOUGH = 0.98

_SCREEN = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)], np.float32)

_RAY_VERTEX = """
attribute vec2 a_place;
uniform mat4 u_back;
varying vec4 v_near;
varying vec4 v_far;
void main() {
    v_near = u_back * vec4(a_place, -1.0, 1.0);
    v_far = u_back * vec4(a_place, 1.0, 1.0);
    gl_Position = vec4(a_place, 0.0, 1.0);
}
"""

# Colours are multiplied by their opacity, so that the picture can be enlarged and laid over.
_RAY_FRAGMENT = """
uniform sampler3D u_grey;
uniform sampler2D u_glass;
uniform vec3 u_size;
uniform float u_step;
uniform float u_opacity;
varying vec4 v_near;
varying vec4 v_far;
void main() {
    vec3 start = v_near.xyz / v_near.w;
    vec3 ray = v_far.xyz / v_far.w - start;
    float reach = length(ray);
    ray /= reach;
    vec3 slope = mix(vec3(1e-9), ray, step(vec3(1e-9), abs(ray)));
    vec3 to_low = -start / slope;
    vec3 to_high = (u_size - start) / slope;
    vec3 enters = min(to_low, to_high);
    vec3 leaves = max(to_low, to_high);
    float first = max(max(max(enters.x, enters.y), enters.z), 0.0);
    float last = min(min(min(leaves.x, leaves.y), leaves.z), reach);
    if (last <= first) {
        gl_FragColor = vec4(0.0);
        return;
    }
    vec3 at = (start + ray * (first + 0.5 * u_step)) / u_size;
    vec3 onward = ray * u_step / u_size;
    int steps = int((last - first) / u_step + 0.5);
    vec2 sum = vec2(0.0);
    for (int k = 0; k < steps; k++) {
        float grey = texture3D(u_grey, at).r;
        vec4 glass = texture2D(u_glass, vec2(grey * 0.99609375 + 0.001953125, 0.5));
        sum += (1.0 - sum.y) * u_opacity * glass.a * vec2(glass.r, 1.0);
        if (sum.y > OPAQUE_ENOUGH) break;
        at += onward;
    }
    gl_FragColor = vec4(sum.xxx, sum.y);
}
""".replace("OPAQUE_ENOUGH", str(OPAQUE_ENOUGH))

_VERTEX = """
attribute vec2 a_place;
varying vec2 v_place;
void main() {
    v_place = 0.5 * a_place + 0.5;
    gl_Position = vec4(a_place, 0.0, 1.0);
}
"""

_FRAGMENT = """
uniform sampler2D u_picture;
varying vec2 v_place;
void main() {
    gl_FragColor = texture2D(u_picture, v_place);
}
"""


class ScanVisual(Visual):
    """A vispy visual of `grey`, uint8 (z, y, x), each of its voxels `step` voxels of the scene."""

    def __init__(self, grey: np.ndarray, step: int) -> None:
        Visual.__init__(self, _VERTEX, _FRAGMENT)
        self.set_gl_state(
            None,
            blend=True,
            blend_func=("one", "one_minus_src_alpha"),
            depth_test=False,
            cull_face=False,
        )
        self._draw_mode = "triangle_strip"
        place = gloo.VertexBuffer(_SCREEN)
        self.shared_program["a_place"] = place
        self._extent = np.array(grey.shape[::-1], float) * step
        self._voxel = step
        self._rays = gloo.Program(_RAY_VERTEX, _RAY_FRAGMENT)
        self._rays["a_place"] = place
        self._rays["u_grey"] = gloo.Texture3D(np.ascontiguousarray(grey), interpolation="linear")
        self._rays["u_size"] = tuple(self._extent)
        self._glass = gloo.Texture2D(np.zeros((1, 256, 4), np.uint8), interpolation="linear")
        self._rays["u_glass"] = self._glass
        self._picture = gloo.Texture2D((1, 1, 4), interpolation="linear", wrapping="clamp_to_edge")
        self._buffer = gloo.FrameBuffer(self._picture)
        self.shared_program["u_picture"] = self._picture
        self._limits = (0.0, 255.0)
        self._step, self._density, self._scale = 1.0, 1.0, 1.0
        self._take_glass()

    def set_limits(self, low: float, high: float) -> None:
        """Greys (0 to 255) that are shown black and white."""
        if (low, high) != self._limits:
            self._limits = (low, high)
            self._take_glass()

    def set_fineness(self, step: float, scale: float, density: float) -> None:
        """Steps of the rays in voxels of the copy, rays for each dot of the screen, across and
        down, and how dense the glass is; none of them changes how bright it looks but the last."""
        if (step, density) != (self._step, self._density):
            self._step, self._density = step, density
            self._take_glass()
        self._scale = scale

    def _take_glass(self) -> None:
        low, high = self._limits
        grey = np.clip((np.arange(256) - low) / max(high - low, 1e-6), 0.0, 1.0)
        shade, opacity = glass(grey, self._step, self._density)
        most = max(float(opacity.max()), 1e-6)
        share = opacity / most  # a texture of bytes is known everywhere, but coarse near 0
        colours = np.stack([shade, shade, shade, share], axis=1)
        self._glass.set_data(np.round(255 * colours)[None].astype(np.uint8))
        self._rays["u_opacity"] = most
        self._rays["u_step"] = self._step * self._voxel
        self.update()

    def _prepare_draw(self, view: Any) -> None:
        """Draw the rays into the picture."""
        canvas = view.canvas
        width, height = canvas.physical_size
        shape = (max(1, round(height * self._scale)), max(1, round(width * self._scale)))
        if self._picture.shape[:2] != shape:
            self._picture.resize((*shape, 4))
        matrix = np.asarray(view.get_transform("visual", "render").map(np.eye(4)), np.float64)
        self._rays["u_back"] = np.linalg.inv(matrix).astype(np.float32)
        context = canvas.context
        with self._buffer:
            context.set_viewport(0, 0, shape[1], shape[0])
            context.set_state(blend=False, depth_test=False, cull_face=False)
            self._rays.draw("triangle_strip")
        context.set_viewport(0, 0, width, height)

    def _prepare_transforms(self, view: Any) -> None:
        pass

    def _compute_bounds(self, axis: int, view: Any) -> tuple[float, float]:
        return 0.0, float(self._extent[axis])


def glass(grey: np.ndarray, step: float, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Shade and opacity (n,) of greys (n,), 0 to 1, seen as glass `step` voxels thick.

    Rays that take longer steps meet fewer of them, so each must weigh more.
    """
    opacity = OPACITY * density * np.clip((grey - LEAST_GREY) / (1 - LEAST_GREY), 0, 1) ** 1.4
    return 0.25 + 0.75 * grey, 1.0 - (1.0 - opacity) ** step


ScanNode = create_visual_node(ScanVisual)
