"""Draws particle surfaces with vispy: lit from the viewer's side, one particle highlighted.

Colours, what is hidden, the highlighted particle and the cut are attributes and uniforms, so
changing them never makes the surfaces anew.
"""

from __future__ import annotations

import numpy as np
from vispy.gloo import IndexBuffer, VertexBuffer
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.particle_surfaces import ParticleSurfaces

NO_CLIP = (0.0, 0.0, 0.0, 1.0)  # keeps every point

_VERTEX = """
attribute vec3 a_position;
attribute vec3 a_normal;
attribute vec4 a_tint;
attribute float a_label;
uniform vec4 u_clip;
varying vec3 v_normal;
varying vec3 v_colour;
varying float v_label;
varying float v_kept;
void main() {
    v_normal = a_normal;
    v_colour = a_tint.rgb;
    v_label = a_label;
    v_kept = dot(u_clip, vec4(a_position, 1.0));
    gl_Position = $transform(vec4(a_position, 1.0));
    if (a_tint.a < 0.5) {
        gl_Position = vec4(2.0, 2.0, 2.0, 1.0);  // all corners of a hidden particle in one place
    }
}
"""

# The inside of a surface that is cut open is painted flat, as if the particle were solid there.
_FRAGMENT = """
uniform vec3 u_viewer;
uniform vec3 u_light;
uniform float u_selected;
uniform float u_steps_back;  // whether all others do when one is highlighted
uniform float u_opacity;
uniform vec4 u_clip;
varying vec3 v_normal;
varying vec3 v_colour;
varying float v_label;
varying float v_kept;
void main() {
    if (v_kept < 0.0) discard;
    vec3 normal = normalize(v_normal);
    bool solid = false;
    if (dot(u_clip.xyz, u_clip.xyz) > 0.5 && dot(normal, u_viewer) < 0.0) {
        solid = !gl_FrontFacing;
    }
    if (solid) normal = -u_clip.xyz;
    float facing = dot(normal, u_viewer);
    float lit = max(dot(normal, u_light), 0.0);
    float sheen = pow(max(dot(normal, normalize(u_light + u_viewer)), 0.0), 32.0);
    if (solid) {
        sheen = 0.0;
        facing = abs(facing);
        lit = 0.55;
    }
    vec3 colour = v_colour;
    bool chosen = abs(v_label - u_selected) < 0.5;
    if (u_selected > 0.5 && u_steps_back > 0.5 && !chosen) {
        float grey = dot(colour, vec3(0.3, 0.6, 0.1));
        colour = mix(vec3(grey), colour, 0.35) * 0.55;
        sheen *= 0.2;
    }
    vec3 result = colour * (0.30 + 0.22 * max(facing, 0.0) + 0.58 * lit) + vec3(0.10 * sheen);
    float opacity = u_opacity;
    if (u_selected > 0.5 && chosen && !solid) {
        float edge = 1.0 - max(facing, 0.0);
        if (u_steps_back > 0.5) {
            result = result * 1.1 + vec3(0.75 * pow(edge, 2.5));
        } else {  // its colour stays what it is: a clear outline, also over what hides it
            float rim = smoothstep(0.62, 0.82, edge);
            result = mix(result, vec3(1.0), rim);
            opacity = max(opacity, rim);
        }
    }
    gl_FragColor = vec4(min(result, vec3(1.0)), opacity);
}
"""


class ParticleSurfaceVisual(Visual):
    """A vispy visual of `ParticleSurfaces`."""

    def __init__(self, surfaces: ParticleSurfaces, look: LabelLook, opacity: float = 1.0) -> None:
        Visual.__init__(self, _VERTEX, _FRAGMENT)
        self.set_gl_state("opaque", depth_test=True, cull_face=False)
        self._draw_mode = "triangles"
        self._index_buffer = IndexBuffer(surfaces.triangles)
        self._labels = surfaces.labels
        self._tints = VertexBuffer(look.tints(surfaces.labels))
        program = self.shared_program
        program["u_opacity"] = opacity
        program["u_steps_back"] = float(not look.tells)
        program["a_position"] = VertexBuffer(surfaces.vertices)
        program["a_normal"] = VertexBuffer(surfaces.normals)
        program["a_tint"] = self._tints
        program["a_label"] = VertexBuffer(surfaces.labels.astype(np.float32))
        self._low = surfaces.vertices.min(axis=0)
        self._high = surfaces.vertices.max(axis=0)
        self.set_clip(NO_CLIP)
        self.set_viewer(*np.eye(3)[[2, 0, 1, 2]])
        self.set_selected(0)

    def set_viewer(
        self, viewer: np.ndarray, right: np.ndarray, up: np.ndarray, light: np.ndarray
    ) -> None:
        """Unit vectors from the scene: to the viewer, the screen's right and up, to the light."""
        self.shared_program["u_viewer"] = tuple(float(v) for v in viewer)
        self.shared_program["u_light"] = tuple(float(v) for v in light)

    def set_look(self, look: LabelLook) -> None:
        """Other colours, or other particles hidden; the surfaces stay."""
        self._tints.set_data(look.tints(self._labels))
        self.shared_program["u_steps_back"] = float(not look.tells)
        self.update()

    def set_selected(self, label: int) -> None:
        """Highlight one particle; 0 shows all alike."""
        self.shared_program["u_selected"] = float(label)
        self.update()

    def set_clip(self, plane: tuple[float, float, float, float]) -> None:
        """Cut away points (x, y, z) where a·x + b·y + c·z + d < 0; (a, b, c) is a unit vector."""
        self.shared_program["u_clip"] = plane
        self.update()

    def _prepare_transforms(self, view: Visual) -> None:
        view.view_program.vert["transform"] = view.get_transform()

    def _compute_bounds(self, axis: int, view: Visual) -> tuple[float, float]:
        return float(self._low[axis]), float(self._high[axis])


ParticleSurfaceNode = create_visual_node(ParticleSurfaceVisual)
