"""Makes particleseg3d 0.2.16 importable today, for comparison. Nothing of it is copied here.

    pip install --no-deps -r tests/benchmarks/particleseg3d_requirements.txt

It asks for packages that no longer install beside a present PyTorch. What stands in for them:

- `pytorch_lightning`: its network module is a plain torch module, and its trainer a loop that calls
  `predict_step` on each batch without gradients, in float32 (its half precision needs a GPU).
- `GeodisTK`: imported, but never called by the conversion that is used by default.
"""

from __future__ import annotations

import sys
import types
import warnings
from typing import Any


def prepare() -> None:
    """Put the stand-ins in place; then `particleseg3d.inference` can be imported."""
    import torch

    # Present versions of scipy, skimage and torch warn of each of its calls.
    warnings.filterwarnings("ignore")

    class Trainer:
        def __init__(self, **_options: Any) -> None:
            pass

        def predict(self, model: Any, dataloaders: Any) -> None:
            with torch.inference_mode():
                for index, batch in enumerate(dataloaders):
                    model.predict_step(batch, index)

    lightning = types.ModuleType("pytorch_lightning")
    lightning.LightningModule = torch.nn.Module  # type: ignore[attr-defined]
    lightning.Trainer = Trainer  # type: ignore[attr-defined]
    sys.modules.setdefault("pytorch_lightning", lightning)
    sys.modules.setdefault("GeodisTK", types.ModuleType("GeodisTK"))
    try:
        import numpy_indexed  # noqa: F401
        import particleseg3d.inference.border_core2instance  # noqa: F401
    except ImportError as error:
        raise SystemExit(
            f"{error}. Install what it needs: pip install --no-deps -r "
            "tests/benchmarks/particleseg3d_requirements.txt"
        ) from error
