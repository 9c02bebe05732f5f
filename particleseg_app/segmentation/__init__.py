"""Segmentation: plan of a run, tiles, network stage, border-core, particles, classical method."""

from particleseg_app.segmentation.cost import CostEstimate, estimate_cost
from particleseg_app.segmentation.run import finished_result, segment
from particleseg_app.segmentation.run_folder import RunResult, RunState, run_state
from particleseg_app.segmentation.settings import METHODS, PRESETS, RunSettings

__all__ = [
    "METHODS",
    "PRESETS",
    "CostEstimate",
    "RunResult",
    "RunSettings",
    "RunState",
    "estimate_cost",
    "finished_result",
    "run_state",
    "segment",
]
