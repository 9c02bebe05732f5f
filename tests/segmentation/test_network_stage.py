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
from particleseg_app.segmentation.network_stage import NetworkStage, gaussian_weights
from particleseg_app.segmentation.plan import NetworkPlan
from particleseg_app.segmentation.tiles import plan_chunks, tile_shape_for
from particleseg_app.segmentation.working_scale import working_shape
from particleseg_app.units import Box

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


def make_stage(folder, volume, network, tiles_per_chunk, factor=1.0):
    shape = working_shape(volume.shape, factor)
    tile = tile_shape_for(shape, (16, 16, 32))
    plan = NetworkPlan(
        scale_factor=factor,
        scan_shape=volume.shape,
        working_shape=shape,
        tile_shape=tile,
        overlap=0.5,
        mirroring=False,
        chunks=plan_chunks(shape, tile, 0.5, tiles_per_chunk),
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
    assert expected.max() == 2 or expected.size < 1000


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
    np.testing.assert_array_equal(classes[clear], np.argmax(total, axis=0)[clear])


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
