"""Models: folders, cards, safe loading, devices, prediction."""

from particleseg_app.models.devices import Device, available_devices, choose_device
from particleseg_app.models.model_card import GreyScaling, ModelCard, Normalisation
from particleseg_app.models.model_folder import (
    DEFAULT_MODEL,
    ModelEntry,
    find_model,
    list_models,
    open_model,
)
from particleseg_app.models.model_import import ImportOptions, import_model, remove_model
from particleseg_app.models.predictor import Predictor

__all__ = [
    "DEFAULT_MODEL",
    "Device",
    "GreyScaling",
    "ImportOptions",
    "ModelCard",
    "ModelEntry",
    "Normalisation",
    "Predictor",
    "available_devices",
    "choose_device",
    "find_model",
    "import_model",
    "list_models",
    "open_model",
    "remove_model",
]
