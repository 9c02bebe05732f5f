"""Whether this computer can draw in 3D, found out without risk to the rest of the window."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache

_GL_RENDERER = 0x1F01
_SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "swrast", "gdi generic", "basic render")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenGL:
    """What draws: `renderer` is its own name, `software` means the processor does the drawing."""

    renderer: str
    software: bool


@cache
def find_opengl() -> OpenGL | None:
    """The OpenGL of this computer, or None where there is none that can be used.

    The environment variable ``PARTICLESEG_NO_3D`` switches it off where a driver is broken.
    """
    if os.environ.get("PARTICLESEG_NO_3D"):
        return None
    from PySide6.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

    if QGuiApplication.platformName() in ("offscreen", "minimal", "vnc", "linuxfb"):
        return None
    try:
        context = QOpenGLContext()
        if not context.create():
            return None
        surface = QOffscreenSurface()
        surface.setFormat(context.format())
        surface.create()
        if not surface.isValid() or not context.makeCurrent(surface):
            return None
        version = context.format().version()
        renderer = str(context.functions().glGetString(_GL_RENDERER) or "")
        context.doneCurrent()
    except Exception:  # a missing or broken driver must not take the window with it
        _log.exception("OpenGL could not be tried.")
        return None
    if tuple(version) < (2, 1):
        _log.warning("OpenGL %s is too old for the 3D view (%s).", version, renderer)
        return None
    return OpenGL(renderer, any(name in renderer.lower() for name in _SOFTWARE))
