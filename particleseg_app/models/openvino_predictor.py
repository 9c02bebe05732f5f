"""A network on the processor, computed by OpenVINO: the same interface as `Predictor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particleseg_app.errors import ModelError
from particleseg_app.models.converted_models import converted_folds
from particleseg_app.models.model_folder import ModelEntry
from particleseg_app.models.predictor import FoldsAndFlips
from particleseg_app.progress import CancelToken

if TYPE_CHECKING:
    import torch

POLL_MS = 50
PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}


class OpenVinoPredictor(FoldsAndFlips):
    """The folds of one model on the processor.

    `precision` is "bfloat16" or "float32". Tiles are predicted one after the other on as many
    threads as torch may use. A set cancel token ends a prediction between two layers. Raises
    `ModelError` when OpenVINO is missing or cannot compute the network.
    """

    def __init__(
        self, entry: ModelEntry, mirroring: bool, cancel: CancelToken, precision: str
    ) -> None:
        import torch

        paths = converted_folds(entry, cancel)
        super().__init__(len(paths), mirroring)
        self.device = torch.device("cpu")
        self._paths = paths
        self._precision = precision
        self._cancel = cancel
        # Compiled for one tile shape at a time: a run has only one.
        self._requests: list[Any] = []
        self._shape: tuple[int, ...] = ()

    def _logits(self, fold: int, tiles: torch.Tensor) -> torch.Tensor:
        import torch

        values = tiles.contiguous().numpy()
        shape = (1, *values.shape[1:])
        if shape != self._shape:
            self._compile(shape)
        return torch.from_numpy(
            np.concatenate([self._infer(self._requests[fold], tile[None]) for tile in values])
        )

    def _infer(self, request: Any, tile: np.ndarray) -> np.ndarray:
        self._cancel.check()
        try:
            request.start_async([tile], share_inputs=True)
            while not request.wait_for(POLL_MS):
                if self._cancel.cancelled:
                    request.cancel()
                    break
            self._wait(request)
        except RuntimeError as error:
            raise _cannot_compute(error) from error
        # A copy: the request writes its next answer to the same place.
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)

    def _wait(self, request: Any) -> None:
        try:
            request.wait()
        except RuntimeError:
            self._cancel.check()
            raise
        self._cancel.check()

    def _compile(self, shape: tuple[int, ...]) -> None:
        try:
            import openvino
            import torch

            core = openvino.Core()
            options = {
                "INFERENCE_PRECISION_HINT": PRECISIONS[self._precision],
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
                # Threads tied to cores wait for whatever else runs there.
                "ENABLE_CPU_PINNING": False,
            }
            self._requests = []
            for path in self._paths:
                model = core.read_model(path)
                model.reshape(list(shape))
                self._requests.append(
                    core.compile_model(model, "CPU", options).create_infer_request()
                )
                self._cancel.check()
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise _cannot_compute(error) from error
        self._shape = shape


def computes_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 that OpenVINO uses."""
    try:
        import openvino

        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (ImportError, OSError, RuntimeError):
        return False
    return "BF16" in capabilities


def _cannot_compute(error: Exception) -> ModelError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1][:200] if lines else type(error).__name__
    return ModelError(
        f"OpenVINO cannot compute this network ({reason}).", "Choose PyTorch for the inference."
    )
