"""Which engine computes a network: PyTorch everywhere, OpenVINO on processors where it is faster.

Engines differ in the last digits of a prediction, so the one a run was started with is part of
what the run is: `Inference.id` goes into the run's origin, and `inference_from_id` brings it back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from particleseg_app.cores import usable_cores
from particleseg_app.durable_files import write_json
from particleseg_app.errors import ModelError
from particleseg_app.models.converted_models import openvino_version
from particleseg_app.models.model_card import read_small_json
from particleseg_app.models.model_folder import ModelEntry
from particleseg_app.models.openvino_predictor import (
    PRECISIONS,
    OpenVinoPredictor,
    computes_bfloat16,
)
from particleseg_app.models.predictor import Predictor, TilePredictor, reduced_precision
from particleseg_app.progress import CancelToken
from particleseg_app.units import Shape
from particleseg_app.user_folders import cache_folder

if TYPE_CHECKING:
    import torch

ENGINES = ("auto", "openvino", "torch")
# Below this a tile is so quick that no conversion would ever pay.
QUICK_TILE_S = 0.05
PROBES = 2
# Share of voxels whose class must be the one that torch finds, or the conversion is not trusted.
LEAST_AGREEMENT = 0.98
# OpenVINO in bfloat16 must beat float32 by this much, because float32 is the more exact.
WORTH_REDUCING = 0.9
SMALLEST_PROBE_EDGE = 48

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inference:
    """An engine ("torch" or "openvino") and what it computes in."""

    engine: str
    precision: str

    @property
    def id(self) -> str:
        return f"{self.engine} {self.precision}"

    @property
    def title(self) -> str:
        name = {"torch": "PyTorch", "openvino": "OpenVINO"}[self.engine]
        return f"{name}, {self.precision}"


@dataclass(frozen=True)
class Choice:
    """The engine for a run, and a remark for the user where it is not what was asked for."""

    inference: Inference
    note: str = ""


def torch_inference(device_id: str) -> Inference:
    """What torch computes in on that device."""
    import torch

    reduced = reduced_precision(torch.device(device_id))
    return Inference("torch", "float32" if reduced is None else str(reduced).split(".")[-1])


def inference_from_id(text: str) -> Inference | None:
    """The engine that `Inference.id` named, or None for one that this version does not know."""
    engine, _, precision = text.partition(" ")
    if engine == "openvino" and precision in PRECISIONS:
        return Inference(engine, precision)
    if engine == "torch" and precision in ("float32", "bfloat16", "float16"):
        return Inference(engine, precision)
    return None


def open_predictor(
    entry: ModelEntry,
    device_id: str,
    mirroring: bool,
    cancel: CancelToken,
    inference: Inference | None = None,
) -> TilePredictor:
    """The model on a device, computed by `inference` (torch if None); raises `ModelError`.

    A graphics card, which a worker of a cluster may have, is always left to torch.
    """
    if inference is not None and inference.engine == "openvino" and device_id.startswith("cpu"):
        return OpenVinoPredictor(entry, mirroring, cancel, inference.precision)
    return Predictor(entry, device_id, mirroring, cancel)


def choose_inference(entry: ModelEntry, device_id: str, wanted: str, cancel: CancelToken) -> Choice:
    """The engine for a model on a device; `wanted` is one of `ENGINES`.

    "auto" takes the engine that is fastest here, tried once on a small tile and remembered for
    this computer, model and version. Where OpenVINO does not work, torch computes and the note
    says so.
    """
    fallback = torch_inference(device_id)
    if wanted == "torch" or not device_id.startswith("cpu"):
        return Choice(fallback)
    if openvino_version() is None:
        note = "OpenVINO is not installed; PyTorch is used." if wanted == "openvino" else ""
        return Choice(fallback, note)
    remembered = _Remembered(entry)
    choice = remembered.read(wanted)
    if choice is None:
        try:
            choice = _measured(entry, fallback, wanted, cancel)
        except ModelError as error:
            return Choice(fallback, f"{error.sentence} PyTorch is used.")
        remembered.write(wanted, choice)
    return choice


def _measured(entry: ModelEntry, fallback: Inference, wanted: str, cancel: CancelToken) -> Choice:
    """Try the engines in turns on one tile; raises `ModelError` where OpenVINO fails."""
    import torch

    tile = torch.from_numpy(_probe_tile(entry))
    torch_predictor = open_predictor(entry, "cpu", False, cancel)
    expected = torch_predictor.predict(tile).argmax(dim=1)
    if wanted == "auto" and _seconds(torch_predictor, tile, cancel) < QUICK_TILE_S:
        return Choice(fallback)
    precisions = ["float32", "bfloat16"] if computes_bfloat16() else ["float32"]
    predictors: dict[Inference, TilePredictor] = {fallback: torch_predictor}
    for precision in precisions:
        predictor = open_predictor(entry, "cpu", False, cancel, Inference("openvino", precision))
        agreement = float((predictor.predict(tile).argmax(dim=1) == expected).float().mean())
        if agreement >= LEAST_AGREEMENT:
            predictors[Inference("openvino", precision)] = predictor
        else:
            _log.warning("OpenVINO in %s agrees in %.4f of voxels only.", precision, agreement)
    seconds = dict.fromkeys(predictors, float("inf"))
    # In turns, so that a change in the load of the machine meets all of them alike.
    for _ in range(PROBES):
        for inference, predictor in predictors.items():
            seconds[inference] = min(seconds[inference], _seconds(predictor, tile, cancel))
    _log.info("Seconds per probe tile: %s", {one.id: round(s, 3) for one, s in seconds.items()})
    return _best(seconds, fallback, wanted)


def _best(seconds: dict[Inference, float], fallback: Inference, wanted: str) -> Choice:
    exact, reduced = Inference("openvino", "float32"), Inference("openvino", "bfloat16")
    converted = [one for one in (exact, reduced) if one in seconds]
    if not converted:
        return Choice(fallback, "OpenVINO’s predictions differ from PyTorch’s; PyTorch is used.")
    best = min(converted, key=seconds.__getitem__)
    if exact in seconds and seconds[best] > WORTH_REDUCING * seconds[exact]:
        best = exact
    if wanted == "auto" and seconds[fallback] <= seconds[best]:
        best = fallback
    return Choice(best)


def _seconds(predictor: TilePredictor, tile: torch.Tensor, cancel: CancelToken) -> float:
    cancel.check()
    started = time.perf_counter()
    predictor.predict(tile)
    return time.perf_counter() - started


def _probe_tile(entry: ModelEntry) -> np.ndarray:
    """A small made-up scan, float32 (1, 1, z, y, x), normalised: bright balls in noise.

    Half the model's patch where the network takes that, so that large networks are tried quickly.
    """
    patch = entry.card.patch_shape
    halved = all(n % 64 == 0 or (n % 32 == 0 and n <= 128) for n in patch)
    shape: Shape = patch
    if halved and min(patch) >= 2 * SMALLEST_PROBE_EDGE:
        shape = (patch[0] // 2, patch[1] // 2, patch[2] // 2)
    random = np.random.default_rng(0)
    grey = random.normal(0.0, 0.25, shape).astype(np.float32)
    grid = np.indices(shape, dtype=np.float32)
    radius = entry.card.target_diameter_voxels / 2
    for _ in range(max(3, int(0.3 * np.prod(shape) / (4.2 * radius**3)))):
        centre = random.uniform(0, 1, 3) * shape
        distance = np.linalg.norm(grid - centre[:, None, None, None], axis=0)
        grey[distance <= radius * random.uniform(0.6, 1.2)] += 0.1 + random.uniform(0.8, 2.0)
    grey = (grey - grey.mean()) / grey.std()
    return grey[None, None].astype(np.float32)


class _Remembered:
    """Choices made before for one model on this computer, one small file each."""

    def __init__(self, entry: ModelEntry) -> None:
        import torch

        facts = {
            "model": entry.fingerprint(),
            "processor": _processor_name(),
            "cores": usable_cores(),
            "threads": torch.get_num_threads(),
            "precision": torch_inference("cpu").precision,
            "torch": torch.__version__,
            "openvino": openvino_version(),
        }
        self._facts = json.loads(json.dumps(facts))
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        self._folder = cache_folder() / "inference"
        self._key = key

    def read(self, wanted: str) -> Choice | None:
        try:
            stored = read_small_json(self._path(wanted))
        except ModelError:
            return None
        inference = inference_from_id(str(stored.get("inference")))
        if stored.get("facts") != self._facts or inference is None:
            return None
        return Choice(inference, str(stored.get("note", "")))

    def write(self, wanted: str, choice: Choice) -> None:
        path = self._path(wanted)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(
                path,
                {"inference": choice.inference.id, "note": choice.note, "facts": self._facts},
            )
        except OSError as error:
            _log.warning("The choice of engine cannot be kept: %s", error)

    def _path(self, wanted: str) -> Path:
        return self._folder / f"{self._key}-{wanted}.json"


def _processor_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return f"{platform.machine()} {platform.processor()}"
