"""What computes the network of a run, decided when the run begins and kept when it goes on.

Engines differ in the last digits of a prediction. The one that a run was begun with stands in its
`origin.json`, so that a run that was interrupted ends as if it had not been.
"""

from __future__ import annotations

from typing import Any

from particleseg_app.errors import NewRunError
from particleseg_app.models import (
    Inference,
    ModelEntry,
    choose_inference,
    inference_from_id,
    torch_inference,
)
from particleseg_app.models.converted_models import openvino_version
from particleseg_app.progress import CancelToken, Progress


def inference_of_run(
    origin: dict[str, Any] | None,
    entry: ModelEntry,
    device_id: str,
    wanted: str,
    progress: Progress,
    cancel: CancelToken,
) -> Inference:
    """The engine for a run on a device.

    `origin` is what an earlier attempt wrote down, None for a run that begins. Raises `RunError`
    when the run was begun with an engine that is not here.
    """
    if origin is None:
        choice = choose_inference(entry, device_id, wanted, cancel)
        if choice.note:
            progress.note(choice.note)
        return choice.inference
    here = torch_inference(device_id)
    # Before engines were written down there was only torch.
    recorded = str(origin.get("inference", here.id))
    begun_with = inference_from_id(recorded)
    if begun_with is None:
        raise NewRunError(
            f"This run was begun with an engine that is not known here ({recorded}).",
            "Continue it with the version of the program that began it, or start a new run.",
        )
    if begun_with.engine == "openvino" and device_id.startswith("cpu"):
        if openvino_version() is None:
            raise NewRunError(
                "This run was begun with OpenVINO, which is not installed here.",
                "Install the package “openvino”, or start a new run.",
            )
        return begun_with
    if begun_with != here:
        progress.note(
            f"The run was begun with {begun_with.title} and goes on with {here.title}; "
            "single voxels may differ from a run in one go."
        )
    return here
