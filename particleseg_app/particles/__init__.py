"""Measures particles: descriptors, size distributions, the table and its exports."""

from particleseg_app.particles.measure import measure_particles
from particleseg_app.particles.table import COLUMNS, Column, column_named, load_table, save_table

__all__ = [
    "COLUMNS",
    "Column",
    "column_named",
    "load_table",
    "measure_particles",
    "save_table",
]
