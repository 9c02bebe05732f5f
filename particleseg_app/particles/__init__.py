"""Measures particles: descriptors, size distributions, the table and its exports."""

from particleseg_app.particles.distribution import SizeDistribution, size_distribution
from particleseg_app.particles.export import export_csv
from particleseg_app.particles.export_labels import export_labels_hdf5, export_labels_tiff
from particleseg_app.particles.measure import measure_particles
from particleseg_app.particles.table import COLUMNS, Column, column_named, load_table, save_table

__all__ = [
    "COLUMNS",
    "Column",
    "SizeDistribution",
    "column_named",
    "export_csv",
    "export_labels_hdf5",
    "export_labels_tiff",
    "load_table",
    "measure_particles",
    "save_table",
    "size_distribution",
]
