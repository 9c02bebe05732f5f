"""Pictures of scans and particles: linked slices, histogram, measuring and 3D."""

from particleseg_app.gui.viewers.histogram import HistogramWindow
from particleseg_app.gui.viewers.label_colours import colour_of, colours_of
from particleseg_app.gui.viewers.measuring import Measurement, MeasuringTool
from particleseg_app.gui.viewers.measuring_panel import MeasuringPanel
from particleseg_app.gui.viewers.orthoslices import OrthosliceView
from particleseg_app.gui.viewers.particles_3d import Particles3DView
from particleseg_app.gui.viewers.slice_loader import SliceLoader

__all__ = [
    "HistogramWindow",
    "Measurement",
    "MeasuringPanel",
    "MeasuringTool",
    "OrthosliceView",
    "Particles3DView",
    "SliceLoader",
    "colour_of",
    "colours_of",
]
