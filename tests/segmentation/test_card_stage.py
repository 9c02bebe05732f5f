"""The network stage on a graphics card: the same classes as on the processor, however it is cut.

What can be looked at without a card is tested without one.
"""

import numpy as np
import pytest
import torch

from particleseg_app.models import Device, Predictor
from particleseg_app.models.model_folder import ModelEntry
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, card_stream
from particleseg_app.segmentation.background import BackgroundTest
from particleseg_app.segmentation.card_stream import Pace
from particleseg_app.segmentation.network_stage import NetworkStage
from particleseg_app.segmentation.plan import NetworkPlan, plan_network_run
from particleseg_app.segmentation.tiles import plan_chunks

from ..models.tiny_model import write_tiny_model
from .test_network_stage import SCALING, classes_of, scan
from .volumes import ArrayVolume

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHAPE = (64, 96, 112)
TILE = (32, 32, 32)


def stage(
    folder,
    model: ModelEntry,
    device: str,
    tiles_per_chunk: int,
    volume: ArrayVolume,
    background: BackgroundTest | None = None,
) -> NetworkStage:
    plan = NetworkPlan(
        scale_factor=1.0,
        scan_shape=SHAPE,
        working_shape=SHAPE,
        tile_shape=TILE,
        overlap=0.5,
        mirroring=False,
        chunks=plan_chunks(SHAPE, TILE, 0.5, tiles_per_chunk),
    )
    predictor = Predictor(model, device, False, CancelToken())
    return NetworkStage(plan, volume, SCALING, predictor, folder, background)


@pytest.mark.gpu
@needs_gpu
def test_a_card_finds_the_classes_that_the_processor_finds(tmp_path):
    model, volume = write_tiny_model(tmp_path / "m"), scan(SHAPE)
    found = {}
    for name, device, tiles in (("cpu", "cpu", 9), ("whole", "cuda", 9), ("cut", "cuda", 2)):
        one = stage(tmp_path / name, model, device, tiles, volume)
        progress = Progress()
        found[name] = classes_of(one.run(progress, CancelToken()))
        assert progress.snapshot().done == one.plan.tile_count
    # Half precision, and another number of tiles at once, may turn single voxels.
    assert (found["whole"] == found["cpu"]).mean() > 0.98
    assert (found["cut"] == found["whole"]).mean() > 0.999


@pytest.mark.gpu
@needs_gpu
def test_a_card_passes_by_the_tiles_that_the_processor_passes_by(tmp_path):
    values = np.random.default_rng(1).normal(-1.0, 0.1, SHAPE).astype(np.float32)
    values[10:40, 20:60, 20:50] += 2
    model, test = write_tiny_model(tmp_path / "m"), BackgroundTest(0.5)
    passed = []
    for device in ("cpu", "cuda"):
        one = stage(tmp_path / device, model, device, 3, ArrayVolume(values), test)
        one.run(Progress(), CancelToken())
        passed.append(one.files.background_tiles())
    assert passed[0] == passed[1] > 10


def test_many_tiles_together_are_judged_as_each_alone():
    random, test = np.random.default_rng(2), BackgroundTest(0.5)
    tiles = [
        torch.from_numpy(random.normal(level, 0.2, TILE).astype(np.float32))
        for level in (-1.0, -1.0, -1.0, 2.0, 0.45)
    ]
    tiles[1][8:20, 8:20, 8:20] += 1.2
    alone = [bool(test.is_background(tile)) for tile in tiles]
    assert test._certain(tiles).tolist() == alone
    assert test.are_background(tiles, CancelToken()).tolist() == alone
    assert sum(alone) not in (0, len(alone))


class _Mark:
    """A mark that a card reaches only when it is waited for."""

    def __init__(self) -> None:
        self.reached = False

    def synchronize(self) -> None:
        self.reached = True


def test_a_card_runs_a_few_batches_ahead_and_all_tiles_are_counted(monkeypatch):
    marks: list[_Mark] = []

    def mark(device: torch.device) -> _Mark:
        marks.append(_Mark())
        return marks[-1]

    monkeypatch.setattr(card_stream, "mark", mark)
    progress = Progress()
    progress.start("tiles", total=50)
    pace = Pace(torch.device("cuda"), progress)
    for batch in range(5):
        pace.given(10)
        waiting = [one for one in marks if not one.reached]
        assert len(waiting) == min(batch + 1, card_stream.BATCHES_AHEAD)
        assert progress.snapshot().done == 10 * (len(marks) - len(waiting))
    pace.end()
    assert progress.snapshot().done == 50


def test_on_a_processor_every_tile_is_counted_at_once():
    progress = Progress()
    progress.start("tiles", total=3)
    pace = Pace(torch.device("cpu"), progress)
    pace.given(1)
    assert progress.snapshot().done == 1


def test_chunks_on_a_card_are_larger_where_its_memory_allows_it(tmp_path):
    card = write_tiny_model(tmp_path / "m").card
    settings = RunSettings(10, 10 * card.target_diameter_voxels)
    shape = (2000, 2000, 2000)

    def tiles(device: Device | None) -> int:
        return plan_network_run(shape, settings, card, device=device).tiles_per_chunk

    assert tiles(Device("cuda:0", "large", 80 * 10**9)) > tiles(None)
    assert tiles(Device("cpu", "processor", 80 * 10**9)) == tiles(None)
    assert tiles(Device("cuda:0", "tiny", 10**6)) == 1
