"""The questions before a run: scan, voxel size, particle diameter, method and cost."""

from particleseg_app.gui.wizard.page import Answers, WizardScan
from particleseg_app.gui.wizard.wizard import SegmentationWizard

__all__ = ["Answers", "SegmentationWizard", "WizardScan"]
