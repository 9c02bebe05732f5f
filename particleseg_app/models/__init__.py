"""Models: folders, cards, safe loading, devices, prediction."""

from particleseg_app.models.devices import Device, available_devices, choose_device
from particleseg_app.models.imported_models import remove_model, remove_model_named
from particleseg_app.models.inference import (
    ENGINES,
    Choice,
    Inference,
    choose_inference,
    inference_from_id,
    open_predictor,
    torch_inference,
)
from particleseg_app.models.model_card import GreyScaling, ModelCard, Normalisation
from particleseg_app.models.model_folder import (
    DEFAULT_MODEL,
    LIGHT_MODEL,
    ModelEntry,
    find_model,
    list_models,
    open_model,
    quickest_bundled_model,
)
from particleseg_app.models.model_import import ImportOptions, import_model
from particleseg_app.models.predictor import Predictor, TilePredictor

__all__ = [
    "DEFAULT_MODEL",
    "ENGINES",
    "LIGHT_MODEL",
    "Choice",
    "Device",
    "GreyScaling",
    "ImportOptions",
    "Inference",
    "ModelCard",
    "ModelEntry",
    "Normalisation",
    "Predictor",
    "TilePredictor",
    "available_devices",
    "choose_device",
    "choose_inference",
    "find_model",
    "import_model",
    "inference_from_id",
    "list_models",
    "open_model",
    "open_predictor",
    "quickest_bundled_model",
    "remove_model",
    "remove_model_named",
    "torch_inference",
]
