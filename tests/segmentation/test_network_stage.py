"""The network stage: blending, chunks, resuming, graphics memory. A small real network is used."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import Cancelled, RunError
from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import network_stage
from particleseg_app.segmentation.chunk_sums import decided_classes
from particleseg_app.segmentation.network_stage import NetworkStage, gaussian_weights
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.tiles import plan_chunks, tile_shape_for
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Box, Shape

from .volumes import ArrayVolume

SCALING = GreyScaling(-np.inf, np.inf, 0.0, 1.0)


@dataclass
class SmallNetwork:
    """Two padded convolutions with fixed random weights: sees where its tile ends."""

    most_tiles: int = 1000
    stop_after: int | None = None
    batches: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.device = torch.device("cpu")
        generator = torch.Generator().manual_seed(3)
        self.first = torch.randn((4, 1, 3, 3, 3), generator=generator)
        self.second = torch.randn((3, 4, 3, 3, 3), generator=generator)

    def predict(self, tiles):
        if len(tiles) > self.most_tiles:
            raise torch.OutOfMemoryError("no room")
        if self.stop_after is not None and sum(self.batches) >= self.stop_after:
            raise Cancelled
        self.batches.append(len(tiles))
        shares = []
        for tile in tiles:
            hidden = torch.relu(torch.conv3d(tile[None], self.first, padding=1))
            shares.append(torch.softmax(torch.conv3d(hidden, self.second, padding=1), dim=1)[0])
        return torch.stack(shares)


def half(tile: Shape) -> Shape:
    """By how many voxels tiles overlap that overlap by half."""
    z, y, x = tile
    return z // 2, y // 2, x // 2


def make_stage(folder, volume, network, tiles_per_chunk, factor=1.0):
    shape = working_shape(volume.shape, factor)
    tile = tile_shape_for(shape, (16, 16, 32))
    plan = NetworkPlan(
        scale_factor=factor,
        scan_shape=volume.shape,
        working_shape=shape,
        tile_shape=tile,
        overlap=half(tile),
        mirroring=False,
        chunks=plan_chunks(shape, tile, half(tile), tiles_per_chunk),
    )
    return NetworkStage(plan, volume, SCALING, network, folder)


def classes_of(pieces):
    return pieces.read(Box.whole(pieces.shape))


def scan(shape=(30, 41, 50)):
    return ArrayVolume(np.random.default_rng(5).normal(size=shape).astype(np.float32))


@settings(deadline=None, max_examples=12)
@given(
    st.tuples(st.integers(3, 40), st.integers(3, 40), st.integers(3, 60)),
    st.integers(1, 3),
    st.sampled_from([0.7, 1.0, 1.3]),
)
def test_chunked_equals_unchunked(tmp_path_factory, shape, tiles_per_chunk, factor):
    volume = scan(shape)
    whole = make_stage(tmp_path_factory.mktemp("whole"), volume, SmallNetwork(), 1000, factor)
    folder = tmp_path_factory.mktemp("cut")
    cut = make_stage(folder, volume, SmallNetwork(), tiles_per_chunk, factor)
    expected = classes_of(whole.run(Progress(), CancelToken()))
    np.testing.assert_array_equal(classes_of(cut.run(Progress(), CancelToken())), expected)
    assert expected.max() >= 2 or expected.size < 1000


def test_blending_equals_the_weighted_mean_of_all_tiles(tmp_path):
    volume, network = scan(), SmallNetwork()
    stage = make_stage(tmp_path, volume, network, 2)
    classes = classes_of(stage.run(Progress(), CancelToken()))
    plan = stage.plan
    total = np.zeros((3, *plan.working_shape))
    weights = gaussian_weights(plan.tile_shape)
    for start in (start for chunk in plan.chunks for start in chunk.tiles):
        box = Box(start, tuple(a + n for a, n in zip(start, plan.tile_shape, strict=True)))
        tile = torch.from_numpy(volume.read(box))[None, None]
        total[(slice(None), *box.slices)] += network.predict(tile)[0].numpy() * weights
    ordered = np.sort(total, axis=0)
    clear = ordered[2] - ordered[1] > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(np.minimum(classes, 2)[clear], np.argmax(total, axis=0)[clear])


@pytest.mark.parametrize("stop_after", [0, 1, 9])
def test_an_interrupted_stage_goes_on_to_the_same_result(tmp_path, stop_after):
    volume = scan()
    whole = make_stage(tmp_path / "whole", volume, SmallNetwork(), 1)
    expected = classes_of(whole.run(Progress(), CancelToken()))
    with pytest.raises(Cancelled):
        make_stage(tmp_path / "cut", volume, SmallNetwork(stop_after=stop_after), 1).run(
            Progress(), CancelToken()
        )
    second = SmallNetwork()
    stage = make_stage(tmp_path / "cut", volume, second, 1)
    np.testing.assert_array_equal(classes_of(stage.run(Progress(), CancelToken())), expected)
    assert sum(second.batches) == stage.plan.tile_count - stop_after
    assert not list((tmp_path / "cut").glob("seam_*"))


def test_an_answer_that_is_no_number_ends_the_stage_and_is_asked_for_again(tmp_path):
    volume = scan()
    whole = make_stage(tmp_path / "whole", volume, SmallNetwork(), 1)
    expected = classes_of(whole.run(Progress(), CancelToken()))

    class Faulty(SmallNetwork):
        def predict(self, tiles):
            shares = super().predict(tiles)
            if sum(self.batches) == 5:
                shares[:, :, 3, 4, 5] = torch.nan
            return shares

    with pytest.raises(RunError, match="no number") as caught:
        make_stage(tmp_path / "cut", volume, Faulty(), 1).run(Progress(), CancelToken())
    assert "another model" in caught.value.remedy
    again = SmallNetwork()
    stage = make_stage(tmp_path / "cut", volume, again, 1)
    np.testing.assert_array_equal(classes_of(stage.run(Progress(), CancelToken())), expected)
    assert sum(again.batches) == stage.plan.tile_count - 4  # the fifth was not kept


def test_too_little_graphics_memory_means_smaller_batches_and_the_same_result(tmp_path):
    volume = scan()
    expected = classes_of(
        make_stage(tmp_path / "one", volume, SmallNetwork(), 2).run(Progress(), CancelToken())
    )
    network, progress = SmallNetwork(most_tiles=3), Progress()
    stage = make_stage(tmp_path / "small", volume, network, 2)
    stage.chunks.batch = 8
    np.testing.assert_array_equal(classes_of(stage.run(progress, CancelToken())), expected)
    assert max(network.batches) == 2
    assert "2 tiles at a time" in progress.snapshot().messages[-1]


def test_no_graphics_memory_at_all_is_told_with_a_remedy(tmp_path):
    stage = make_stage(tmp_path, scan(), SmallNetwork(most_tiles=0), 2)
    with pytest.raises(RunError, match="too little free memory") as caught:
        stage.run(Progress(), CancelToken())
    assert "processor" in caught.value.remedy


def test_cancel_ends_the_stage(tmp_path):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        make_stage(tmp_path, scan(), SmallNetwork(), 2).run(Progress(), cancel)


def test_progress_counts_tiles_and_what_was_done_before(tmp_path):
    volume, progress = scan(), Progress()
    with pytest.raises(Cancelled):
        make_stage(tmp_path, volume, SmallNetwork(stop_after=7), 1).run(Progress(), CancelToken())
    stage = make_stage(tmp_path, volume, SmallNetwork(), 1)
    stage.run(progress, CancelToken())
    snapshot = progress.snapshot()
    assert (snapshot.done, snapshot.total, snapshot.unit) == (
        stage.plan.tile_count,
        stage.plan.tile_count,
        "tiles",
    )


class SimulatedCard:
    """A graphics card's memory as the stage sees it: a tile takes `tile_bytes`."""

    def __init__(self, free_bytes, tile_bytes, most_tiles=1000):
        self.free_bytes, self.tile_bytes, self.most_tiles = free_bytes, tile_bytes, most_tiles

    def __call__(self, device):
        return self

    def free(self):
        return self.free_bytes

    def peak_of(self, work):
        work()
        return self.tile_bytes


