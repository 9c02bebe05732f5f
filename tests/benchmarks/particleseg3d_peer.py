"""Makes particleseg3d 0.2.16 importable today, for comparison. Nothing of it is copied here.

    pip install --no-deps -r tests/benchmarks/particleseg3d_requirements.txt

It asks for packages that no longer install beside a present PyTorch. What stands in for them:

- `pytorch_lightning`: its network module is a plain torch module, and its trainer a loop that moves
  network and batches to the device and calls `predict_step` on each batch without gradients: in
  float16 (autocast) on a graphics card, as it asks for there, in float32 on a processor.
- `GeodisTK`: imported, but never called by the conversion that is used by default.
- Names that later versions of scipy and scikit-image no longer have are put back under their old
  place.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from typing import Any


def prepare(device: str = "cpu") -> None:
    """Put the stand-ins in place; then `particleseg3d.inference` can be imported.

    It then computes on `device` (cpu or cuda).
    """
    import torch

    # Present versions of scipy, skimage and torch warn of each of its calls.
    warnings.filterwarnings("ignore")
    _old_names()
    where = torch.device(device)

    class Trainer:
        def __init__(self, **_options: Any) -> None:
            pass

        def predict(self, model: Any, dataloaders: Any) -> None:
            model.to(where)
            half = torch.autocast(where.type, torch.float16, enabled=where.type == "cuda")
            with torch.inference_mode(), half:
                for index, batch in enumerate(dataloaders):
                    model.predict_step(_moved(batch, where), index)

    lightning = types.ModuleType("pytorch_lightning")
    lightning.LightningModule = torch.nn.Module  # type: ignore[attr-defined]
    lightning.Trainer = Trainer  # type: ignore[attr-defined]
    # In place of a real one, too, whose trainer no longer takes these options.
    sys.modules["pytorch_lightning"] = lightning
    sys.modules.setdefault("GeodisTK", types.ModuleType("GeodisTK"))
    try:
        import numpy_indexed  # noqa: F401
        import particleseg3d.inference.border_core2instance  # noqa: F401
    except ImportError as error:
        raise SystemExit(
            f"{error}. Install what it needs: pip install --no-deps -r "
            "tests/benchmarks/particleseg3d_requirements.txt"
        ) from error


def _moved(batch: Any, where: Any) -> Any:
    """Every tensor of a batch on the device, as the trainer that it was written for does it."""
    if isinstance(batch, list | tuple):
        return type(batch)(_moved(part, where) for part in batch)
    return batch.to(where)


def _old_names() -> None:
    import numpy as np
    import scipy.ndimage
    import skimage.morphology

    for name in ("filters", "morphology"):
        try:
            importlib.import_module(f"scipy.ndimage.{name}")
        except ImportError:
            sys.modules[f"scipy.ndimage.{name}"] = scipy.ndimage
    if not hasattr(skimage.morphology, "cube"):
        skimage.morphology.cube = lambda width: np.ones((width,) * 3, np.uint8)
