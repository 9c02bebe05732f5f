"""The particles in the 3D scene: surfaces, coarser ones, ellipsoids, and the one highlighted.

Whatever changes about their looks is passed on to what is drawn already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from particleseg_app.gui.viewers.ellipsoid_visual import EllipsoidNode
from particleseg_app.gui.viewers.ellipsoids import Ellipsoids
from particleseg_app.gui.viewers.label_look import LabelLook
from particleseg_app.gui.viewers.particle_surfaces import ParticleSurfaces
from particleseg_app.gui.viewers.seen_particles import SeenSurfaces
from particleseg_app.gui.viewers.surface_visual import NO_CLIP, ParticleSurfaceNode

Clip = tuple[float, float, float, float]
GHOST_OPACITY = 0.4


class SceneParticles:
    """Nodes below `parent`, the root of a vispy scene.

    Either `surfaces` of all particles (and `coarse` ones for motion), or `ellipsoids` of all and
    surfaces of those that are seen; the latter in motion only up to `triangles_in_motion`.
    `front_only`: see `EllipsoidVisual`.
    """

    def __init__(self, parent: Any, triangles_in_motion: int, *, front_only: bool = False) -> None:
        self._parent = parent
        self._front_only = front_only
        self._triangles_in_motion = triangles_in_motion
        self._seen_in_motion = False
        self._surfaces: ParticleSurfaceNode | None = None
        self._coarse: ParticleSurfaceNode | None = None
        self._ellipsoids: EllipsoidNode | None = None
        self._seen: ParticleSurfaceNode | None = None
        self._seen_labels = np.zeros(0, np.uint32)
        self._left_out = False
        self._ghost: ParticleSurfaceNode | None = None
        self._ghost_box = (np.zeros(3), np.zeros(3))
        self._surface_of: Callable[[int], ParticleSurfaces | None] | None = None
        self._selected = 0
        self._look = LabelLook.plain()
        self._clip: Clip = NO_CLIP
        self._viewer: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None
        self._visible, self._moving = True, False

    # --- what there is -------------------------------------------------------------------------

    def set(
        self,
        surfaces: ParticleSurfaces | None,
        coarse: ParticleSurfaces | None,
        ellipsoids: Ellipsoids | None,
        surface_of: Callable[[int], ParticleSurfaces | None] | None,
        *,
        keep_seen: bool = False,
    ) -> None:
        """Show other particles at once; `surface_of` gives the surface of one of them.

        `keep_seen`: go on drawing the surfaces of what is seen until there are others.
        """
        self._drop("_surfaces", "_coarse", "_ellipsoids")
        if not keep_seen:
            self._drop("_seen")
            self._seen_labels = np.zeros(0, np.uint32)
        self._surface_of = surface_of
        self._left_out = False
        if surfaces is not None and len(surfaces.triangles):
            self._surfaces = self._add(ParticleSurfaceNode(surfaces, self._look))
            if coarse is not None and len(coarse.triangles):
                self._coarse = self._add(ParticleSurfaceNode(coarse, self._look))
        if ellipsoids is not None and len(ellipsoids.labels):
            self._ellipsoids = self._add(
                EllipsoidNode(ellipsoids, self._look, front_only=self._front_only)
            )
        self._make_ghost()
        self._apply()

    def set_seen(self, seen: SeenSurfaces | None) -> None:
        """Draw these surfaces instead of their ellipsoids; None draws ellipsoids only."""
        self._drop("_seen")
        self._seen_labels = np.zeros(0, np.uint32)
        if seen is not None and len(seen.surfaces.triangles):
            self._seen = self._add(ParticleSurfaceNode(seen.surfaces, self._look))
            self._seen_labels = seen.labels
            self._seen_in_motion = len(seen.surfaces.triangles) <= self._triangles_in_motion
        self._left_out = False
        if self._ellipsoids is not None:
            self._ellipsoids.leave_out(np.zeros(0, np.uint32))
        self._apply()

    @property
    def empty(self) -> bool:
        return self._surfaces is None and self._ellipsoids is None

    # --- how it looks --------------------------------------------------------------------------

    @property
    def look(self) -> LabelLook:
        return self._look

    def set_look(self, look: LabelLook) -> None:
        self._look = look
        for node in self._nodes():
            node.set_look(look)
        self._apply()

    def set_selected(self, label: int) -> None:
        """Highlight one particle, also where others hide it; 0 shows all alike.

        The others step back, unless their colours stand for something.
        """
        if label == self._selected:
            return
        self._selected = label
        self._make_ghost()
        self._apply()

    def set_clip(self, clip: Clip) -> None:
        self._clip = clip
        for node in self._nodes():
            node.set_clip(clip)

    def show(self, visible: bool, moving: bool) -> None:
        self._visible, self._moving = visible, moving
        self._apply()

    def set_viewer(self, viewer: np.ndarray, right: np.ndarray, up: np.ndarray) -> None:
        """Unit vectors in the scene: towards the viewer, and the screen's right and up."""
        light = viewer + 0.55 * up - 0.45 * right
        light = light / np.linalg.norm(light)
        self._viewer = (viewer, right, up, light)
        for node in self._nodes():
            node.set_viewer(*self._viewer)

    def set_screen(self, width: int, height: int) -> None:
        if self._ellipsoids is not None:
            self._ellipsoids.set_screen(width, height)

    def ghost_box(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Corners (x, y, z) of the highlighted particle's surface while it is drawn."""
        return self._ghost_box if self._ghost is not None and self._ghost.visible else None

    def _nodes(self) -> Iterator[Any]:
        for node in (self._surfaces, self._coarse, self._ellipsoids, self._seen, self._ghost):
            if node is not None:
                yield node

    def _add(self, node: Any) -> Any:
        node.set_clip(self._clip)
        node.set_selected(self._selected_shown)
        if self._viewer is not None:
            node.set_viewer(*self._viewer)
        node.parent = self._parent
        return node

    def _drop(self, *names: str) -> None:
        for name in names:
            node = getattr(self, name)
            if node is not None:
                node.parent = None
                setattr(self, name, None)

    @property
    def _selected_shown(self) -> int:
        """The highlighted particle, unless it is hidden: then all others are as usual."""
        return self._selected if self._look.visibility.shows_label(self._selected) else 0

    def _make_ghost(self) -> None:
        self._drop("_ghost")
        if not self._selected or self._surface_of is None:
            return
        part = self._surface_of(self._selected)
        if part is not None:
            self._ghost = self._add(ParticleSurfaceNode(part, self._look, opacity=GHOST_OPACITY))
            self._ghost.set_gl_state("translucent", depth_test=False, cull_face="back")
            self._ghost.order = 5
            self._ghost_box = (part.vertices.min(axis=0), part.vertices.max(axis=0))

    def _apply(self) -> None:
        """Bring what is visible in line with mode, motion and selection."""
        coarse = self._moving and self._coarse is not None
        if self._surfaces is not None:
            self._surfaces.visible = self._visible and not coarse
        if self._coarse is not None:
            self._coarse.visible = self._visible and coarse
        show_seen = self._seen is not None and (not self._moving or self._seen_in_motion)
        if self._seen is not None:
            self._seen.visible = self._visible and show_seen
        if self._ellipsoids is not None:
            self._ellipsoids.visible = self._visible
            if show_seen != self._left_out:
                self._left_out = show_seen
                none = np.zeros(0, np.uint32)
                self._ellipsoids.leave_out(self._seen_labels if show_seen else none)
        selected = self._selected_shown
        if self._ghost is not None:
            self._ghost.visible = self._visible and bool(selected)
        for node in self._nodes():
            node.set_selected(selected)
