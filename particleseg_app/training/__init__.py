"""Training room: simulated scans with perfect labels, and the network that learns from them."""

from particleseg_app.training.calibration import calibrate
from particleseg_app.training.export import ModelFacts, export_checked
from particleseg_app.training.lab_source import LabPatchSource
from particleseg_app.training.model_training import train_model
from particleseg_app.training.patches import PatchSource
from particleseg_app.training.sample import sample_scan, write_sample, write_scan
from particleseg_app.training.scene_pool import fill_pool
from particleseg_app.training.scenes import PRESETS, SimulatedScan, simulate_scan
from particleseg_app.training.trainer import Trainer, TrainingSettings
from particleseg_app.training.training_plan import TrainingPlan

__all__ = [
    "PRESETS",
    "LabPatchSource",
    "ModelFacts",
    "PatchSource",
    "SimulatedScan",
    "Trainer",
    "TrainingPlan",
    "TrainingSettings",
    "calibrate",
    "export_checked",
    "fill_pool",
    "sample_scan",
    "simulate_scan",
    "train_model",
    "write_sample",
    "write_scan",
]
