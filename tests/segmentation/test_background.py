"""Tiles that the network may pass by: only those that are dark and without any structure."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import Cancelled
from particleseg_app.models import GreyScaling
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.background import (
    BackgroundTest,
    background_test,
    darkest_peak_limit,
)
from particleseg_app.units import Box
from particleseg_app.volumes.grey_counting import GreyCounter

from .test_network_stage import SmallNetwork, classes_of, make_stage
from .volumes import ArrayVolume

EDGE = 64
TEST = BackgroundTest(darkest_limit=0.5)


def noise(seed=1, level=-1.0, deviation=0.2):
    random = np.random.default_rng(seed)
    return random.normal(level, deviation, (EDGE, EDGE, EDGE)).astype(np.float32)


def ball(centre, diameter):
    z, y, x = np.ogrid[[slice(EDGE)] * 3]
    squared = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return squared <= (diameter / 2) ** 2


def passed_by(tile):
    return bool(TEST.is_background(torch.from_numpy(tile)))


def test_noise_and_emptiness_are_background():
    found = [passed_by(noise(seed)) for seed in range(10)]
    assert sum(found) >= 8
    assert passed_by(np.full((EDGE, EDGE, EDGE), -1.3, np.float32))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 1000),
    st.tuples(*[st.integers(0, EDGE - 1)] * 3),
    st.integers(10, 40),
    st.floats(2.0, 40.0),
    st.sampled_from([-1, 1]),
)
def test_a_single_faint_particle_is_never_passed_by(seed, centre, diameter, contrast, sign):
    tile = noise(seed)
    tile[ball(centre, diameter)] += sign * contrast * 0.2
    assert not passed_by(tile)


@pytest.mark.parametrize("level", [0.6, 2.0])
def test_the_inside_of_a_large_particle_is_not_background(level):
    assert not passed_by(noise(level=level))
    assert not passed_by(np.full((EDGE, EDGE, EDGE), level, np.float32))


@pytest.mark.parametrize("kind", ["gradient", "two halves", "ring", "corner"])
def test_structure_is_left_to_the_network(kind):
    tile = noise()
    if kind == "gradient":
        tile += np.linspace(0, 1, EDGE, dtype=np.float32)
    elif kind == "two halves":
        tile[: EDGE // 2] += 0.8
    elif kind == "ring":
        tile[:, 30:33] += 0.3
    else:
        tile[:4, :4, :4] += 0.6
    assert not passed_by(tile)


def statistics(*parts, dtype=np.uint16):
    """Statistics of (number of voxels, mean, deviation) each, normally distributed."""
    random = np.random.default_rng(3)
    values = np.concatenate([random.normal(m, s, n) for n, m, s in parts])
    info = np.iinfo(dtype)
    counter = GreyCounter(np.dtype(dtype))
    counter.add(np.clip(np.round(values), info.min, info.max).astype(dtype))
    return counter.result()


AIR, MATRIX, GRAINS = (60_000, 4000, 1500), (100_000, 12000, 1500), (40_000, 25000, 4000)
PADDING = (50_000, 0, 0)


@pytest.mark.parametrize(
    ("parts", "low", "high"),
    [
        ((AIR, MATRIX, GRAINS), 5500, 10500),
        ((MATRIX, GRAINS), 14500, 21000),
        ((PADDING, (60_000, 6000, 600), MATRIX, GRAINS), 7000, 9500),
        ((PADDING, MATRIX), 0.5, 6000),
    ],
)
def test_the_darkest_peak_ends_in_the_valley_above_it(parts, low, high):
    assert low < darkest_peak_limit(statistics(*parts)) < high


@pytest.mark.parametrize(
    "parts",
    [
        (MATRIX,),
        # No valley: everything might be a particle.
        ((100_000, 12000, 3000), (50_000, 15000, 3000)),
        # A dark crumb is no peak worth the name.
        ((500, 2000, 200), (100_000, 12000, 1500)),
        ((1000, 0, 0),),
    ],
)
def test_without_a_dark_peak_nothing_is_certain(parts):
    assert darkest_peak_limit(statistics(*parts)) is None
    assert background_test(statistics(*parts), GreyScaling(0, 65535, 12000, 3000)) is None


def test_pores_cut_off_at_zero_are_not_taken_for_padding():
    parts = ((60_000, -500, 900), (60_000, 12000, 1500), (60_000, 30000, 2500))
    assert darkest_peak_limit(statistics(*parts)) < 9000


class BrightIsCore(SmallNetwork):
    """Says core where it is bright, background elsewhere: as a good network would."""

    def predict(self, tiles):
        if self.stop_after is not None and sum(self.batches) >= self.stop_after:
            raise Cancelled
        self.batches.append(len(tiles))
        core = torch.nn.functional.avg_pool3d(tiles, 3, 1, 1) > 1.5
        return torch.cat([~core, core, torch.zeros_like(core)], dim=1).float()


def mostly_air():
    random = np.random.default_rng(9)
    grey = random.normal(0, 0.3, (48, 40, 64)).astype(np.float32)
    grey[:16, :16, :16] += 3.0
    return ArrayVolume(grey)


def staged(folder, network, tiles_per_chunk, background):
    stage = make_stage(folder, mostly_air(), network, tiles_per_chunk)
    stage.background = background
    stage.chunks.background = background
    return stage


@pytest.mark.parametrize("tiles_per_chunk", [1, 2, 100])
def test_passing_by_changes_no_class_and_does_not_depend_on_chunks(tmp_path, tiles_per_chunk):
    every, fewer = BrightIsCore(), BrightIsCore()
    whole = staged(tmp_path / "all", every, 100, None)
    expected = classes_of(whole.run(Progress(), CancelToken()))
    stage = staged(tmp_path / "some", fewer, tiles_per_chunk, BackgroundTest(1.5))
    progress = Progress()
    np.testing.assert_array_equal(classes_of(stage.run(progress, CancelToken())), expected)
    assert expected.any()
    skipped = stage.files.background_tiles()
    assert 0 < skipped == stage.plan.tile_count - sum(fewer.batches)
    assert whole.files.background_tiles() == 0
    assert progress.snapshot().done == stage.plan.tile_count


def test_tiles_passed_by_are_counted_once_however_often_a_run_is_continued(tmp_path):
    whole = staged(tmp_path / "whole", BrightIsCore(), 1, BackgroundTest(1.5))
    expected = classes_of(whole.run(Progress(), CancelToken()))
    for stop_after in (0, 2, 5):
        with pytest.raises(Cancelled):
            network = BrightIsCore(stop_after=stop_after)
            staged(tmp_path / "cut", network, 1, BackgroundTest(1.5)).run(Progress(), CancelToken())
    last = staged(tmp_path / "cut", BrightIsCore(), 1, BackgroundTest(1.5))
    np.testing.assert_array_equal(classes_of(last.run(Progress(), CancelToken())), expected)
    assert last.files.background_tiles() == whole.files.background_tiles() > 0
    assert last.files.pieces.read(Box.whole(last.plan.working_shape)).shape == expected.shape