@pytest.mark.parametrize(
    ("free_bytes", "expected"), [(10_000, 4), (12_000, 8), (10**9, 16), (100, 1), (2_900, 2)]
)
def test_as_many_tiles_at_once_as_fit_the_card_in_powers_of_two(
    tmp_path, monkeypatch, free_bytes, expected
):
    monkeypatch.setattr(network_stage, "CardMemory", SimulatedCard(free_bytes, 1000))
    volume = scan((40, 60, 80))
    whole = make_stage(tmp_path / "one", volume, SmallNetwork(), 3)
    network = SmallNetwork()
    stage = make_stage(tmp_path / "card", volume, network, 3)
    stage.chunks.batch = None
    np.testing.assert_array_equal(
        classes_of(stage.run(Progress(), CancelToken())),
        classes_of(whole.run(Progress(), CancelToken())),
    )
    assert max(network.batches) == expected
    assert sum(network.batches) == stage.plan.tile_count + 1


def test_a_card_that_promised_too_much_gets_smaller_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(network_stage, "CardMemory", SimulatedCard(10**9, 1000))
    network, progress = SmallNetwork(most_tiles=5), Progress()
    stage = make_stage(tmp_path, scan((40, 60, 80)), network, 3)
    stage.chunks.batch = None
    stage.run(progress, CancelToken())
    assert max(network.batches) == 4
    assert [text.split()[-5:-3] for text in progress.snapshot().messages] == [
        ["8", "tiles"],
        ["4", "tiles"],
    ]


def test_a_card_full_of_other_things_is_told_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(network_stage, "CardMemory", SimulatedCard(10**9, 1000))
    stage = make_stage(tmp_path, scan(), SmallNetwork(most_tiles=0), 2)
    stage.chunks.batch = None
    with pytest.raises(RunError, match="too little free memory"):
        stage.run(Progress(), CancelToken())


def test_an_error_while_pieces_are_written_ends_the_stage(tmp_path, monkeypatch):
    network = SmallNetwork()
    stage = make_stage(tmp_path, scan(), network, 1)
    write, chunks = stage.files.pieces.write, []

    def fails_at_the_third(index, classes):
        chunks.append(index)
        if len(chunks) == 3:
            raise OSError(28, "No space left on device")
        write(index, classes)

    monkeypatch.setattr(stage.files.pieces, "write", fails_at_the_third)
    with pytest.raises(OSError, match="No space left"):
        stage.run(Progress(), CancelToken())
    assert chunks == [0, 1, 2], "in order, and none after the one that failed"
    assert sum(network.batches) <= 5, "the network did not go on for long"
    monkeypatch.undo()
    whole = make_stage(tmp_path / "whole", scan(), SmallNetwork(), 1)
    np.testing.assert_array_equal(
        classes_of(make_stage(tmp_path, scan(), SmallNetwork(), 1).run(Progress(), CancelToken())),
        classes_of(whole.run(Progress(), CancelToken())),
    )


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=20))
def test_equal_sums_are_decided_in_the_order_of_the_classes(sums):
    total = np.array(sums, np.int32).T.reshape(3, 1, 1, -1)
    found = np.minimum(decided_classes(torch.from_numpy(total)).numpy(), 2)
    np.testing.assert_array_equal(found, np.argmax(total, axis=0))
