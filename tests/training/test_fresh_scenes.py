"""Scenes made while they are trained on: the same steps see the same patches."""

from __future__ import annotations

import numpy as np
import pytest

from particleseg_app.training.fresh_scenes import FreshScenes, Stream
from particleseg_app.training.patches import Prefetcher
from particleseg_app.training.scene_pool import CONTACT_BIT

STREAM = Stream({"touching": 0.5, "settled": 0.5}, 7_000, window=3, steps_per_scene=2.0, edge=40)


def test_a_step_knows_its_scenes() -> None:
    assert list(STREAM.scenes(0)) == [0, 1, 2]
    assert list(STREAM.scenes(1)) == [0, 1, 2]
    assert list(STREAM.scenes(2)) == [1, 2, 3]
    assert {STREAM.preset(number) for number in range(20)} == {"touching", "settled"}


@pytest.mark.slow
def test_processes_and_interruptions_do_not_change_a_patch() -> None:
    with FreshScenes(STREAM, seed=3, processes=2) as source:
        batches = Prefetcher(source, ((2, 24),), ahead=2)
        unbroken = [batches.get(step) for step in range(7)]
        batches.close()
        left = source._folder
    assert not left.exists()
    with FreshScenes(STREAM, seed=3, processes=1) as resumed:
        resumed.restore(source.state(5))
        again = [resumed.batch(step, 2, 24) for step in (5, 6)]
    for one, other in zip(unbroken[5:], again, strict=True):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    grey, target = unbroken[0]
    assert grey.shape == (2, 1, 24, 24, 24) and grey.dtype == np.float32
    assert target.shape == (2, 24, 24, 24) and target.dtype == np.uint8
    assert set(np.unique(target & 3)) <= {0, 1, 2} and (target & CONTACT_BIT).any()
    assert not np.array_equal(unbroken[0][0], unbroken[1][0])
