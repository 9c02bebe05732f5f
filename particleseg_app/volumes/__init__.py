"""Scans and label volumes on disk: TIFF import, the chunked store, grey statistics."""

from particleseg_app.volumes.field_of_view import FieldOfView
from particleseg_app.volumes.granulometry import DiameterProposal, diameter_by_threshold
from particleseg_app.volumes.grey_statistics import GreyStatistics
from particleseg_app.volumes.label_files import LabelFile, open_label_file, read_label_file
from particleseg_app.volumes.labels import LabelVolume, LabelWriter, open_labels
from particleseg_app.volumes.scan import Scan, open_scan
from particleseg_app.volumes.scan_import import import_scan
from particleseg_app.volumes.tiff_source import ScanSource, inspect_source

__all__ = [
    "DiameterProposal",
    "FieldOfView",
    "GreyStatistics",
    "LabelFile",
    "LabelVolume",
    "LabelWriter",
    "Scan",
    "ScanSource",
    "diameter_by_threshold",
    "import_scan",
    "inspect_source",
    "open_label_file",
    "open_labels",
    "open_scan",
    "read_label_file",
]
