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
from particleseg_app.segmentation.card_stream import HostCopies, Pace
from particleseg_app.segmentation.network_stage import NetworkStage
from particleseg_app.segmentation.plan import NetworkPlan, plan_network_run
from particleseg_app.segmentation.tiles import plan_chunks

from ..models.tiny_model import write_tiny_model
from .test_network_stage import SCALING, classes_of, half, scan
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
        overlap=half(TILE),
        mirroring=False,
        chunks=plan_chunks(SHAPE, TILE, half(TILE), tiles_per_chunk),
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


@pytest.mark.parametrize("size", [1, 100, 4096])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int32])
def test_what_goes_through_the_buffer_arrives_whole(kind, size):
    copies = HostCopies(torch.zeros(size, dtype=torch.uint8))
    for shape in ((3, 4, 5, 6), (2, 7, 1), (1,), (0, 4)):
        values = torch.randint(0, 255, shape, dtype=kind)
        arrived = copies._through(copies._buffer, values)
        assert arrived.dtype == values.numpy().dtype
        assert np.array_equal(arrived, values.numpy())


def test_on_a_processor_nothing_is_copied_but_what_is_not_in_order():
    values, copies = torch.arange(24, dtype=torch.int32).reshape(2, 3, 4), HostCopies()
    assert copies.array(values).base is not None
    assert np.shares_memory(copies.array(values), values.numpy())
    assert np.array_equal(copies.array(values[:, 1:]), values[:, 1:].numpy())
    assert copies._buffer is None


def test_without_pinned_memory_copies_go_without(monkeypatch):
    def refused(*_args, **_options):
        raise RuntimeError("CUDA error: OS call failed or operation not supported on this OS")

    copies = HostCopies()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "empty", refused)
        assert copies._pinned() is None
    assert copies._pinned() is None


@pytest.mark.gpu
@needs_gpu
def test_copies_from_a_card_arrive_whole(monkeypatch):
    monkeypatch.setattr(card_stream, "COPIED_AT_ONCE", 1000)
    copies, values = HostCopies(), torch.arange(-3000, 3000, dtype=torch.int32, device="cuda")
    parts = values.reshape(3, 20, 100)[:, 3:19, 5:]
    assert np.array_equal(copies.array(parts), parts.cpu().numpy())
    assert copies._buffer is not None and copies._buffer.is_pinned()


def test_on_a_processor_every_tile_is_counted_at_once():
    progress = Progress()
    progress.start("tiles", total=3)
    pace = Pace(torch.device("cpu"), progress)
    pace.given(1)
    assert progress.snapshot().done == 1


def test_chunks_on_a_card_are_larger_where_its_memory_allows_it(tmp_path):
    card = write_tiny_model(tmp_path / "m").card
    settings = RunSettings(10, 10 * card.target_diameter_voxels)
    shape = (600, 600, 600)

    def tiles(device: Device | None) -> int:
        return plan_network_run(shape, settings, card, device=device).tiles_per_chunk

    assert tiles(Device("cuda:0", "large", 80 * 10**9)) > tiles(None)
    assert tiles(Device("cpu", "processor", 80 * 10**9)) == tiles(None)
    assert tiles(Device("cuda:0", "tiny", 10**6)) == 1
