"""Draws particle surfaces with vispy: lit from the viewer's side, one particle highlighted."""

from __future__ import annotations

import numpy as np
from vispy.gloo import IndexBuffer, VertexBuffer
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

from particleseg_app.gui.viewers.label_colours import colours_of
from particleseg_app.gui.viewers.particle_surfaces import ParticleSurfaces

_VERTEX = """
attribute vec3 a_position;
attribute vec3 a_normal;
attribute vec3 a_colour;
attribute float a_label;
varying vec3 v_normal;
varying vec3 v_colour;
varying float v_label;
void main() {
    v_normal = a_normal;
    v_colour = a_colour;
    v_label = a_label;
    gl_Position = $transform(vec4(a_position, 1.0));
}
"""

_FRAGMENT = """
uniform vec3 u_viewer;
uniform vec3 u_light;
uniform float u_selected;
uniform float u_opacity;
varying vec3 v_normal;
varying vec3 v_colour;
varying float v_label;
void main() {
    vec3 normal = normalize(v_normal);
    float facing = dot(normal, u_viewer);
    float lit = max(dot(normal, u_light), 0.0);
    float sheen = pow(max(dot(normal, normalize(u_light + u_viewer)), 0.0), 32.0);
    vec3 colour = v_colour;
    bool chosen = abs(v_label - u_selected) < 0.5;
    if (u_selected > 0.5 && !chosen) {
        float grey = dot(colour, vec3(0.3, 0.6, 0.1));
        colour = mix(vec3(grey), colour, 0.35) * 0.55;
        sheen *= 0.2;
    }
    vec3 result = colour * (0.30 + 0.22 * max(facing, 0.0) + 0.58 * lit) + vec3(0.10 * sheen);
    if (u_selected > 0.5 && chosen) {
        float rim = pow(1.0 - max(facing, 0.0), 2.5);
        result = result * 1.1 + vec3(0.75 * rim);
    }
    gl_FragColor = vec4(min(result, vec3(1.0)), u_opacity);
}
"""


class ParticleSurfaceVisual(Visual):
    """A vispy visual of `ParticleSurfaces`."""

    def __init__(self, surfaces: ParticleSurfaces, opacity: float = 1.0) -> None:
        Visual.__init__(self, _VERTEX, _FRAGMENT)
        self.set_gl_state("opaque", depth_test=True, cull_face=False)
        self._draw_mode = "triangles"
        self._index_buffer = IndexBuffer(surfaces.triangles)
        colours = colours_of(surfaces.labels).astype(np.float32) / 255
        program = self.shared_program
        program["u_opacity"] = opacity
        program["a_position"] = VertexBuffer(surfaces.vertices)
        program["a_normal"] = VertexBuffer(surfaces.normals)
        program["a_colour"] = VertexBuffer(colours)
        program["a_label"] = VertexBuffer(surfaces.labels.astype(np.float32))
        self._low = surfaces.vertices.min(axis=0)
        self._high = surfaces.vertices.max(axis=0)
        self.set_viewer(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]))
        self.set_selected(0)

    def set_viewer(self, viewer: np.ndarray, light: np.ndarray) -> None:
        """Unit vectors from the scene towards the viewer and towards the light."""
        self.shared_program["u_viewer"] = tuple(float(v) for v in viewer)
        self.shared_program["u_light"] = tuple(float(v) for v in light)

    def set_selected(self, label: int) -> None:
        """Highlight one particle; 0 shows all alike."""
        self.shared_program["u_selected"] = float(label)
        self.update()

    def _prepare_transforms(self, view: Visual) -> None:
        view.view_program.vert["transform"] = view.get_transform()

    def _compute_bounds(self, axis: int, view: Visual) -> tuple[float, float]:
        return float(self._low[axis]), float(self._high[axis])


ParticleSurfaceNode = create_visual_node(ParticleSurfaceVisual)
