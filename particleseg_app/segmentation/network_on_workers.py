"""The network stage by workers: any of them predicts a chunk, any of them closes one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from particleseg_app.errors import RunError
from particleseg_app.models import Device, GreyScaling, ModelEntry, choose_device
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.background import BackgroundTest
from particleseg_app.segmentation.chunk_sums import ChunkSums
from particleseg_app.segmentation.class_pieces import ClassPieces
from particleseg_app.segmentation.cores import cores_of_worker
from particleseg_app.segmentation.network_stage import (
    STAGE_NAME,
    ChunkPredictor,
    TilePredictor,
    begin,
)
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.workers import Workers
from particleseg_app.segmentation.working_scale import GreyVolume

MakePredictor = Callable[[ModelEntry, str, bool, CancelToken], TilePredictor]
_Step = tuple[Literal["predict", "close"], int]


def run_network_stage_on(
    workers: Workers,
    plan: NetworkPlan,
    scan: GreyVolume,
    scaling: GreyScaling,
    model: WorkerModel,
    folder: Path,
    progress: Progress,
    cancel: CancelToken,
    background: BackgroundTest | None = None,
    title: str = STAGE_NAME,
) -> ClassPieces:
    """As `NetworkStage.run`, with the same files in `folder` at the end, done by `workers`.

    Continues what an earlier attempt left, whether by workers or by `NetworkStage`.
    """
    files = ChunkSums(folder, plan)
    missing = begin(files, progress, title)
    # Kept in memory: on a network drive this computer may see the others' files only later.
    predicted = {chunk.index for chunk in plan.chunks} - {chunk.index for chunk in missing}
    ready = files.ready()
    closing = set(ready)

    def then(step: Any, result: Any) -> Iterable[_Step]:
        kind, index = step
        if kind == "close":
            return []
        predicted.add(index)
        # Only the chunk itself and those it reaches into can have become ready by it.
        due = [
            target
            for target in (index, *files.targets[index])
            if target in predicted
            and target not in closing
            and predicted.issuperset(files.sources[target])
        ]
        closing.update(due)
        return [("close", target) for target in due]

    closings: list[_Step] = [("close", index) for index in ready]
    predictions: list[_Step] = [("predict", chunk.index) for chunk in missing]
    chunks = _WorkerChunks(files, scan, scaling, model, progress, cancel, background)
    workers.each(chunks.do, closings + predictions, cancel, then, at_once=chunks.at_once)
    return files.pieces


def device_of_workers(workers: Workers, wanted: str, cancel: CancelToken) -> Device:
    """What "auto" means on the workers, which may have graphics cards where this computer has none.

    Asked of one of them, so that all compute on devices of one kind. Raises `InvalidValueError`
    where it has no device `wanted`.
    """
    found: list[Device] = []

    def choose(wanted: str) -> Device:
        return choose_device(wanted)

    def keep(wanted: str, device: Device) -> tuple[()]:
        found.append(device)
        return ()

    workers.each(choose, [wanted], cancel, keep)
    return found[0]


@dataclass(frozen=True)
class WorkerModel:
    """How a worker gets the model that the run was planned with, on which of its devices."""

    make_predictor: MakePredictor
    entry: ModelEntry
    fingerprint: str
    device: str
    mirroring: bool

    def load(self, cancel: CancelToken) -> TilePredictor:
        """Load it in this process; `RunError` when the files there are not the same."""
        if self.entry.fingerprint() != self.fingerprint:
            raise RunError(
                f"The model in {self.entry.folder} is another one on a worker.",
                "Install the same version everywhere, or put the model on the shared drive.",
            )
        _use_cores_of_worker()
        device = choose_device(self.device)
        return self.make_predictor(self.entry, device.id, self.mirroring, cancel)


@dataclass
class _WorkerChunks:
    """Does the steps of the stage in one process; the model is loaded there once."""

    files: ChunkSums
    scan: GreyVolume
    scaling: GreyScaling
    model: WorkerModel
    progress: Progress
    cancel: CancelToken
    background: BackgroundTest | None = None
    loading: Any = field(default_factory=threading.Lock)
    computing: Any = field(default_factory=threading.Lock)
    predictor: ChunkPredictor | None = None

    def at_once(self) -> int:
        """Two: one reads its chunk while the network works on the other's."""
        return 2

    def do(self, step: _Step) -> None:
        kind, index = step
        chunk = self.files.plan.chunks[index]
        if kind == "close":
            self.files.close(chunk)
            return
        predictor = self._predictor()
        grey = predictor.read(chunk)
        with self.computing:
            answer = predictor.sums(chunk, grey, self.progress, self.cancel)
        answer.check()
        self.files.note_background(chunk, answer.background)
        self.files.keep(chunk, answer.sums.cpu().numpy())

    def _predictor(self) -> ChunkPredictor:
        with self.loading:
            if self.predictor is None:
                model = self.model.load(self.cancel)
                self.predictor = ChunkPredictor(
                    self.files.plan, self.scan, self.scaling, model, self.background
                )
            return self.predictor


def _use_cores_of_worker() -> None:
    """Dask starts its processes with one thread for numerical libraries: one tile would use one."""
    import torch

    cores = cores_of_worker()
    if cores is not None:
        torch.set_num_threads(cores)
