"""Pictures of scans and particles: linked slices, histogram, measuring and 3D."""

from particleseg_app.gui.viewers.label_colours import colour_of, colours_of
from particleseg_app.gui.viewers.orthoslices import OrthosliceView
from particleseg_app.gui.viewers.slice_loader import SliceLoader

__all__ = [
    "OrthosliceView",
    "SliceLoader",
    "colour_of",
    "colours_of",
]
